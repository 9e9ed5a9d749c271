"""The Axon, its bindings, and what ``recall`` and ``imprint`` take and return in a program for cosmonapse."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import wraps
from typing import Any, Final

import cosmo_core
from cosmo_core import ImprintReceipt, NeuronFn, Signal
from cosmo_core.contracts.axon import AxonPort
from cosmo_core.contracts.engram import RecallMode
from cosmo_core.contracts.neuron import MEMORY_KEYWORDS, declared_keywords

_ANSWERS: Final = {"clarification": "clarifications", "permission": "permissions"}


class EngramBinding(cosmo_core.EngramBinding):
    """Binds a name that a Neuron uses to an Engram, or to all Engrams of a kind.

    Args:
        name: The name that the Neuron uses.
        directed_id: The id of the Engram; ``name`` by default.
        directed_type: A kind of Engram.
        default_deadline_ms: Milliseconds that a call may take; 5,000 by default.
        default_recall_mode: How the answers of several Engrams become one result.

    Raises:
        MalformedSignalError: An id or a kind is not a valid token.
        ValueError: The deadline is not positive, or the mode is unknown.
    """

    def __init__(
        self,
        name: str,
        directed_id: str | None = None,
        directed_type: str | None = None,
        default_deadline_ms: int | None = None,
        default_recall_mode: RecallMode = "first",
    ) -> None:
        options: dict[str, Any] = {"directed_type": directed_type, "recall_mode": default_recall_mode}
        if default_deadline_ms:
            options["timeout_s"] = default_deadline_ms / 1000
        super().__init__(name, directed_id, **options)


class Hit(cosmo_core.Hit):
    """One result of a RECALL."""

    @property
    def content(self) -> Any:
        """The entry, or what it has under the key ``content``."""
        return self.entry.get("content", self.entry)


class RecallResult(cosmo_core.RecallResult):
    """The results of a RECALL: true if there are any, with a length, and iterable."""

    @classmethod
    def of(cls, found: cosmo_core.RecallResult) -> RecallResult:
        """Return the result with hits that have a ``content``."""
        hits: list[cosmo_core.Hit] = [Hit(hit.id, hit.entry, hit.score, hit.engram_id) for hit in found.hits]
        return cls(hits, found.truncated, found.engrams, found.failed)

    @property
    def engram_ids(self) -> tuple[str, ...]:
        """The ids of the Engrams that answered."""
        return self.engrams

    def __iter__(self) -> Iterator[cosmo_core.Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


class Axon(cosmo_core.Axon):
    """Gives one Neuron an id. Its arguments are those of `cosmo_core.Axon`.

    Annotations are not read: inputs and outputs are checked only against types that are arguments. An async
    Neuron may call ``recall`` and ``imprint`` with ``deadline_ms``, ``recall_mode`` and ``await_ack``. Every
    Neuron finds the last answer to its questions under ``clarification`` or ``permission``, too.
    """

    def __init__(self, *, input_type: Any = Any, output_type: Any = Any, **options: Any) -> None:
        super().__init__(input_type=input_type, output_type=output_type, **options)

    def wrapped(self, wrappers: Iterable[Callable[[NeuronFn], NeuronFn]]) -> cosmo_core.Axon:
        """Return a copy of this Axon with its Neuron inside ``wrappers``; the first is the outermost."""
        return super().wrapped([*wrappers, _with_old_memory])

    async def answer(self, task: Signal, port: AxonPort, deadline: float | None = None) -> Signal:
        """Run the Neuron on ``task`` and return the Signal that ends it."""
        input: dict[str, Any] = task.payload["input"]
        for name, names in _ANSWERS.items():
            answers = input.get(names)
            if isinstance(answers, list) and answers:
                input[name] = answers[-1]
        return await super().answer(task, port, deadline)


# --- recall and imprint -----------------------------------------------------------------------------

_Call = Callable[..., Coroutine[Any, Any, Any]]


def _with_old_memory(neuron: NeuronFn) -> NeuronFn:
    """Return an async Neuron that calls ``recall`` and ``imprint`` as in cosmonapse; another one as it is."""
    is_async = inspect.iscoroutinefunction(neuron) or inspect.iscoroutinefunction(type(neuron).__call__)
    if not is_async or not declared_keywords(neuron, MEMORY_KEYWORDS):
        return neuron

    @wraps(neuron)
    async def remembers(input: dict[str, Any], context: list[Any], **keywords: Any) -> Any:
        for name, adapt in (("recall", _recall), ("imprint", _imprint)):
            if name in keywords:
                keywords[name] = adapt(keywords[name])
        return await neuron(input, context, **keywords)

    return remembers


def _recall(call: _Call) -> _Call:
    async def recall(
        name: str,
        query: Any,
        *,
        recall_mode: RecallMode | None = None,
        deadline_ms: int | None = None,
        **options: Any,
    ) -> RecallResult:
        if recall_mode is not None:
            options["mode"] = recall_mode
        return RecallResult.of(await call(name, query, **_timed(options, deadline_ms)))

    return recall


def _imprint(call: _Call) -> _Call:
    async def imprint(
        name: str, *, await_ack: bool = True, deadline_ms: int | None = None, **options: Any
    ) -> ImprintReceipt:
        receipt: ImprintReceipt = await call(name, **_timed(options, deadline_ms))
        return receipt

    return imprint


def _timed(options: dict[str, Any], deadline_ms: int | None) -> dict[str, Any]:
    # 0 means no deadline of its own.
    return {**options, "timeout_s": deadline_ms / 1000} if deadline_ms else options
