"""The Neuron contract, the adapters that make every shape of Neuron awaitable, and the keywords.

With a keyword, such as ``recall`` or ``ask``, a Neuron declares that it gets this function of its host.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from contextvars import copy_context
from functools import partial, wraps
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from cosmo_core.contracts.task_context import running_task
from cosmo_core.contracts.threads import MAX_THREADS, RunInLoop, Threads, blocking


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

Emit = Callable[[str], Awaitable[object] | None]
"""Sends one piece of an output that is not complete; None if it was sent, otherwise what completes it."""

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
                    if (sending := emit(item)) is not None:
                        await sending
                else:
                    output = item
                turn += 1
                if not turn % ITEMS_PER_TURN:
                    # A generator that awaits nothing must not keep the event loop from others.
                    await asyncio.sleep(0)
        return {"response": "".join(pieces)} if output is None else output

    return stream


# --- what a Neuron gets from its host ---------------------------------------------------------------

MEMORY_KEYWORDS: Final = ("recall", "imprint")
"""The keywords for shared memory; an Axon that binds Engrams gives them."""

WORK_KEYWORDS: Final = ("ask", "stream", "map", "race")
"""The keywords for the work of other Neurons; a Dendrite with the role of an orchestrator gives them."""


def declared_keywords(neuron: Callable[..., Any], names: Iterable[str]) -> dict[str, bool]:
    """Return those of ``names`` that a Neuron declares as keywords, each with whether it has a default."""
    try:
        parameters = inspect.signature(neuron).parameters
    except (TypeError, ValueError):
        # Some functions that are written in C have no signature.
        return {}
    return {
        name: parameters[name].default is not inspect.Parameter.empty
        for name in names
        if name in parameters and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    }


def with_keywords(
    neuron: Callable[..., Any], functions: Mapping[str, Callable[..., Any]], run: RunInLoop[Any]
) -> Callable[..., Any]:
    """Return a Neuron that gets the functions that it declares as keywords.

    A Neuron that is a plain function runs in a thread, so its functions return results, not awaitables.

    Args:
        neuron: The Neuron.
        functions: The functions by name; each returns a coroutine or a `Stream`.
        run: Runs a coroutine in the event loop for a thread.
    """
    declared = declared_keywords(neuron, functions)
    if not declared:
        return neuron
    called: Callable[..., Any] = type(neuron).__call__
    target = neuron if inspect.isroutine(neuron) or isinstance(neuron, partial) else partial(called, neuron)
    given = {name: functions[name] for name in declared}
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        return partial(target, **given)

    @wraps(partial(target, **given))
    def in_thread(*args: Any, **further: Any) -> Any:
        context = copy_context()

        def run_within(work: Coroutine[Any, Any, Any]) -> Any:
            # A thread that the Neuron starts by itself has no context; what it asks belongs to the TASK, too.
            return run(work) if running_task() is not None else context.copy().run(run, work)

        return target(*args, **{name: blocking(given[name], run_within) for name in given}, **further)

    return in_thread
