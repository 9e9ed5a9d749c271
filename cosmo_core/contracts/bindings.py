"""What every Axon needs of shared memory: the types of what its Neuron gets, and the check of its bindings.

The rest is in ``contracts/engram.py``, which a program without shared memory does not import.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cosmo_core.contracts.neuron import MEMORY_KEYWORDS, declared_keywords
from cosmo_core.errors import EngramNotBound

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import EngramBinding, ImprintReceipt, RecallMode, RecallResult


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
    if bound:
        # Imported on use: most programs bind no Engrams.
        from cosmo_core.contracts.engram import EngramBinding

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
