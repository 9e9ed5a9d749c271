"""Remembers what came lately, within bounds."""

from __future__ import annotations

from collections.abc import Callable


class RecentIds:
    """A set that forgets: an id is known for ``window_s`` seconds or ``capacity`` further ids at least.

    It is the window of P-5.6. Two generations take turns, so nothing is stored or swept per id. It holds
    twice ``capacity`` ids at most, and none for longer than three windows.

    Args:
        clock: Monotonic seconds.
        window_s: For how long an id is remembered.
        capacity: How many ids a generation holds.

    Attributes:
        repeated: How many ids were not new.
    """

    def __init__(
        self, clock: Callable[[], float], *, window_s: float = 120.0, capacity: int = 10_000
    ) -> None:
        self.repeated = 0
        self._clock = clock
        self._window_s = window_s
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._turns_at = clock() + window_s

    def __contains__(self, id: str) -> bool:
        return id in self._young or id in self._old

    def add(self, id: str) -> bool:
        """Remember ``id``; tell whether it is new."""
        now = self._clock()
        if now >= self._turns_at or len(self._young) >= self._capacity:
            self._turn(now)
        young = self._young
        if id in young or id in self._old:  # not `in self`: that is a call, for every TASK
            self.repeated += 1
            return False
        young.add(id)
        return True

    def _turn(self, now: float) -> None:
        idle = now >= self._turns_at + self._window_s
        self._old = set() if idle else self._young
        self._young = set()
        self._turns_at = now + self._window_s
