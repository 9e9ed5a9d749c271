"""What an Engram does when it is asked to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.engram import ImprintReceipt, Write, merged, text_of
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_sqlite import entries, images, ledger
from cosmo_engram_sqlite.entries import Content, Stored
from cosmo_engram_sqlite.vectors import packed

if TYPE_CHECKING:
    from cosmo_engram_sqlite.session import SqliteSession


def imprint(session: SqliteSession, write: Write) -> ImprintReceipt:
    """Write, unless it was done before; return the receipt.

    Raises:
        EngramError: It is refused; nothing was changed.
        sqlite3.Error: The transaction must be rolled back.
    """
    receipt = ledger.known(session, write.imprint_id)
    if receipt is not None:
        return receipt
    try:
        return _OPS[write.op](session, write)
    except RecursionError:
        # What walks through an entry does so before anything is changed.
        raise EngramError("the entry is nested too deeply", code="ENGRAM_INVALID") from None


def _add(session: SqliteSession, write: Write) -> ImprintReceipt:
    if write.merge_key is not None and entries.newest(session.connection, write.merge_key) is not None:
        raise _exists(session, "merge_key", write.merge_key, "upsert or merge")
    return _add_under_new_key(session, write)


def _add_under_new_key(session: SqliteSession, write: Write) -> ImprintReceipt:
    if write.id is not None and entries.by_id(session.connection, write.id) is not None:
        raise _exists(session, "id", write.id, "append for a new one")
    return _create(session, write, write.id)


def _append(session: SqliteSession, write: Write) -> ImprintReceipt:
    is_taken = write.id is not None and entries.by_id(session.connection, write.id) is not None
    return _create(session, write, None if is_taken else write.id)


def _upsert(session: SqliteSession, write: Write) -> ImprintReceipt:
    old = _addressed(session, write)
    if old is None:
        return _add_under_new_key(session, write)
    return _rewrite(session, write, old, packed(write.embedding) if write.embedding else None)


def _merge(session: SqliteSession, write: Write) -> ImprintReceipt:
    old = _addressed(session, write)
    if old is None:
        raise EngramError(
            f"Engram {session.engram_id!r} has no entry with merge_key {write.merge_key!r} to merge with: "
            "use upsert to add it",
            code="ENGRAM_NOT_FOUND",
        )
    whole = write.with_entry(merged(entries.decoded(old.document), write.entry))
    if write.embedding:
        return _rewrite(session, whole, old, packed(write.embedding))
    return _rewrite(session, whole, old, entries.embedding_of(session.connection, old))


def _delete(session: SqliteSession, write: Write) -> ImprintReceipt:
    if write.id is not None:
        old = entries.by_id(session.connection, write.id)
        if old is not None and write.merge_key is not None and old.merge_key != write.merge_key:
            raise _conflict(session, write)
    else:
        old = _addressed(session, write)
    if old is None:
        return ledger.record(session, write, None, None, None)
    before = _before(session, write, old)
    entries.remove(session.connection, old)
    return ledger.record(session, write, old.id, None, before)


_OPS: Final[dict[str, Callable[[SqliteSession, Write], ImprintReceipt]]] = {
    "add": _add,
    "append": _append,
    "upsert": _upsert,
    "merge": _merge,
    "delete": _delete,
}


def _addressed(session: SqliteSession, write: Write) -> Stored | None:
    """Return the newest entry of the write's key, which must be the one of its id."""
    old = None if write.merge_key is None else entries.newest(session.connection, write.merge_key)
    if old is not None and write.id is not None and old.id != write.id:
        raise _conflict(session, write)
    return old


def _create(session: SqliteSession, write: Write, id: str | None) -> ImprintReceipt:
    id = id or f"eng_{new_ulid()}"
    embedding = packed(write.embedding) if write.embedding else None
    new = Content(1, session.seq + 1, write.tags, embedding, write.document, text_of(write.entry))
    entries.insert(session.connection, id, write.merge_key, new)
    return ledger.record(session, write, id, 1, _before(session, write, None))


def _rewrite(session: SqliteSession, write: Write, old: Stored, embedding: bytes | None) -> ImprintReceipt:
    version = old.version + 1
    new = Content(version, session.seq + 1, write.tags, embedding, write.document, text_of(write.entry))
    before = _before(session, write, old)
    entries.replace(session.connection, old, new)
    return ledger.record(session, write, old.id, version, before)


def _before(session: SqliteSession, write: Write, old: Stored | None) -> bytes | None:
    return None if write.trace_id is None else images.image(session.connection, old)


def _exists(session: SqliteSession, what: str, value: str, instead: str) -> EngramError:
    return EngramError(
        f"Engram {session.engram_id!r} has an entry with {what} {value!r} already: use {instead}",
        code="ENGRAM_EXISTS",
    )


def _conflict(session: SqliteSession, write: Write) -> EngramError:
    return EngramError(
        f"Engram {session.engram_id!r}: the entry with id {write.id!r} is not the one with merge_key "
        f"{write.merge_key!r}: leave one of them out",
        code="ENGRAM_CONFLICT",
    )
