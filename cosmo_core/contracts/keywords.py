"""The keywords that a Neuron declares to get functions of its host, such as ``recall`` or ``ask``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import copy_context
from functools import partial, wraps
from typing import Any, Final

from cosmo_core.contracts.task_context import running_task
from cosmo_core.contracts.threads import RunInLoop, blocking

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
