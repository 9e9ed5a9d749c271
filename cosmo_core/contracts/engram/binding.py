"""What a Neuron calls its memory, and where that is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, Protocol

import attrs

from cosmo_core.contracts.engram.results import ImprintReceipt, RecallResult
from cosmo_core.errors import EngramNotBound
from cosmo_core.protocol.ids import check_token

RECALL_MODES: Final = ("first", "merge", "all")
"""The values of `RecallMode`."""

RecallMode = Literal["first", "merge", "all"]
"""``first``: the first answer counts. ``merge``: all answers in one ranking. ``all``: one after the other."""


@attrs.frozen
class EngramBinding:
    """Binds a name that a Neuron uses to Engrams on the bus.

    Args:
        name: What the Neuron calls it.
        directed_id: The id of the Engram; ``name`` by default.
        directed_type: A kind instead: RECALLs go to all Engrams of the kind, and IMPRINTs to ``directed_id``,
            or without it to the only Engram of the kind.
        timeout_s: For how many seconds a call may take; never longer than the Neuron's TASK is of use.
        recall_mode: What becomes of several answers.

    Raises:
        MalformedSignalError: An id or a kind is no token.
        ValueError: ``timeout_s`` is not positive, or the mode is unknown.
    """

    name: str
    directed_id: str | None = None
    directed_type: str | None = attrs.field(default=None, kw_only=True)
    timeout_s: float = attrs.field(default=5.0, kw_only=True)
    recall_mode: RecallMode = attrs.field(default="first", kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.directed_id is None and self.directed_type is None:
            object.__setattr__(self, "directed_id", self.name)
        for field in ("directed_id", "directed_type"):
            if (value := getattr(self, field)) is not None:
                check_token(field, value)
        if self.timeout_s <= 0:
            raise ValueError(f"EngramBinding {self.name!r}: timeout_s must be positive")
        if self.recall_mode not in RECALL_MODES:
            raise ValueError(f"EngramBinding {self.name!r}: recall_mode is first, merge or all")


class RecallFn(Protocol):
    """What a Neuron that declares the keyword ``recall`` gets."""

    def __call__(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        mode: RecallMode | None = None,
        timeout_s: float | None = None,
    ) -> Awaitable[RecallResult]:
        """Return what fits ``query``; see `Query.parse` for its keys. A plain function gets no awaitable.

        Args:
            name: Of one of the Axon's bindings.
            query: What to look for.
            mode: What becomes of several answers, if not what the binding says.
            timeout_s: For how many seconds to wait, if not as long as the binding says.

        Raises:
            EngramNotBound: The Axon has no binding of this name.
            EngramTimeout: No answer in time.
            EngramError: No Engram could answer.
        """
        ...


class ImprintFn(Protocol):
    """What a Neuron that declares the keyword ``imprint`` gets."""

    def __call__(
        self,
        name: str,
        *,
        op: str,
        entry: Mapping[str, Any] | None = None,
        merge_key: str | None = None,
        imprint_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Awaitable[ImprintReceipt]:
        """Write an entry, as `Engram.imprint` says. A plain function gets no awaitable.

        Args:
            name: Of one of the Axon's bindings.
            op: ``add``, ``append``, ``merge``, ``upsert`` or ``delete``.
            entry: What to write; ``id``, ``tags`` and ``embedding`` in it have a meaning.
            merge_key: The key of the entry.
            imprint_id: The id of the write: one that comes again is written once. A new one by default.
            timeout_s: For how many seconds to wait, if not as long as the binding says.

        Raises:
            EngramNotBound: The Axon has no binding of this name.
            EngramTimeout: No answer in time; whether it was written is not known. Trying again with the
                same ``imprint_id`` is safe.
            EngramError: It was not written.
        """
        ...


def check_bindings(
    neuron: Callable[..., Any], bindings: Iterable[EngramBinding]
) -> tuple[EngramBinding, ...]:
    """Return the bindings of a Neuron's Axon, if they are what the Neuron needs.

    Raises:
        EngramNotBound: The Neuron cannot run without memory, and there is no binding.
        ValueError: Two of them have one name.
    """
    bound = tuple(bindings)
    names = [binding.name for binding in bound]
    if len(set(names)) < len(names):
        raise ValueError(f"two EngramBindings have one name: {', '.join(names)}")
    if not bound and (needed := [name for name, optional in declared_memory(neuron).items() if not optional]):
        raise EngramNotBound(
            f"the Neuron declares {' and '.join(needed)}: give its Axon engrams=[EngramBinding(…)]"
        )
    return bound


def declared_memory(neuron: Callable[..., Any]) -> dict[str, bool]:
    """Return which keywords a Neuron declares, and whether it does without them."""
    try:
        parameters = inspect.signature(neuron).parameters
    except (TypeError, ValueError):
        # Some functions that are not written in Python do not tell.
        return {}
    return {
        name: parameters[name].default is not inspect.Parameter.empty
        for name in ("recall", "imprint")
        if name in parameters and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    }
