"""The Neuron contract, and the adapters that make every shape of Neuron awaitable."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from cosmo_core.contracts.keywords import MEMORY_KEYWORDS, WORK_KEYWORDS
from cosmo_core.contracts.threads import MAX_THREADS, Threads


@runtime_checkable
class NeuronFn(Protocol):
    """Anything that satisfies ``async fn(input, context) -> output``.

    ``input`` is the input object of the TASK, or the object of the Axon's ``input_type`` that it stands for;
    it is the Neuron's own copy. ``context`` is what the Axon's context fetcher returned; empty without one.

    The output is any JSON value; a value that is not an object arrives as ``{"value": output}`` (P-5.8).
    A Neuron may also be an async generator: every ``str`` it yields becomes a THOUGHT_DELTA, and the last
    object it yields is the output. A plain function works too; it runs in a thread, which runs to its end
    even when its TASK is stopped, and is abandoned when the process ends.

    A Neuron that declares the keywords ``recall`` or ``imprint`` gets them, if its Axon binds Engrams. One
    that declares ``ask``, ``stream``, ``map`` or ``race`` gets these methods of its Dendrite, which needs the
    role of an orchestrator: see `AskFn`. What it asks belongs to its own TASK (P-5.21).

    To ask a question first, return `clarify` or `ask_permission` instead of an output.

    A Neuron with resources has an ``async def aclose(self) -> None``, which is called when its host stops.
    The Neuron may be called again afterwards, and then opens its resources again.
    """

    def __call__(self, input: Any, context: list[Any]) -> Any:
        """Answer one TASK."""


AnyNeuronFn: TypeAlias = Callable[..., Any]
"""A Neuron with any keywords that it gets from its host, such as ``recall`` or ``ask``. An Axon checks it."""


ITEMS_PER_TURN: Final = 50
"""The items that a streaming Neuron may yield before the event loop gets a turn, if it awaits nothing."""

Emit = Callable[[str], Awaitable[None]]
"""Sends one piece of an output that is not complete."""

Invoke = Callable[[dict[str, Any], list[Any]], Awaitable[Any]]
Stream = Callable[[dict[str, Any], list[Any], Emit], Awaitable[Any]]


def is_streaming(neuron: NeuronFn) -> bool:
    """Tell whether a Neuron is an async generator."""
    return inspect.isasyncgenfunction(neuron) or inspect.isasyncgenfunction(type(neuron).__call__)


def check_neuron(neuron: Callable[..., Any]) -> None:
    """Check that a Neuron can be called with (input, context), and with the functions that it declares.

    Raises:
        TypeError: It cannot; or it is a plain generator function.
    """
    if not callable(neuron):
        raise TypeError(f"a Neuron is an async function of (input, context), not {neuron!r}")
    if inspect.isgeneratorfunction(neuron) or inspect.isgeneratorfunction(type(neuron).__call__):
        raise TypeError(f"a Neuron that streams is an async generator: write async def instead of {neuron!r}")
    try:
        signature = inspect.signature(neuron)
    except ValueError:
        return  # Some functions that are written in C have no signature.
    given = {name: None for name in (*MEMORY_KEYWORDS, *WORK_KEYWORDS) if name in signature.parameters}
    try:
        signature.bind({}, [], **given)
    except TypeError as error:
        keywords = ", ".join((*MEMORY_KEYWORDS, *WORK_KEYWORDS))
        raise TypeError(
            f"a Neuron takes (input, context), and any of the keywords {keywords};"
            f" {neuron!r} takes {signature}: {error}"
        ) from None


def invoker(neuron: NeuronFn, max_threads: int = MAX_THREADS) -> Invoke:
    """Adapt a Neuron that does not stream to an async function. Use the result for all calls.

    Args:
        neuron: The Neuron. If it is a plain function, the result runs it in threads of its own.
        max_threads: The number of these threads; further calls wait.
    """
    if inspect.iscoroutinefunction(neuron) or inspect.iscoroutinefunction(type(neuron).__call__):
        return neuron

    threads = Threads(max_threads)

    async def in_thread(input: dict[str, Any], context: list[Any]) -> Any:
        answer = await threads.run(neuron, input, context)
        # A plain function may return a coroutine, as a lambda around an async function does.
        return await answer if inspect.isawaitable(answer) else answer

    return in_thread


def streamer(neuron: NeuronFn) -> Stream:
    """Adapt a streaming Neuron to an async function that emits every ``str`` and returns the output."""

    async def stream(input: dict[str, Any], context: list[Any], emit: Emit) -> Any:
        pieces: list[str] = []
        output: Any = None
        turn = 0
        items: AsyncGenerator[Any] = neuron(input, context)
        async with aclosing(items):
            async for item in items:
                if isinstance(item, str):
                    pieces.append(item)
                    await emit(item)
                else:
                    output = item
                turn += 1
                if not turn % ITEMS_PER_TURN:
                    # A generator that awaits nothing must not keep the event loop from others.
                    await asyncio.sleep(0)
        return {"response": "".join(pieces)} if output is None else output

    return stream
