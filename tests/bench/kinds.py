"""Which kinds of Engrams are measured, and how much of it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from tests.bench.stores import Filled

IN_FLIGHT: Final = 32
FEW: Final = 1_000
MANY: Final = 1_000_000


@attrs.frozen
class Kind:
    """A kind of Engram.

    Attributes:
        name: Its name.
        filled: Its stores; they may be missing.
        bare: What it is compared with.
        plain: What it is shown beside.
        reach: With `IN_FLIGHT` in flight, compared with ``bare``.
        plain_reach: The same, compared with ``plain``.
        turns: How often to do each of `ACTS`.
    """

    name: str
    filled: Callable[[], Filled]
    bare: str
    plain: str
    reach: str
    plain_reach: str
    turns: Mapping[str, int]


@attrs.frozen
class Amount:
    """How much is measured.

    Attributes:
        scale: What part of the turns.
        rounds: How many rounds of them.
        many: How many entries a full store has.
    """

    scale: float
    rounds: int
    many: int

    @classmethod
    def of(cls, scale: float) -> Amount:
        """Return what ``--scale`` means: less than all of it is far less to store."""
        many = MANY if scale >= 1 else max(2 * FEW, int(MANY * scale / 4))
        return cls(scale, rounds=max(3, int(9 * scale)), many=many)
