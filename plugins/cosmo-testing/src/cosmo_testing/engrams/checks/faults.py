"""Requirements on reopened, disconnected and damaged stores."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from cosmo_core.contracts.engram import ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import UnmetError, bounded, need, refusal
from cosmo_testing.engrams.checks.queries import need_ids
from cosmo_testing.engrams.checks.rollback import NEW, OLD, need_picture, need_undone, picture
from cosmo_testing.engrams.checks.writes import need_receipt
from cosmo_testing.engrams.client import (
    Client,
    Store,
    for_store,
    opened,
    outcomes_of,
    parsed,
    together,
)
from cosmo_testing.engrams.subject import BREAK_CONNECTION, DAMAGE, DURABLE, ROLLBACK, EngramUnderTest


@for_store(
    "engram:reopen-entries",
    "A reopened durable store MUST have every entry as it was, in its order.",
    when=[DURABLE],
)
async def check_reopen_entries(store: Store) -> None:
    """Write, replace, merge and delete entries; compare every query before and after reopening."""
    client = await store.open()
    await client.write("add", OLD, "k")
    await client.write("add", {"id": "f", "text": "old", "tags": ["t"]}, "l")
    await client.write("merge", {"n": 1}, "k")
    await client.write("add", {"id": "gone", "text": "old"}, "k2")
    await client.write("delete", {"id": "gone"})
    before = await picture(client)
    for times in (1, 2):
        client = await store.reopen()
        await need_picture(client, before, f"after reopening {times} times")
    need_receipt(client, await client.write("merge", {}, "k"), "merge", "e", 3)
    await client.write("add", {"id": "g"})
    await need_ids(client, ["g", "e", "f"])


@for_store("engram:reopen-once", "A reopened durable store MUST remember its writes.", when=[DURABLE])
async def check_reopen_once(store: Store) -> None:
    """Write; repeat the writes after reopening."""
    client = await store.open()
    receipts = [
        await client.write(op, {"list": [op]}, "k", imprint_id=op)
        for op in ("add", "merge", "append", "delete", "upsert")
    ]
    before = await client.everything()
    client = await store.reopen()
    for receipt in receipts:
        again = await client.write(receipt.op, {}, "k", imprint_id=receipt.op)
        need(again == receipt, f"{receipt} was repeated after reopening as {again}")
    need(await client.everything() == before, "a write repeated after reopening was written again")


@for_store(
    "engram:reopen-rollback",
    "An uncommitted write MUST be undoable after the store is reopened.",
    when=[DURABLE, ROLLBACK],
)
async def check_reopen_rollback(store: Store) -> None:
    """Leave traces open, committed and undone; undo all of them after reopening."""
    client = await store.open()
    await client.write("add", OLD, "k")
    before = await picture(client)
    await client.write("upsert", NEW, "k", trace="open")
    await client.write("delete", {"id": "e"}, trace="open")
    await client.write("add", {"id": "f"}, "f", trace="kept")
    await client.write("add", {"id": "g"}, "g", trace="undone")
    await client.commit("kept")
    await need_undone(client, "undone", 1)
    client = await store.reopen()
    await need_undone(client, "undone", 0)
    await need_undone(client, "kept", 0)
    await client.write("delete", {"id": "f"})
    await need_undone(client, "open", 2)
    await need_picture(client, before, "a trace was undone after reopening, and")
    need_receipt(client, await client.write("merge", {}, "k"), "merge", "e", 2)


WRITES: Final = 200
"""The number of writes in progress when the connection breaks."""
AGAIN_S: Final = 0.02
"""Seconds between two attempts."""


async def _until_written(client: Client, write: Write, within_s: float) -> ImprintReceipt:
    """Write; repeat while the error is recoverable.

    Raises:
        UnmetError: It raised another error, or did not succeed in time.
    """

    async def try_on() -> ImprintReceipt:
        while True:
            error = await refusal(client.imprint(write))
            if error is None:
                return await client.imprint(write)
            _need_recoverable(error)
            await asyncio.sleep(AGAIN_S)

    return await bounded("recovering", try_on(), within_s)


def _need_recoverable(error: BaseException) -> None:
    if not isinstance(error, EngramError) or not error.recoverable:
        raise UnmetError(
            f"a broken connection ended in {error!r}, not in a recoverable EngramError"
        ) from error


@requirement(
    "engram:break-recovers",
    "An Engram MUST recover from a broken connection; its errors until then MUST be recoverable.",
    when=[BREAK_CONNECTION],
)
async def check_break_recovers(under_test: EngramUnderTest) -> None:
    """Break the connection several times; check that every call recovers."""
    async with opened(under_test) as client:
        for n in range(3):
            await bounded("break_connection()", under_test.break_connection(client.engram))
            write = parsed("add", {"id": f"e{n}"}, trace=f"trace{n}")
            await _until_written(client, write, under_test.recovery_s)
            await need_ids(client, [f"e{each}" for each in range(n, -1, -1)])
        if client.engram.guarantees.rollback:
            undone = await client.roll_back("trace0")
            need(undone == 1, f"after the connection broke {undone} of 1 writes were undone")


@requirement(
    "engram:break-once",
    "A write during a broken connection MUST be written, or fail and be repeatable.",
    when=[BREAK_CONNECTION],
)
async def check_break_once(under_test: EngramUnderTest) -> None:
    """Break the connection during many writes; repeat the failed ones."""
    async with opened(under_test) as client:
        writes = [parsed("append", {"id": f"e{n}"}, f"k{n}") for n in range(WRITES)]
        writing = [asyncio.ensure_future(client.imprint(write)) for write in writes]
        await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
        await bounded("break_connection()", under_test.break_connection(client.engram))
        outcomes = await outcomes_of(writing)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                _need_recoverable(outcome)
        again = await together(_until_written(client, write, under_test.recovery_s) for write in writes)
        for before, after in zip(outcomes, again, strict=True):
            need(
                isinstance(before, BaseException) or before == after,
                f"{before} was acknowledged before the connection broke, and was repeated as {after}",
            )
        ids = sorted(await client.ids())
        need(
            ids == sorted(f"e{n}" for n in range(WRITES)), f"{WRITES} were written, and there are {len(ids)}"
        )


@for_store(
    "engram:damage-said",
    "An unusable store MUST raise an EngramError and no other exception; `close` MUST work.",
    when=[DAMAGE],
)
async def check_damage_said(store: Store) -> None:
    """Damage the store of an open Engram, call every method, close it, and open another one."""
    client = await store.open()
    await client.write("add", {"id": "e", "text": "bus"}, "k", trace="trace")
    await bounded("damage()", store.under_test.damage())
    await _need_said("imprint", client.engram.imprint(parsed("upsert", {}, "k")))
    await _need_said("recall", client.engram.recall(Query.parse({"merge_key": "k"})))
    if client.engram.guarantees.rollback:
        await _need_said("roll_back", client.engram.roll_back("trace"))
        await _need_said("commit", client.engram.commit("trace"))
    await store.close(client)


async def _need_said(what: str, call: Coroutine[Any, Any, object]) -> None:
    error = await refusal(call)
    if not isinstance(error, EngramError):
        raise UnmetError(f"{what} on an unusable store ended in {error!r}, not in an EngramError") from error
