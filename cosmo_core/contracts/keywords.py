"""The keywords that a Neuron declares to get functions of its host, such as ``recall`` or ``ask``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

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
    is_async = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
    return partial(
        target, **{name: functions[name] if is_async else blocking(functions[name], run) for name in declared}
    )
