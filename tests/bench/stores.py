"""Stores of notes: what it takes to open, to fill and to compare those of one kind of Engram."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import msgspec

from cosmo_core.contracts.engram import Engram, Query, Write
from cosmo_core.protocol.ids import new_ulid
from tests.bench.keeping import Keeper
from tests.bench.notes import id_of, key_of, note, topic_of

Tell = Callable[[int], None]

_TELL_AFTER_S: Final = 5.0
_SAMPLES: Final = 7


class Stores(Protocol):
    """The stores of one kind of Engram. A store is called by the id of its Engram."""

    @property
    def kind(self) -> str:
        """What keeps them."""
        ...

    def engram(self, store: str) -> Engram:
        """Return the Engram of a store, not connected."""
        ...

    def bare(self, store: str) -> AbstractAsyncContextManager[Keeper]:
        """Open a store that is filled with nothing but the driver, used as well as it can be."""
        ...

    def plain(self, store: str) -> AbstractAsyncContextManager[Keeper]:
        """Open it with the driver, used as a first program would."""
        ...

    async def fill(self, store: str, count: int, tell: Tell) -> None:
        """Make a store of ``count`` notes just as its Engram would; tell how many there are already."""
        ...


class Filled:
    """Stores that are filled when they are first needed."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._filled: set[str] = set()

    async def fill(self, store: str, count: int) -> None:
        """Have a store with ``count`` notes. It is filled once."""
        if store not in self._filled:
            await self.stores.fill(store, count, _telling(self.stores.kind, count))
            async with connected(self.stores.engram(store)) as engram:
                await _check(engram, count)
            self._filled.add(store)


def writes(numbers: Iterable[int], *, of: int) -> list[Write]:
    """Return the writes that store notes for the first time, in no trace that is still open."""
    return [
        Write.parse(
            "add",
            {"id": id_of(number), **note(number, of=of)},
            imprint_id=f"evt_{new_ulid()}",
            merge_key=key_of(number),
        )
        for number in numbers
    ]


@asynccontextmanager
async def connected(engram: Engram) -> AsyncIterator[Engram]:
    """Connect an Engram, and close it."""
    await engram.connect()
    try:
        yield engram
    finally:
        await engram.close()


async def _check(engram: Engram, count: int) -> None:
    """Look, with the Engram, at some of what it is said to have written."""
    for number in range(0, count, max(1, count // _SAMPLES)):
        expected = {"id": id_of(number), **note(number, of=count)}
        for condition in (
            {"id": id_of(number)},
            {"merge_key": key_of(number)},
            {"id": id_of(number), "text": topic_of(number, of=count)},
        ):
            (found,) = (await engram.recall(Query.parse(condition))).found
            assert msgspec.json.decode(found.document) == expected


def _telling(kind: str, count: int) -> Tell:
    told_at = time.perf_counter()

    def tell(stored: int) -> None:
        nonlocal told_at
        if time.perf_counter() - told_at > _TELL_AFTER_S:
            told_at = time.perf_counter()
            print(f"          {kind}: {stored:,} of {count:,} entries", file=sys.stderr, flush=True)

    return tell
