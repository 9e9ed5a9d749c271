"""Getting the fragments of context Neurons, concurrently and with a time limit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import attrs

from cosmo_context.context import Context
from cosmo_context.errors import ContextNeuronError
from cosmo_context.neuron import Fits, Neuron, StateNeuron

OnError = Literal["raise", "skip", "placeholder"]

CANCEL_GRACE_S: Final = 1.0
"""Seconds that a cancelled Neuron has to clean up; afterwards it is no longer waited for."""

logger = logging.getLogger("cosmo_context")


@attrs.frozen(slots=True)
class Entry:
    """A Neuron in a builder, and the options of its ``format``."""

    neuron: Neuron
    options: Mapping[str, Any]


@attrs.define(slots=True, eq=False)
class Formatted:
    """The result of one entry: a fragment or an error."""

    entry: Entry
    text: str = attrs.field(default="", repr=False)
    elapsed_s: float = 0.0
    error: ContextNeuronError | None = None


_Waiting = dict[asyncio.Task[str], Formatted]


async def format_all(
    ctx: Context, entries: Sequence[Entry], *, timeout_s: float | None, on_error: OnError
) -> list[Formatted]:
    """Get the fragment of every entry, in the order of the entries.

    Raises:
        ContextNeuronError: A Neuron failed or took too long, and ``on_error`` is ``"raise"``. The others are
            cancelled. If several have failed, the error of the first in order is raised.
    """
    results = [Formatted(entry) for entry in entries]
    waiting: _Waiting = {}
    try:
        for formatted in results:
            neuron = formatted.entry.neuron
            if isinstance(neuron, StateNeuron) and type(neuron).format is StateNeuron.format:
                _format_now(neuron, formatted, ctx)
            else:
                _start(waiting, formatted, partial(neuron.format, ctx))
            if formatted.error is not None and on_error == "raise":
                raise formatted.error
        await _wait(waiting, timeout_s, stop_at_error=on_error == "raise")
    finally:
        await _cancel([task for task in waiting if not task.done()])
    for formatted in results:
        if formatted.error is not None:
            _apply_policy(formatted, formatted.error, on_error)
    return results


async def ask_shorter(ctx: Context, entry: Entry, fits: Fits, *, timeout_s: float | None) -> Formatted:
    """Get a shorter fragment of an entry."""
    formatted = Formatted(entry)
    waiting: _Waiting = {}
    _start(waiting, formatted, partial(entry.neuron.shorten, ctx, fits))
    try:
        await _wait(waiting, timeout_s, stop_at_error=False)
    finally:
        await _cancel([task for task in waiting if not task.done()])
    return formatted


def _format_now(neuron: StateNeuron, formatted: Formatted, ctx: Context) -> None:
    start = time.perf_counter()
    try:
        formatted.text = _checked(neuron, neuron.fragment(ctx, **formatted.entry.options))
    except Exception as error:  # noqa: BLE001 - reported under the name of the Neuron
        formatted.error = _failure_of(neuron, error)
    formatted.elapsed_s = time.perf_counter() - start


def _start(waiting: _Waiting, formatted: Formatted, call: Callable[..., Awaitable[object]]) -> None:
    neuron = formatted.entry.neuron

    async def run() -> str:
        start = time.perf_counter()
        try:
            return _checked(neuron, await call(**formatted.entry.options))
        finally:
            formatted.elapsed_s = time.perf_counter() - start

    waiting[asyncio.create_task(run(), name=neuron.name)] = formatted


async def _wait(waiting: _Waiting, timeout_s: float | None, *, stop_at_error: bool) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pending = set(waiting)
    while pending:
        left = None if deadline is None else deadline - time.monotonic()
        done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            _record(task, waiting[task])
        if stop_at_error and any(waiting[task].error is not None for task in done):
            return
        if not done:
            break
    for task in pending:
        waiting[task].error = ContextNeuronError(
            task.get_name(), f"returned no fragment within {timeout_s} s"
        )


def _record(task: asyncio.Task[str], formatted: Formatted) -> None:
    neuron = formatted.entry.neuron
    if task.cancelled():
        formatted.error = ContextNeuronError(neuron.name, "cancelled its own task")
    elif (error := task.exception()) is None:
        formatted.text = task.result()
    elif isinstance(error, Exception):
        formatted.error = _failure_of(neuron, error)
    else:
        # Exceptions that end the program, such as KeyboardInterrupt, are not failures of the Neuron.
        raise error


async def _cancel(tasks: Sequence[asyncio.Task[str]]) -> None:
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    ended, stubborn = await asyncio.wait(tasks, timeout=CANCEL_GRACE_S)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("context Neuron %r failed when cancelled", task.get_name(), exc_info=error)
    for task in stubborn:
        logger.warning("context Neuron %r is still running after it was cancelled", task.get_name())


def _apply_policy(formatted: Formatted, error: ContextNeuronError, on_error: OnError) -> None:
    if on_error == "raise":
        raise error
    name = formatted.entry.neuron.name
    logger.warning("%s; its fragment is omitted", error, exc_info=error.__cause__)
    formatted.text = f"[{name} is not available]" if on_error == "placeholder" else ""


def _failure_of(neuron: Neuron, error: Exception) -> ContextNeuronError:
    if isinstance(error, ContextNeuronError):
        return error
    failure = ContextNeuronError(neuron.name, f"failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _checked(neuron: Neuron, fragment: object) -> str:
    # None counts as an empty fragment.
    if fragment is None:
        return ""
    if not isinstance(fragment, str):
        type_name = type(fragment).__name__
        raise ContextNeuronError(neuron.name, f"returned a fragment of type {type_name}, not str")
    return fragment
