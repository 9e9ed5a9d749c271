"""The stores of one kind of Engram: opening, filling and checking them."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import msgspec

from cosmo_core.contracts.engram import Engram, Query, Write
from cosmo_core.protocol.ids import new_ulid
from tests.bench.note_stores import NoteStore
from tests.bench.notes import id_of, key_of, note, topic_of

ReportProgress = Callable[[int], None]

_REPORT_INTERVAL_S: Final = 5.0
_SAMPLES: Final = 7


class Stores(Protocol):
    """The stores of one kind of Engram. The name of a store is the id of its Engram."""

    @property
    def kind(self) -> str:
        """The name of the database."""
        ...

    def engram(self, store: str) -> Engram:
        """Return the Engram of a store, not connected."""
        ...

    def bare(self, store: str) -> AbstractAsyncContextManager[NoteStore]:
        """Open a filled store with the driver alone, used in the fastest way."""
        ...

    def plain(self, store: str) -> AbstractAsyncContextManager[NoteStore]:
        """Open a filled store with the driver alone, used in the usual way."""
        ...

    async def fill(self, store: str, count: int, report_progress: ReportProgress) -> None:
        """Make a store of ``count`` notes as its Engram would; report the number of notes stored so far."""
        ...


class FilledStores:
    """Stores that are filled on first use."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._filled: set[str] = set()

    async def fill(self, store: str, count: int) -> None:
        """Fill a store with ``count`` notes, unless it is filled already."""
        if store not in self._filled:
            await self.stores.fill(store, count, _progress_printer(self.stores.kind, count))
            async with connected(self.stores.engram(store)) as engram:
                await _check(engram, count)
            self._filled.add(store)


def writes(numbers: Iterable[int], *, of: int) -> list[Write]:
    """Return the writes that add notes, outside of any open trace."""
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
    """Connect an Engram; close it on exit."""
    await engram.connect()
    try:
        yield engram
    finally:
        await engram.close()


async def _check(engram: Engram, count: int) -> None:
    """Check a sample of the stored notes with the Engram."""
    for number in range(0, count, max(1, count // _SAMPLES)):
        expected = {"id": id_of(number), **note(number, of=count)}
        for condition in (
            {"id": id_of(number)},
            {"merge_key": key_of(number)},
            {"id": id_of(number), "text": topic_of(number, of=count)},
        ):
            (found,) = (await engram.recall(Query.parse(condition))).found
            assert msgspec.json.decode(found.document) == expected


def _progress_printer(kind: str, count: int) -> ReportProgress:
    reported_at = time.perf_counter()

    def report_progress(stored: int) -> None:
        nonlocal reported_at
        if time.perf_counter() - reported_at > _REPORT_INTERVAL_S:
            reported_at = time.perf_counter()
            print(f"          {kind}: {stored:,} of {count:,} entries", file=sys.stderr, flush=True)

    return report_progress
