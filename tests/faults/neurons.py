"""The Neurons that a worker process can host, by name. They say on stdout what they do, one line each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from cosmo_core import NeuronFn, current_task

release: Final = asyncio.Event()
"""Set when the process gets SIGUSR1."""


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)  # noqa: T201 - it is read by the test


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer at once, with the input."""
    return {**input, "pid": os.getpid()}


async def brief(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer after a moment."""
    await asyncio.sleep(0.01)
    return {**input, "pid": os.getpid()}


async def stuck(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer when the process is told to."""
    say("began", input.get("number"))
    try:
        await release.wait()
    except asyncio.CancelledError:
        say("cancelled", input.get("number"), time.monotonic())
        raise
    return {**input, "pid": os.getpid()}


async def held(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer after a time."""
    say("began", input["seconds"])
    await asyncio.sleep(input["seconds"])
    return {}


async def blocking(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Stop everything else in the process for a while."""
    say("blocks", time.monotonic())
    time.sleep(input["seconds"])  # noqa: ASYNC251 - that is the fault
    return {"pid": os.getpid()}


async def poison(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Take the process down."""
    say("dies")
    os._exit(1)


async def time_left(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Tell for how long the answer is of use, and what time it is here."""
    task = current_task()
    assert task is not None
    return {"left_s": task.time_left_s(), "time": time.time()}


NEURONS: Final[Mapping[str, NeuronFn]] = {
    "echo": echo,
    "brief": brief,
    "stuck": stuck,
    "held": held,
    "blocking": blocking,
    "poison": poison,
    "time_left": time_left,
}
