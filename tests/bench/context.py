"""The cost of a prompt of context Neurons, and its share of bytes in common with the previous prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final

from cosmo_context import Context, Neuron, PromptBuilder
from tests.bench.conversation import NINE, shared_share
from tests.bench.measure import alternate
from tests.bench.plain_prompt import NOW, STATE, TASK_ID, plain_prompt
from tests.bench.report import Figure, Pair

WAIT_S: Final = 0.05

Build = Callable[[], Awaitable[object]]
Compare = Callable[[int, int], Coroutine[Any, Any, Pair]]


def figures(scale: float) -> Iterator[Figure]:
    """Yield the cost of building, of waiting and of a long history, and the share that a cache can reuse."""
    speeds: list[tuple[str, str, str, Compare, str, str]] = [
        ("nine Neurons, one prompt", "µs", "f-strings alone", _nine, "≤ 97 µs", "97 µs"),
        ("nine Neurons that each wait 50 ms", "ms", "one such wait", _waiting, "≤ 70 ms", "455 ms"),
        ("100,000 messages of history", "µs", "100 messages", _long_history, "≈ 1", ""),
    ]
    builds, rounds = max(5, int(200 * scale)), max(3, int(25 * scale))
    for name, unit, against, compare, target, peer in speeds:
        yield Figure(
            name=f"context: {name}",
            unit=unit,
            against=against,
            measure=partial(_measure, compare, builds, rounds),
            target=target,
            peer=peer,
        )
    yield Figure(
        name="context: bytes shared with the previous prompt, cache layout",
        unit="of 1",
        against="default layout",
        measure=_sharing,
        target="≥ 0.90",
    )


def _measure(compare: Compare, builds: int, rounds: int) -> Pair:
    return asyncio.run(compare(builds, rounds))


async def _nine(builds: int, rounds: int) -> Pair:
    builder = PromptBuilder(Context(TASK_ID, state=STATE, clock=lambda: NOW))
    for name in NINE:
        builder.add(name)

    async def plain() -> str:
        return plain_prompt()

    if await builder.build() != plain_prompt():
        raise RuntimeError(
            "the nine Neurons and the f-strings make different prompts, so they cannot be compared"
        )
    return await alternate(
        lambda: _microseconds(builder.build, builds), lambda: _microseconds(plain, builds), rounds
    )


class _Waiting(Neuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        await asyncio.sleep(WAIT_S)
        return self.name


async def _waiting(_: int, rounds: int) -> Pair:
    builder = PromptBuilder(Context(TASK_ID))
    for name in NINE:
        builder.add_neuron(_Waiting(name))

    async def build() -> float:
        return await _microseconds(builder.build, 1) / 1000

    async def wait() -> float:
        return await _microseconds(lambda: asyncio.sleep(WAIT_S), 1) / 1000

    return await alternate(build, wait, rounds)


async def _long_history(builds: int, rounds: int) -> Pair:
    long, short = _history_of(100_000), _history_of(100)
    return await alternate(lambda: _microseconds(long, builds), lambda: _microseconds(short, builds), rounds)


def _history_of(messages: int) -> Build:
    history = [{"role": "user", "content": f"Message {number:06}"} for number in range(messages)]
    return PromptBuilder(Context(TASK_ID, state={"history": history})).add("history").build


async def _microseconds(build: Build, builds: int) -> float:
    start = time.perf_counter()
    for _ in range(builds):
        await build()
    return (time.perf_counter() - start) / builds * 1e6


def _sharing() -> Pair:
    cache, default = (asyncio.run(shared_share(layout)) for layout in ("cache", "priority"))
    return Pair(cache, default, cache / default)
