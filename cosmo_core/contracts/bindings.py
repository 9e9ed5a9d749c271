"""What a Neuron knows of shared memory: the Engrams that its Axon binds, and the functions that reach them.

The Engrams themselves are in ``contracts/engram.py``, which a program without shared memory does not import.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import attrs

from cosmo_core.arguments import check_seconds
from cosmo_core.contracts.neuron import MEMORY_KEYWORDS, declared_keywords
from cosmo_core.errors import EngramNotBound
from cosmo_core.protocol.ids import check_token

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import ImprintReceipt, RecallResult

RECALL_MODES: Final = ("first", "merge", "all")
"""The values of `RecallMode`."""

RecallMode = Literal["first", "merge", "all"]
"""How the answers of several Engrams become one result.

``first`` takes the first answer, ``merge`` ranks all hits together, and ``all`` lists the hits of one Engram
after those of another.
"""


@attrs.frozen
class EngramBinding:
    """Binds a name that a Neuron uses to one Engram, or to all Engrams of a kind.

    Args:
        name: The name that the Neuron uses.
        directed_id: The id of the Engram; ``name`` by default.
        directed_type: A kind of Engram. If set, RECALLs go to all Engrams of the kind. IMPRINTs go to
            ``directed_id``, or without it to the only Engram of the kind.
        timeout_s: Time limit of a call in seconds. The deadline of the Neuron's TASK limits it further.
        recall_mode: How the answers of several Engrams become one result.

    Raises:
        MalformedSignalError: An id or a kind is not a valid token.
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
        check_seconds("timeout_s", self.timeout_s, positive=True)
        if self.recall_mode not in RECALL_MODES:
            raise ValueError(f"EngramBinding {self.name!r}: recall_mode must be first, merge or all")


class RecallFn(Protocol):
    """The function that a Neuron gets for its keyword ``recall``."""

    def __call__(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        mode: RecallMode | None = None,
        timeout_s: float | None = None,
    ) -> Awaitable[RecallResult]:
        """Return the entries that match ``query``; `Query.parse` lists its keys.

        A Neuron that is a plain function gets the result itself, without ``await``.

        Args:
            name: The name of one of the Axon's bindings.
            query: The conditions.
            mode: How the answers of several Engrams become one result; the mode of the binding by default.
            timeout_s: Time limit in seconds; that of the binding by default.

        Raises:
            EngramNotBound: The Axon has no binding with this name.
            EngramTimeout: No Engram answered in time.
            EngramError: No Engram could answer.
        """


class ImprintFn(Protocol):
    """The function that a Neuron gets for its keyword ``imprint``."""

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
        """Write an entry; `Engram.imprint` describes the operations.

        A Neuron that is a plain function gets the receipt itself, without ``await``.

        Args:
            name: The name of one of the Axon's bindings.
            op: ``add``, ``append``, ``merge``, ``upsert`` or ``delete``.
            entry: The entry; its keys ``id``, ``tags`` and ``embedding`` have a meaning.
            merge_key: The key of the entry.
            imprint_id: The id of the write, a new one by default. Repeating a write with its id does it once.
            timeout_s: Time limit in seconds; that of the binding by default.

        Raises:
            EngramNotBound: The Axon has no binding with this name.
            EngramTimeout: No answer in time, so it is unknown whether the write was done. Repeating it with
                the same ``imprint_id`` is safe.
            EngramError: The write was not done.
        """


def check_bindings(
    neuron: Callable[..., Any], bindings: Iterable[EngramBinding]
) -> tuple[EngramBinding, ...]:
    """Check the bindings of an Axon against its Neuron, and return them.

    Raises:
        EngramNotBound: The Neuron needs memory, and there is no binding.
        TypeError: A binding is not an `EngramBinding`.
        ValueError: Two bindings have the same name.
    """
    bound = tuple(bindings)
    for binding in bound:
        if not isinstance(binding, EngramBinding):
            raise TypeError(f"engrams is a list of EngramBinding(…), but it has {binding!r}")
    names = [binding.name for binding in bound]
    if len(set(names)) < len(names):
        raise ValueError(f"two EngramBindings have the same name: {', '.join(names)}")
    if not bound and (
        needed := [
            name for name, optional in declared_keywords(neuron, MEMORY_KEYWORDS).items() if not optional
        ]
    ):
        raise EngramNotBound(
            f"the Neuron declares {' and '.join(needed)}: give its Axon engrams=[EngramBinding(…)]"
        )
    return bound
