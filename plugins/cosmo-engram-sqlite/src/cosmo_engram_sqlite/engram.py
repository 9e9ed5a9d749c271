"""`SqliteEngram`, and `from_url`, which makes one from a ``sqlite://`` URL."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from cosmo_core.arguments import check_count, check_options
from cosmo_core.contracts.engram import EngramGuarantees, Findings, ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import check_token
from cosmo_engram_sqlite import writes
from cosmo_engram_sqlite.batching import WorkerThread
from cosmo_engram_sqlite.database import OpenFiles, open_connection
from cosmo_engram_sqlite.finding import MAX_WORDS, find
from cosmo_engram_sqlite.session import SqliteSession
from cosmo_engram_sqlite.writes import WriteLog

MEMORY: Final = ":memory:"
"""The path of a store in memory."""

_URL_FORMS: Final = "sqlite:// (in memory), sqlite:///relative.db or sqlite:////absolute.db"


class SqliteEngram:
    """An Engram that stores its entries in a SQLite file, or in memory.

    Several programs can share a file. Each Engram writes to the file with one thread and reads with another;
    neither waits for the other. An acknowledged write is on the disk.

    Args:
        engram_id: The address on the bus. A file belongs to one id.
        engram_kind: What the Engram stores, a token.
        path: The file, which is created if it does not exist; ``:memory:`` for a store in memory.
        keeps_writes: How many of the latest writes are known by their ids and can be undone.

    Raises:
        MalformedSignalError: The id or the kind is not a valid token.
        TypeError: ``keeps_writes`` is not an integer.
        ValueError: The path is empty, or ``keeps_writes`` is not positive.
    """

    def __init__(
        self,
        *,
        engram_id: str,
        engram_kind: str = "context",
        path: str | Path = MEMORY,
        keeps_writes: int = 100_000,
    ) -> None:
        if not os.fspath(path):
            raise ValueError(f"SqliteEngram {engram_id!r}: path must be a file, or {MEMORY!r}")
        check_count("keeps_writes", keeps_writes)
        self._id = check_token("engram_id", engram_id)
        self._kind = check_token("engram_kind", engram_kind)
        self._path = path
        self._is_memory = os.fspath(path) == MEMORY
        self._guarantees = EngramGuarantees(durable=not self._is_memory, keeps_writes=keeps_writes)
        self._name = f"Engram {engram_id!r} at {path}"
        # Held while the Engram connects or closes.
        self._lock = asyncio.Lock()
        # In memory, one thread reads and writes.
        self._threads: list[WorkerThread] = []
        self._reader: WorkerThread | None = None
        self._writer: WorkerThread | None = None

    @property
    def engram_id(self) -> str:
        """The address on the bus, a token."""
        return self._id

    @property
    def engram_kind(self) -> str:
        """What the Engram stores, a token."""
        return self._kind

    @property
    def guarantees(self) -> EngramGuarantees:
        """The properties that the Engram promises."""
        return self._guarantees

    async def connect(self) -> None:
        """Open the store, and create it if it does not exist. A second call has no effect.

        Raises:
            EngramError: The store cannot be used. An existing file was not changed.
        """
        async with self._lock:
            if self._writer is not None:
                return
            await self._end_threads()
            try:
                # The writer first: it creates the file.
                await self._start_thread(writes=True)
                if not self._is_memory:
                    await self._start_thread(writes=False)
            except BaseException:
                await self._end_threads()
                raise
            self._writer, self._reader = self._threads[0], self._threads[-1]

    async def close(self) -> None:
        """Finish the calls that wait, and release the store. A second call has no effect."""
        self._writer = self._reader = None
        async with self._lock:
            self._writer = self._reader = None
            await self._end_threads()

    async def recall(self, query: Query) -> Findings:
        """Return the entries that meet every condition of ``query``, the best ``query.limit`` of them.

        Raises:
            EngramError: The store is closed, or failed, or the query has more than `MAX_WORDS` words.
        """
        if query.words is not None and len(query.words) > MAX_WORDS:
            raise EngramError(
                f"{self._name}: a query has {len(query.words)} words; the limit is {MAX_WORDS}: use fewer",
                code="ENGRAM_INVALID",
            )
        findings: Findings = await self._call(self._reader, find, query)
        return findings

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Do a write once per ``write.imprint_id``; see `cosmo_core.contracts.engram.Engram.imprint`.

        Raises:
            EngramError: The write was not done.
        """
        receipt: ImprintReceipt = await self._call(self._writer, writes.imprint, write)
        return receipt

    async def roll_back(self, trace_id: str) -> int:
        """Undo the writes of a trace that are not committed; return how many were undone.

        Raises:
            EngramError: Nothing was undone.
        """
        undone: int = await self._call(self._writer, writes.roll_back, trace_id)
        return undone

    async def commit(self, trace_id: str) -> None:
        """Make the writes of a trace permanent: they can no longer be undone.

        Raises:
            EngramError: The store is closed, or failed.
        """
        await self._call(self._writer, writes.commit, trace_id)

    async def _call(
        self, thread: WorkerThread | None, work: Callable[[Any, Any], Any], argument: object
    ) -> Any:
        if thread is None:
            reason = f"{self._name} is closed: connect it first"
            raise EngramError(reason, code="ENGRAM_UNAVAILABLE", recoverable=True)
        return await thread.call(work, argument)

    async def _start_thread(self, *, writes: bool) -> None:
        self._threads.append(await WorkerThread.open(self._name, partial(self._session, writes=writes)))

    def _session(self, *, writes: bool) -> SqliteSession:
        connection = open_connection(self._path, engram_id=self._id, store=self._name, writes=writes)
        log = WriteLog(connection, engram_id=self._id, keeps_writes=self._guarantees.keeps_writes)
        files = None if self._is_memory else OpenFiles(self._path, store=self._name)
        return SqliteSession(log, store=self._name, files=files)

    async def _end_threads(self) -> None:
        # The writer last: closing the last connection merges the write-ahead log into the file.
        while self._threads:
            await self._threads[-1].close()
            self._threads.pop()

    def __repr__(self) -> str:
        return f"<SqliteEngram {self._id!r} {self._kind} at {self._path}>"


def from_url(url: str, *, engram_id: str, engram_kind: str = "context", **options: Any) -> SqliteEngram:
    """Return the Engram for ``sqlite://``, ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Args:
        url: The URL. Special characters of a path, such as ``?``, are percent-encoded.
        engram_id: The address on the bus.
        engram_kind: What the Engram stores, a token.
        **options: Further arguments of `SqliteEngram`.

    Raises:
        EngramError: ``ENGRAM_INVALID``: the URL has another form.
        TypeError: An option does not exist; the message suggests a similar one.
    """
    check_options("a SQLite Engram", options, inspect.signature(SqliteEngram).parameters)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid_url("not a valid URL") from None
    if parts.scheme != "sqlite":
        raise _invalid_url("not a sqlite:// URL")
    if parts.netloc:
        # The value is not shown, since it may be the user and password of another database.
        raise _invalid_url("a sqlite:// URL has no host or user; is a slash missing?")
    if parts.query or parts.fragment:
        raise _invalid_url("a sqlite:// URL has no query or fragment; options are keyword arguments")
    path = unquote(parts.path.removeprefix("/"))
    if "\0" in path:
        raise _invalid_url("the path contains a NUL character")
    return SqliteEngram(engram_id=engram_id, engram_kind=engram_kind, path=path or MEMORY, **options)


def _invalid_url(reason: str) -> EngramError:
    return EngramError(f"{reason}: write {_URL_FORMS}", code="ENGRAM_INVALID")
