"""The promised researcher with only `cosmonapse`: it computes once and recalls the second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmonapse import (
    Axon,
    Dendrite,
    EngramBinding,
    EngramError,
    EngramNotBound,
    EngramTimeout,
    Hit,
    ImprintReceipt,
    InMemoryEngram,
    MemorySynapse,
    RecallResult,
    SqliteEngram,
)


async def researcher(input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any) -> Any:
    prior = await recall("ctx", query={"text": input["question"]})
    assert isinstance(prior, RecallResult)
    if prior.hits:
        assert isinstance(prior.hits[0], Hit)
        return {"answer": prior.hits[0].entry["answer"], "source": "cache"}
    answer = input["question"].upper()
    receipt = await imprint(
        "ctx",
        op="upsert",
        merge_key=f"research:{input['question']}",
        entry={"question": input["question"], "answer": answer},
    )
    assert isinstance(receipt, ImprintReceipt)
    return {"answer": answer, "source": "computed"}


async def ask_twice(engram: Any) -> list[dict[str, Any]]:
    """Host the Engram and the researcher, and return the answers to two orchestrators."""
    synapse = MemorySynapse()
    await synapse.connect()
    try:
        host = Dendrite(synapse=synapse, namespace="demo", role="worker")
        host.attach_engram(engram)
        ctx = EngramBinding(name="ctx", directed_id="ctx")
        host.attach_axon(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[ctx]))
        outputs = []
        async with host:
            for _ in range(2):
                async with Dendrite(synapse=synapse, namespace="demo") as orchestrator:
                    reply = await orchestrator.dispatch_and_wait(
                        neuron="researcher", input={"question": "Warum ist der Himmel blau?"}, timeout_s=5
                    )
                outputs.append(reply.payload["output"])
        return outputs
    finally:
        await synapse.close()


async def test_second_answer_comes_from_memory() -> None:
    first, second = await ask_twice(InMemoryEngram(engram_id="ctx", engram_kind="context"))
    assert first == {"answer": "WARUM IST DER HIMMEL BLAU?", "source": "computed"}
    assert second == {"answer": "WARUM IST DER HIMMEL BLAU?", "source": "cache"}


async def test_entries_in_a_file_are_kept(tmp_path: Path) -> None:
    sources = [
        output["source"]
        for _ in range(2)
        for output in await ask_twice(SqliteEngram(engram_id="ctx", path=tmp_path / "ctx.db"))
    ]
    assert sources == ["computed", "cache", "cache", "cache"]


def test_in_memory_engram_has_the_expected_kind() -> None:
    engram = InMemoryEngram("ctx")
    assert (engram.engram_id, engram.engram_kind, engram.guarantees.durable) == ("ctx", "keyvalue", False)


def test_researcher_without_a_binding_is_refused() -> None:
    with pytest.raises(EngramNotBound):
        Axon(neuron_id="researcher", neuron_fn=researcher)
    assert issubclass(EngramNotBound, EngramError)
    assert issubclass(EngramTimeout, EngramError)
