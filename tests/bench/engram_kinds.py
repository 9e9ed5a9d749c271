"""The measured kinds of Engrams, and the amount of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from tests.bench.stores import FilledStores

IN_FLIGHT: Final = 32
FEW: Final = 1_000
MANY: Final = 1_000_000


@attrs.frozen
class Kind:
    """A kind of Engram.

    Attributes:
        name: The name of the kind.
        filled: Returns its stores; raises `MissingError` if the server is not installed.
        bare: The name of the baseline: the driver, used in the fastest way.
        plain: The name of a second baseline: the driver, used in the usual way.
        target: The target with `IN_FLIGHT` in flight, compared with ``bare``.
        plain_target: The target with `IN_FLIGHT` in flight, compared with ``plain``.
        turns: The number of repetitions of each of `OPERATIONS`.
    """

    name: str
    filled: Callable[[], FilledStores]
    bare: str
    plain: str
    target: str
    plain_target: str
    turns: Mapping[str, int]


@attrs.frozen
class Amount:
    """The amount of work of the Engram figures.

    Attributes:
        scale: The share of the repetitions.
        rounds: The number of rounds.
        many: The number of entries of a full store.
    """

    scale: float
    rounds: int
    many: int

    @classmethod
    def of(cls, scale: float) -> Amount:
        """Return the amount for ``--scale``; a full store shrinks more than the rest below a scale of 1."""
        many = MANY if scale >= 1 else max(2 * FEW, int(MANY * scale / 10))
        return cls(scale, rounds=max(3, int(9 * scale)), many=many)
