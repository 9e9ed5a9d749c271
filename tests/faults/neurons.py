"""The Neurons that a worker process can host, by name. They report on stdout, one line per event."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from cosmo_core import NeuronFn, current_task

release: Final = asyncio.Event()
"""Set when the process gets SIGUSR1."""


def print_line(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)  # noqa: T201 - the test reads it


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer at once, with the input."""
    return {**input, "pid": os.getpid()}


async def brief(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer after a moment."""
    await asyncio.sleep(0.01)
    return {**input, "pid": os.getpid()}


async def stuck(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer when the process gets SIGUSR1."""
    print_line("began", input.get("number"))
    try:
        await release.wait()
    except asyncio.CancelledError:
        print_line("cancelled", input.get("number"), time.monotonic())
        raise
    return {**input, "pid": os.getpid()}


async def held(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer after the given number of seconds."""
    print_line("began", input["seconds"])
    await asyncio.sleep(input["seconds"])
    return {}


async def blocking(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Block the event loop for the given number of seconds."""
    print_line("blocks", time.monotonic())
    time.sleep(input["seconds"])  # noqa: ASYNC251 - blocking is the fault under test
    return {"pid": os.getpid()}


async def poison(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """End the process."""
    print_line("dies")
    os._exit(1)


async def time_left(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer with the time left until the deadline, and the time of this process's clock."""
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
