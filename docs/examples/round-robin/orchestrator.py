"""Requests a number of greetings from the workers, a few at a time: ``python orchestrator.py 100``.

COSMO_BUS is the URL of the bus.
"""

import asyncio
import os
import sys
from collections import Counter

from cosmo_core import Dendrite, SignalType, connect_synapse

URL = os.environ.get("COSMO_BUS", "zmq://127.0.0.1:7071")
AT_ONCE = 4


async def main(count: int) -> None:
    synapse = await connect_synapse(URL)
    shares: Counter[str] = Counter()
    numbers = iter(range(1, count + 1))

    async def ask() -> None:
        for number in numbers:
            reply = await orchestrator.dispatch_and_wait(
                neuron="greeter", input={"prompt": f"Greet guest number {number} in one line."}
            )
            if reply.type is SignalType.ERROR:
                by, text = reply.payload["code"], reply.payload["message"]
            else:
                by, text = reply.payload["output"]["worker"], reply.payload["output"]["response"]
            shares[by] += 1
            print(f"{number:4} [{by}] {text}", flush=True)

    async with Dendrite(synapse=synapse, namespace="demo") as orchestrator:
        await orchestrator.wait_until_ready(neuron="greeter")
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    await synapse.close()
    print(", ".join(f"{by}: {share}" for by, share in sorted(shares.items())))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
