"""Gives a Neuron its memory, under the names it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import attrs

from cosmo_core.contracts.engram import (
    EngramBinding,
    ImprintReceipt,
    RecallMode,
    RecallResult,
    declared_memory,
)
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.contracts.task_context import current_task
from cosmo_core.errors import EngramNotBound
from cosmo_core.extensions.memory.client import Cause, EngramClient


def with_memory(neuron: NeuronFn, bindings: Iterable[EngramBinding], memory: EngramClient) -> NeuronFn:
    """Return a Neuron that gets ``recall`` and ``imprint``, as far as it declares them as keywords.

    It is called for many TASKs at once: what it asks belongs to the one that the caller runs for.
    """
    declared = declared_memory(neuron)
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


@attrs.frozen
class _Recall:
    bindings: Mapping[str, EngramBinding]
    memory: EngramClient

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
    memory: EngramClient

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
        raise EngramNotBound(f"the Axon has no EngramBinding named {name!r}; it has {known}")
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
