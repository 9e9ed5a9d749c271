"""The Engram that keeps its entries in SQLite."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import EngramGuarantees
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import check_token
from cosmo_engram_sqlite import undoing, writes
from cosmo_engram_sqlite.batching import Lane
from cosmo_engram_sqlite.connection import open_connection
from cosmo_engram_sqlite.finding import find
from cosmo_engram_sqlite.session import SqliteSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_core.contracts.engram import Findings, ImprintReceipt, Query, Write

MEMORY: Final = ":memory:"
"""The path of a store that lives as long as it is connected."""


class SqliteEngram:
    """Keeps entries in a file, which several programs may share, or in memory.

    A file is written by one thread and read by another, neither of which the other waits for. What is
    acknowledged is on the disk.

    Args:
        engram_id: Its address on the bus. A file belongs to one.
        engram_kind: What it keeps.
        path: The file, which is made if it is not there; ``:memory:`` for none.
        keeps_writes: How many of the latest writes are known by their ids, and can be undone.

    Raises:
        MalformedSignalError: An id or a kind is no token.
        ValueError: There is no path, or ``keeps_writes`` is not positive.
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
            raise ValueError(f"SqliteEngram {engram_id!r}: path is a file, or {MEMORY!r}")
        if keeps_writes < 1:
            raise ValueError(f"SqliteEngram {engram_id!r}: keeps_writes must be positive")
        self._id = check_token("engram_id", engram_id)
        self._kind = check_token("engram_kind", engram_kind)
        self._path = path
        self._is_memory = os.fspath(path) == MEMORY
        self._guarantees = EngramGuarantees(durable=not self._is_memory, keeps_writes=keeps_writes)
        self._name = f"Engram {engram_id!r} at {path}"
        self._changing = asyncio.Lock()
        # Memory has one lane for both.
        self._lanes: list[Lane] = []
        self._reader: Lane | None = None
        self._writer: Lane | None = None

    @property
    def engram_id(self) -> str:
        """Its address, a token."""
        return self._id

    @property
    def engram_kind(self) -> str:
        """What it keeps, a token."""
        return self._kind

    @property
    def guarantees(self) -> EngramGuarantees:
        """What it promises."""
        return self._guarantees

    async def connect(self) -> None:
        """Open the store; it is made if it is not there. Doing it twice is not an error.

        Raises:
            EngramError: The store cannot be used. It was left as it is.
        """
        async with self._changing:
            if self._writer is not None:
                return
            await self._end()
            try:
                # One after the other: the first makes the store.
                self._lanes.append(await Lane.open(self._name, partial(self._session, writes=True)))
                if not self._is_memory:
                    self._lanes.append(await Lane.open(self._name, partial(self._session, writes=False)))
            except BaseException:
                await self._end()
                raise
            self._writer, self._reader = self._lanes[0], self._lanes[-1]

    async def close(self) -> None:
        """Finish what it was asked for, and let go of the store. Doing it twice is not an error."""
        self._writer = self._reader = None
        async with self._changing:
            self._writer = self._reader = None
            await self._end()

    async def recall(self, query: Query) -> Findings:
        """Return the entries that fit every condition of ``query``, the best ``query.limit`` of them.

        Raises:
            EngramError: The store is closed, or failed.
        """
        findings: Findings = await self._in(self._reader, find, query)
        return findings

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Write, once for each ``write.imprint_id``; see `cosmo_core.contracts.engram.Engram.imprint`.

        Raises:
            EngramError: It was not written.
        """
        receipt: ImprintReceipt = await self._in(self._writer, writes.imprint, write)
        return receipt

    async def roll_back(self, trace_id: str) -> int:
        """Undo what a trace wrote and did not commit; return how many writes it were.

        Raises:
            EngramError: Nothing was undone.
        """
        undone: int = await self._in(self._writer, undoing.roll_back, trace_id)
        return undone

    async def commit(self, trace_id: str) -> None:
        """Keep what a trace wrote: it cannot be undone any more.

        Raises:
            EngramError: The store is closed, or failed.
        """
        await self._in(self._writer, undoing.commit, trace_id)

    async def _in(self, lane: Lane | None, work: Callable[[Any, Any], Any], argument: object) -> Any:
        if lane is None:
            reason = f"{self._name} is closed: connect it first"
            raise EngramError(reason, code="ENGRAM_UNAVAILABLE", recoverable=True)
        return await lane.call(work, argument)

    def _session(self, *, writes: bool) -> SqliteSession:
        connection = open_connection(self._path, engram_id=self._id, store=self._name, writes=writes)
        keeps = self._guarantees.keeps_writes
        return SqliteSession(
            connection,
            engram_id=self._id,
            store=self._name,
            is_file=not self._is_memory,
            keeps_writes=keeps,
        )

    async def _end(self) -> None:
        # The one that writes last: it tidies up the log.
        while self._lanes:
            await self._lanes[-1].close()
            self._lanes.pop()

    def __repr__(self) -> str:
        return f"<SqliteEngram {self._id!r} {self._kind} at {self._path}>"
