"""What a store keeps when it is closed and opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_rollback import NEW, OLD, need_picture, need_undone, picture
from cosmo_testing.engrams.checks_writes import need_receipt
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import stored

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


@REQUIREMENTS.proves("engram:reopen-entries")
async def check_reopen_entries(under_test: EngramUnderTest) -> None:
    """Write, replace, merge and delete entries; they are found in every way afterwards, in their order."""
    async with stored(under_test) as store:
        client = await store.open()
        await client.write("add", OLD, "k")
        await client.write("add", {"id": "f", "text": "old", "tags": ["t"]}, "l")
        await client.write("merge", {"n": 1}, "k")
        await client.write("add", {"id": "gone", "text": "old"}, "k2")
        await client.write("delete", {"id": "gone"})
        before = await picture(client)
        for times in (1, 2):
            client = await store.reopen()
            await need_picture(client, before, f"after {times} times opening it again")
        need_receipt(client, await client.write("merge", {}, "k"), "merge", "e", 3)
        await client.write("add", {"id": "g"})
        await need_ids(client, ["g", "e", "f"])


@REQUIREMENTS.proves("engram:reopen-once")
async def check_reopen_once(under_test: EngramUnderTest) -> None:
    """Write; then let that come again after opening."""
    async with stored(under_test) as store:
        client = await store.open()
        receipts = [
            await client.write(op, {"list": [op]}, "k", imprint_id=op)
            for op in ("add", "merge", "append", "delete", "upsert")
        ]
        before = await client.everything()
        client = await store.reopen()
        for receipt in receipts:
            again = await client.write(receipt.op, {}, "k", imprint_id=receipt.op)
            need(again == receipt, f"{receipt} came again after opening as {again}")
        need(await client.everything() == before, "what came again after opening is written again")


@REQUIREMENTS.proves("engram:reopen-rollback")
async def check_reopen_rollback(under_test: EngramUnderTest) -> None:
    """Leave traces open, committed and undone; undo all of them after opening."""
    async with stored(under_test) as store:
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
        await need_picture(client, before, "a trace was undone after opening, and")
        need_receipt(client, await client.write("merge", {}, "k"), "merge", "e", 2)
