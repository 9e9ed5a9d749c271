"""Writes: each is a call of the SQL function ``imprint``, whose outcome becomes a receipt or an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from cosmo_core.contracts.engram import ImprintReceipt, Write, merged, text_of
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_postgres.calls import Calls
from cosmo_engram_postgres.connections import PooledConnection
from cosmo_engram_postgres.lexemes import as_tsvector
from cosmo_engram_postgres.schema import Schema

_IMPRINT: Final = (
    "SELECT outcome, done_op, done_id, done_version"
    " FROM @schema@.imprint($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
)
_SELECT_NEWEST: Final = (
    "SELECT id, document, written FROM @schema@.entries WHERE merge_key = $1"
    " AND NOT EXISTS (SELECT FROM @schema@.writes WHERE imprint_id = $2) ORDER BY written DESC LIMIT 1"
)
_LOCK: Final = "SELECT @schema@.lock_names($1, $2)"

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Writer:
    """Does the writes of one Engram.

    Args:
        calls: The calls to the database.
        schema: The schema of the Engram.
        engram_id: The id of the Engram.
        keeps_writes: How many of the latest writes are known by their ids.
    """

    def __init__(self, calls: Calls, schema: Schema, *, engram_id: str, keeps_writes: int) -> None:
        self._calls = calls
        self._imprint, self._select_newest, self._lock = map(schema.fill, (_IMPRINT, _SELECT_NEWEST, _LOCK))
        self._engram_id = engram_id
        self._keeps_writes = keeps_writes

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Do a write; see `Engram.imprint`.

        Raises:
            EngramError: The write was not done.
        """
        if write.op == "merge":
            outcome = await self._calls.run(lambda connection: self._merge(connection, write))
            if outcome["outcome"] == "changed":
                # Another write came in between. With the lock, no other write can.
                outcome = await self._calls.run(
                    lambda connection: self._merge_locked(connection, write), in_transaction=True
                )
        else:
            arguments = self._arguments(write)
            outcome = await self._calls.run(lambda connection: self._call(connection, arguments))
        return self._receipt(write, outcome)

    async def _call(self, connection: PooledConnection, arguments: Sequence[object]) -> asyncpg.Record:
        (outcome,) = await connection.fetch(self._imprint, *arguments)
        return outcome

    async def _merge_locked(self, connection: PooledConnection, write: Write) -> asyncpg.Record:
        await connection.execute(self._lock, write.id, write.merge_key)
        return await self._merge(connection, write)

    async def _merge(self, connection: PooledConnection, write: Write) -> asyncpg.Record:
        old = await connection.fetchrow(self._select_newest, write.merge_key, write.imprint_id)
        # There is no entry to merge with; the SQL function returns the reason.
        if old is None or (write.id is not None and write.id != old["id"]):
            return await self._call(connection, self._arguments(write))
        whole = write.with_entry(merged(self._decode(old["id"], old["document"]), write.entry))
        return await self._call(connection, self._arguments(whole, seen=old["written"]))

    def _decode(self, id: str, document: str) -> dict[str, Any]:
        try:
            return _decode(document)
        except msgspec.MsgspecError:
            raise EngramError(
                f"Engram {self._engram_id!r}: the entry {id!r} is not valid JSON: replace it with upsert",
                code="ENGRAM_CORRUPT",
            ) from None

    def _arguments(self, write: Write, seen: int | None = None) -> tuple[object, ...]:
        deletes = write.op == "delete"
        return (
            write.imprint_id,
            write.trace_id,
            write.op,
            write.id,
            "eng_" + new_ulid(),
            write.merge_key,
            None if deletes else write.document.decode(),
            None if deletes else write.tags,
            None if deletes else as_tsvector(text_of(write.entry)),
            write.embedding,
            seen,
            self._keeps_writes,
        )

    def _receipt(self, write: Write, row: asyncpg.Record) -> ImprintReceipt:
        outcome, op, id, version = row
        if outcome in {"done", "known"}:
            return ImprintReceipt(self._engram_id, op, id, version)
        code, message = _REFUSALS[outcome]
        raise EngramError(
            f"Engram {self._engram_id!r}: {message.format(id=write.id, key=write.merge_key)}", code=code
        )


_REFUSALS: Final = {
    "exists": (
        "ENGRAM_EXISTS",
        "an entry with id {id!r} or merge_key {key!r} exists: use upsert to replace it, or append",
    ),
    "missing": (
        "ENGRAM_NOT_FOUND",
        "no entry with merge_key {key!r} to merge with: use upsert to add it",
    ),
    "conflict": (
        "ENGRAM_CONFLICT",
        "the entry with id {id!r} does not have merge_key {key!r}: leave one of them out",
    ),
}
