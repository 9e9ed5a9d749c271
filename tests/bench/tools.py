"""The cost of the MCP source over a session of the SDK: sequential calls per second over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from mcp import Client, StdioServerParameters

from cosmo_core import Neuron
from tests.bench.measure import alternate, per_second
from tests.bench.report import Figure, Pair

SERVER: Final = """
from mcp.server import MCPServer

server = MCPServer("bench")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


server.run()
"""
ARGUMENTS: Final = {"a": 2, "b": 3}


def figures(scale: float) -> Iterator[Figure]:
    """Yield one figure; each side has its own server, with the same program."""
    yield Figure(
        name="mcp: tool calls",
        unit="/s",
        against="bare SDK session",
        measure=partial(_measure, max(5, int(150 * scale)), max(3, int(9 * scale))),
        target="≥ 0.8",
    )


def _measure(calls: int, rounds: int) -> Pair:
    return asyncio.run(_compare(calls, rounds))


async def _compare(calls: int, rounds: int) -> Pair:
    command = [sys.executable, "-c", SERVER]
    neuron: Any = Neuron(source="mcp", command=command[0], args=command[1:], tool="add")
    # Both servers start at once.
    started = asyncio.create_task(neuron(ARGUMENTS, []))
    async with Client(StdioServerParameters(command=command[0], args=command[1:])) as client:
        await started

        async def through_neuron() -> None:
            await neuron(ARGUMENTS, [])

        async def through_sdk() -> None:
            await client.call_tool("add", ARGUMENTS)

        pair = await alternate(
            lambda: per_second(_repeat(through_neuron, calls), calls),
            lambda: per_second(_repeat(through_sdk, calls), calls),
            rounds,
        )
    await neuron.aclose()
    return pair


async def _repeat(call: Callable[[], Awaitable[None]], count: int) -> None:
    for _ in range(count):
        await call()
