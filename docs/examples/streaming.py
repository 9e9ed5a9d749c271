"""A streamed answer, and a Neuron that is faster than its reader.

Every text that a Neuron yields is a THOUGHT_DELTA on the Pathway of its TASK. A slow reader misses the oldest
ones. With back-pressure the Neuron is slowed down, and nothing is missed.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from cosmo_core import Dendrite, Pathway, neuron

POEM = "The bus is late, the signals wait, a trace runs on and on."

written = 0


@neuron
async def poet(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
    global written
    written = 0
    for word in POEM.split() * input["verses"]:
        written += 1
        yield f"{word} "


async def read_slowly(pathway: Pathway) -> str:
    read, ahead = 0, 0
    async for _ in pathway.text():
        read += 1
        ahead = max(ahead, written - read)
        await asyncio.sleep(0)  # lets other tasks run between two words
    return f"{read} of {written} words read, {written - read} missed, the poet {ahead} words ahead"


async def main() -> None:
    async with Dendrite.open("memory://", poet, pathway_buffer=16) as dendrite:
        stream = dendrite.stream("poet", {"verses": 1})
        async for text in stream:
            print(text, end="", flush=True)
        print(f"\nthe whole answer: {stream.output}")

        for backpressure in (False, True):
            async with await dendrite.dispatch(
                neuron="poet", input={"verses": 400}, backpressure=backpressure
            ) as pathway:
                print(f"backpressure={backpressure}: {await read_slowly(pathway)}")


if __name__ == "__main__":
    asyncio.run(main())
