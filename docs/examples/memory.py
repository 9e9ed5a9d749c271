"""Shared memory: a Neuron computes an answer once and recalls it afterwards, until the write is undone."""

import asyncio
import re
from typing import Any

from cosmo_core import Axon, Dendrite, EngramBinding, ImprintFn, RecallFn, connect_synapse
from cosmo_core.protocol.ids import new_trace_id
from cosmo_engram_sqlite import SqliteEngram


def primes_below(limit: int) -> int:
    return sum(all(number % divisor for divisor in range(2, number)) for number in range(2, limit))


async def researcher(
    input: dict[str, Any], context: list[Any], *, recall: RecallFn, imprint: ImprintFn
) -> dict[str, str]:
    question = input["question"]
    prior = await recall("ctx", query={"text": question})
    if prior.hits:
        return {"answer": prior.hits[0].entry["answer"], "source": "cache"}
    limit = int("".join(re.findall(r"\d", question)))
    answer = f"{await asyncio.to_thread(primes_below, limit)} primes"
    await imprint(
        "ctx", op="upsert", merge_key=f"q:{question}", entry={"question": question, "answer": answer}
    )
    return {"answer": answer, "source": "computed"}


async def main() -> None:
    synapse = await connect_synapse("memory://")
    host = Dendrite(synapse=synapse, role="worker")
    host.attach_engram(SqliteEngram(engram_id="ctx", engram_kind="context"))
    worker = Dendrite(synapse=synapse, role="worker")
    ctx = EngramBinding(name="ctx", directed_id="ctx")
    worker.attach_axon(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[ctx]))
    orchestrator = Dendrite(synapse=synapse)

    async def ask(trace_id: str) -> None:
        question = {"question": "How many primes are there below 2000?"}
        reply = await orchestrator.dispatch_and_wait(neuron="researcher", input=question, trace_id=trace_id)
        output = reply.raise_for_error().payload["output"]
        print(f"{output['source']}: {output['answer']}")

    async with host, worker, orchestrator:
        first = new_trace_id()
        await ask(first)
        await ask(new_trace_id())
        stopped = await orchestrator.stop_trace(first, rollback=True)
        print(f"undone: {sum(signal.payload['rolled_back'] for signal in stopped)} write")
        await ask(new_trace_id())
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
