"""Gives a Neuron its memory, under the names it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from cosmo_core.contracts.engram.results import ImprintReceipt, RecallResult
from cosmo_core.contracts.task_context import current_task
from cosmo_core.errors import EngramNotBound

if TYPE_CHECKING:
    from cosmo_core.contracts.engram.binding import EngramBinding, RecallMode
    from cosmo_core.contracts.neuron import NeuronFn

_NAMES: Final = ("recall", "imprint")


@attrs.frozen
class Cause:
    """What a request to an Engram belongs to.

    Attributes:
        trace_id: Its trace; None for a new one.
        parent_id: The Signal that causes it.
        time_left_s: For how many seconds an answer is of use; None for ever.
    """

    trace_id: str | None = None
    parent_id: str | None = None
    time_left_s: float | None = None


class MemoryPort(Protocol):
    """What a host of Neurons gives them of the bus."""

    async def recall(
        self,
        binding: EngramBinding,
        query: Mapping[str, Any],
        mode: RecallMode | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> RecallResult:
        """Ask the Engrams of a binding."""
        ...

    async def imprint(
        self,
        binding: EngramBinding,
        op: str,
        entry: Mapping[str, Any] | None,
        merge_key: str | None,
        imprint_id: str | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> ImprintReceipt:
        """Write to the Engram of a binding."""
        ...

    def from_thread(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the event loop, and return its result to the thread that waits for it."""
        ...


def check_bindings(neuron: NeuronFn, bindings: Iterable[EngramBinding]) -> tuple[EngramBinding, ...]:
    """Return the bindings of a Neuron's Axon, if they are what the Neuron needs.

    Raises:
        EngramNotBound: The Neuron cannot run without memory, and there is no binding.
        ValueError: Two of them have one name.
    """
    bound = tuple(bindings)
    names = [binding.name for binding in bound]
    if len(set(names)) < len(names):
        raise ValueError(f"two EngramBindings have one name: {', '.join(names)}")
    if not bound and (needed := [name for name, optional in _declared(neuron).items() if not optional]):
        raise EngramNotBound(
            f"the Neuron declares {' and '.join(needed)}: give its Axon engrams=[EngramBinding(…)]"
        )
    return bound


def with_memory(neuron: NeuronFn, bindings: Iterable[EngramBinding], memory: MemoryPort) -> NeuronFn:
    """Return a Neuron that gets ``recall`` and ``imprint``, as far as it declares them as keywords.

    It is called for many TASKs at once: what it asks belongs to the one that the caller runs for.
    """
    declared = _declared(neuron)
    if not declared:
        return neuron
    named = {binding.name: binding for binding in bindings}
    target = neuron if inspect.isroutine(neuron) or isinstance(neuron, partial) else neuron.__call__
    is_async = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
    offered: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
        "recall": _Recall(named, memory),
        "imprint": _Imprint(named, memory),
    }
    given: dict[str, Any] = {
        name: offered[name] if is_async else _in_thread(offered[name], memory.from_thread)
        for name in declared
    }
    injected: NeuronFn = partial(target, **given)
    return injected


def _declared(neuron: NeuronFn) -> dict[str, bool]:
    """Return which keywords a Neuron declares, and whether it does without them."""
    try:
        parameters = inspect.signature(neuron).parameters
    except (TypeError, ValueError):
        # Some functions that are not written in Python do not tell.
        return {}
    return {
        name: parameters[name].default is not inspect.Parameter.empty
        for name in _NAMES
        if name in parameters and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    }


@attrs.frozen
class _Recall:
    bindings: Mapping[str, EngramBinding]
    memory: MemoryPort

    async def __call__(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        mode: RecallMode | None = None,
        timeout_s: float | None = None,
    ) -> RecallResult:
        return await self.memory.recall(_bound(self.bindings, name), query, mode, timeout_s, _cause())


@attrs.frozen
class _Imprint:
    bindings: Mapping[str, EngramBinding]
    memory: MemoryPort

    async def __call__(
        self,
        name: str,
        *,
        op: str,
        entry: Mapping[str, Any] | None = None,
        merge_key: str | None = None,
        imprint_id: str | None = None,
        timeout_s: float | None = None,
    ) -> ImprintReceipt:
        binding = _bound(self.bindings, name)
        return await self.memory.imprint(binding, op, entry, merge_key, imprint_id, timeout_s, _cause())


def _bound(bindings: Mapping[str, EngramBinding], name: str) -> EngramBinding:
    binding = bindings.get(name)
    if binding is None:
        known = ", ".join(map(repr, bindings))
        raise EngramNotBound(f"the Axon binds no Engram as {name!r}; it binds {known}")
    return binding


def _cause() -> Cause:
    task = current_task()
    return Cause() if task is None else Cause(task.trace_id, task.id, task.time_left_s())


def _in_thread(
    ask: Callable[..., Coroutine[Any, Any, Any]], wait: Callable[[Coroutine[Any, Any, Any]], Any]
) -> Callable[..., Any]:
    """Return what a Neuron that is a plain function, and runs in a thread, calls instead."""

    def blocking(*args: Any, **options: Any) -> Any:
        return wait(ask(*args, **options))

    return blocking
