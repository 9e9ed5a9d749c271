"""The orders that a directory keeps: Neurons by busyness, records by expiry. No step looks at all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

SLACK: Final = 64
"""The number of outdated entries that a heap may have, beside one for each entry that counts."""

Key = tuple[str, str]
"""The ids of a Neuron and of the Dendrite that hosts it."""


class Ranking:
    """Neurons by their busyness; those that are equally busy take turns."""

    def __init__(self) -> None:
        self._buckets: dict[float, OrderedDict[str, None]] = {}
        # The keys of the buckets. An empty bucket stays until it is the first, or there are too many.
        self._heap: list[float] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        return (neuron for bucket in self._buckets.values() for neuron in bucket)

    def add(self, neuron: str, busyness: float) -> None:
        """Add a Neuron, whose turn comes after those of the equally busy ones."""
        bucket = self._buckets.get(busyness)
        if bucket is None:
            if len(self._heap) > 2 * self._size + SLACK:
                self._buckets = {each: neurons for each, neurons in self._buckets.items() if neurons}
                self._heap = sorted(self._buckets)
            bucket = self._buckets[busyness] = OrderedDict()
            heappush(self._heap, busyness)
        bucket[neuron] = None
        self._size += 1

    def remove(self, neuron: str, busyness: float) -> None:
        """Remove a Neuron that was added with this busyness."""
        del self._buckets[busyness][neuron]
        self._size -= 1

    def next_turn(self) -> str | None:
        """Return one of the least busy Neurons: the one that was not returned for the longest time."""
        while self._heap:
            bucket = self._buckets[self._heap[0]]
            if bucket:
                neuron = next(iter(bucket))
                bucket.move_to_end(neuron)
                return neuron
            del self._buckets[heappop(self._heap)]
        return None


class Expiries:
    """The times at which records are due, soonest first. To postpone one costs nothing until that time."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def add(self, key: Key, expires: float) -> None:
        """Make a record due at ``expires``, unless it is due before."""
        if expires < self._due.get(key, float("inf")):
            self._due[key] = expires
            heappush(self._heap, (expires, key))
            if len(self._heap) > 2 * len(self._due) + SLACK:
                self._heap = [(due, each) for each, due in self._due.items()]
                heapify(self._heap)

    def discard(self, key: Key) -> None:
        """Remove a record."""
        self._due.pop(key, None)

    def pop(self, now: float) -> Key | None:
        """Remove and return a record that is due, which may have been postponed since; None if none is."""
        while self._heap and self._heap[0][0] <= now:
            due, key = heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                return key
        return None
