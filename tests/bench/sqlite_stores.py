"""Stores of notes in SQLite: with the Engram, and with `sqlite3` alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import msgspec

from cosmo_core.contracts.engram import text_of
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_sqlite import SqliteEngram
from cosmo_engram_sqlite.database import open_connection
from cosmo_engram_sqlite.finding import statement
from tests.bench.note_stores import NOTES, STORE_SIZE, NoteStore
from tests.bench.notes import id_of, key_of, scatter
from tests.bench.stores import ReportProgress, connected, writes

_AT_ONCE: Final = 1_000
_LIMIT: Final = 11

_BY_ID: Final = statement(True, False, 0, False, False)
_BY_KEY: Final = statement(False, True, 0, False, False)

# The statements of the Engram for an upsert of an existing entry. They are copied, because its functions
# do more than that; a test compares them.
_LATEST: Final = "SELECT max(seq) FROM writes"
_KNOWN: Final = "SELECT op, entry, version FROM writes WHERE imprint_id = ?"
_NEWEST: Final = (
    "SELECT number, id, merge_key, version, written, tags, embedded, document, text FROM entries"
    " WHERE merge_key = ? ORDER BY written DESC LIMIT 1"
)
_FORGET_WORDS: Final = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
_ADD_WORDS: Final = "INSERT INTO words (rowid, text) VALUES (?, ?)"
_REPLACE: Final = (
    "UPDATE entries SET version = ?, written = ?, tags = ?, embedded = ?, document = ?, text = ?"
    " WHERE number = ?"
)
_RECORD: Final = (
    "INSERT INTO writes (seq, imprint_id, op, entry, version, trace_id, before) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_OLDEST: Final = "SELECT min(seq) FROM writes"

_STORED: Final = [(msgspec.json.encode(each), text_of(each)) for each in NOTES]


class BareSqlite:
    """A connection that runs the same statements as the Engram, one transaction per write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def imprint(self, turn: int) -> None:
        """Replace the note of a key, with a record for rollback."""
        execute = self._execute
        document, text = _STORED[turn % len(_STORED)]
        imprint_id, trace_id = f"evt_{new_ulid()}", f"trc_{new_ulid()}"
        execute("BEGIN IMMEDIATE")
        seq = execute(_LATEST).fetchone()[0] + 1
        assert execute(_KNOWN, (imprint_id,)).fetchone() is None
        old = execute(_NEWEST, (key_of(scatter(turn, STORE_SIZE)),)).fetchone()
        number, id, _, version, _, _, _, old_document, old_text = old
        execute(_FORGET_WORDS, (number, old_text))
        execute(_ADD_WORDS, (number, text))
        execute(_REPLACE, (version + 1, seq, None, False, document, text, number))
        execute(_RECORD, (seq, imprint_id, "upsert", id, version + 1, trace_id, old_document))
        execute(_OLDEST).fetchone()
        execute("COMMIT")

    def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        assert len(self._execute(_BY_KEY, (key_of(scatter(turn, STORE_SIZE)), _LIMIT)).fetchall()) == 1

    def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        assert len(self._execute(_BY_ID, (id_of(scatter(turn, STORE_SIZE)), _LIMIT)).fetchall()) == 1


@attrs.frozen
class AsyncSqlite:
    """A connection with a way to call its functions: in a thread, or directly."""

    bare: BareSqlite
    call: Callable[[Callable[[int], None], int], Awaitable[None]]

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key."""
        await self.call(self.bare.imprint, turn)

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        await self.call(self.bare.recall_by_key, turn)

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        await self.call(self.bare.recall_by_id, turn)


class SqliteStores:
    """Stores in files of a folder."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engram(self, store: str) -> SqliteEngram:
        """Return the Engram of a store, not connected."""
        return SqliteEngram(engram_id=store, path=self._path(store))

    @asynccontextmanager
    async def bare(self, store: str) -> AsyncIterator[NoteStore]:
        """Open a store in a separate thread, so that the event loop does not wait for the disk."""
        with ThreadPoolExecutor(1) as thread:
            in_thread = partial(asyncio.get_running_loop().run_in_executor, thread)
            connection = await in_thread(self._connection, store)
            yield AsyncSqlite(BareSqlite(connection), in_thread)
            await in_thread(connection.close)

    @asynccontextmanager
    async def plain(self, store: str) -> AsyncIterator[NoteStore]:
        """Open a store in the event loop, which SQLite blocks."""
        with closing(self._connection(store)) as connection:
            yield AsyncSqlite(BareSqlite(connection), _call_directly)

    async def fill(self, store: str, count: int, report_progress: ReportProgress) -> None:
        """Make a store of ``count`` notes."""
        async with connected(self.engram(store)) as engram:
            for start in range(0, count, _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, count))
                await asyncio.gather(*map(engram.imprint, writes(numbers, of=count)))
                report_progress(numbers.stop)

    def _path(self, store: str) -> Path:
        return self._folder / f"{store}.db"

    def _connection(self, store: str) -> sqlite3.Connection:
        return open_connection(self._path(store), engram_id=store, store=store)


async def _call_directly(function: Callable[[int], None], turn: int) -> None:
    function(turn)
