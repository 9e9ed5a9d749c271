"""A planner, four researchers at once, and a writer that streams: python report.py [TOPIC [URL of a bus]]"""

import asyncio
import sys
from collections.abc import AsyncIterator

from cosmo_core import Dendrite, neuron


@neuron
async def plan(input: dict[str, str], context: list[object]) -> list[dict[str, str]]:
    return [{"question": f"{how} is {input['topic']}?"} for how in ("What", "Where", "How old", "How good")]


@neuron
async def research(input: dict[str, str], context: list[object]) -> str:
    return await asyncio.sleep(0.2, f"{input['question']} Read on.")  # stands for a search


@neuron
async def compose(input: dict[str, list[str]], context: list[object]) -> AsyncIterator[str]:
    for word in " ".join(input["facts"]).split():
        yield f"{word} "
        await asyncio.sleep(0.02)  # about the time of a model for one word


async def main(topic: str = "tea", url: str = "memory://") -> None:
    async with asyncio.timeout(30), Dendrite.open(url, plan, research, compose) as dendrite:
        facts = await dendrite.map(research, await dendrite.ask(plan, {"topic": topic}), concurrency=4)
        async for text in dendrite.stream(compose, {"facts": facts}):
            print(text, end="", flush=True)


asyncio.run(main(*sys.argv[1:]))
