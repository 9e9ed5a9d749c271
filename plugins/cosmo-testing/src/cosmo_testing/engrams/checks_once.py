"""A write that comes again is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import parsed, together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened, stored

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest

TIMES: Final = 1000
"""How often one write comes at once."""
WINDOW: Final = 16
"""How many writes an Engram is told to know."""
MOST_WRITES: Final = 500
"""How many writes are made to see whether it does, at most."""


@REQUIREMENTS.proves("engram:once")
async def check_once(under_test: EngramUnderTest) -> None:
    """Let every kind of write come again: as it was, with something else in it, and when all is deleted."""
    async with opened(under_test) as client:
        receipts = []
        for op in ("add", "append", "upsert", "merge", "delete", "delete"):
            first = await client.write(op, {"list": [op]}, "k", imprint_id=f"{op}-1")
            before = await client.everything()
            same = await client.write(op, {"list": [op]}, "k", imprint_id=f"{op}-1")
            other = await client.write("upsert", {"id": "other", "n": 1}, "other", imprint_id=f"{op}-1")
            need(
                first == same == other, f"{op} had the receipt {first}, and again it had {same}, then {other}"
            )
            need(await client.everything() == before, f"{op} came again, and something is written")
            receipts.append(first)
        for receipt in receipts:
            again = await client.write(receipt.op, {}, "k", imprint_id=f"{receipt.op}-1")
            need(again == receipt, f"{receipt} came again as {again} when its entry was deleted")
        need(
            await client.entries() == [{"list": ["add"]}],
            f"after all of it there is {await client.entries()}",
        )


@REQUIREMENTS.proves("engram:once-failed")
async def check_once_failed(under_test: EngramUnderTest) -> None:
    """Let writes fail; then remove the cause, and let them come again."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await client.refused("ENGRAM_EXISTS", "add", {"id": "e"}, imprint_id="add")
        await client.refused("ENGRAM_CONFLICT", "upsert", {"id": "f"}, "k", imprint_id="upsert")
        await client.refused("ENGRAM_NOT_FOUND", "merge", {"n": 1}, "l", imprint_id="merge")
        await client.write("delete", {"id": "e"})
        await client.write("add", {"id": "e"}, imprint_id="add")
        await client.write("upsert", {"id": "f"}, "k", imprint_id="upsert")
        await client.write("add", {"id": "g"}, "l")
        await client.write("merge", {"n": 1}, "l", imprint_id="merge")
        need(await client.ids() == ["g", "f", "e"], "writes that had failed came again, and are not written")


@REQUIREMENTS.proves("engram:once-concurrent")
async def check_once_concurrent(under_test: EngramUnderTest) -> None:
    """Let one write of each kind come a thousand times at once."""
    async with opened(under_test) as client:
        for op in ("upsert", "merge", "append", "delete"):
            write = parsed(op, {"list": [op]}, "k", imprint_id=op)
            receipts = {*await together(client.imprint(write) for _ in range(TIMES))}
            need(len(receipts) == 1, f"{op} came {TIMES} times at once, and has {len(receipts)} receipts")
        entries = await client.entries()
        need(entries == [{"list": ["upsert", "merge"]}], f"four writes, each once, left {entries}")


@REQUIREMENTS.proves("engram:once-window")
async def check_once_window(under_test: EngramUnderTest) -> None:
    """Write three windows full; after each write, let the oldest that must be known come again; undo some."""
    async with stored(under_test) as store:
        client = await store.open(keeps_writes=WINDOW)
        window = client.engram.guarantees.keeps_writes
        receipts: list[Any] = []
        for n in range(min(3 * window, MOST_WRITES)):
            receipts.append(await client.write("upsert", {"n": n}, f"k{n % 3}", imprint_id=f"w{n}"))
            oldest = max(0, n + 1 - window)
            again = await client.write("upsert", {"again": 1}, f"k{oldest % 3}", imprint_id=f"w{oldest}")
            need(
                again == receipts[oldest],
                f"of {n + 1} writes the latest {window} are known, and the {oldest + 1}th was not",
            )
        entries = await client.entries()
        need(all("n" in entry for entry in entries), f"a write that is known came again, and left {entries}")
        if client.engram.guarantees.rollback:
            for n in range(WINDOW):
                await client.write("add", {"tags": ["t"]}, trace="trace" if n < WINDOW // 2 else None)
            undone = await client.roll_back("trace")
            need(undone == WINDOW // 2, f"of {WINDOW // 2} writes that are known {undone} were undone")


@REQUIREMENTS.proves("engram:rollback-once")
async def check_rollback_once(under_test: EngramUnderTest) -> None:
    """Undo writes; then let them come again, alone and on another trace."""
    async with opened(under_test) as client:
        added = await client.write("add", {"id": "e"}, "k", imprint_id="1", trace="one")
        need(await client.roll_back("one") == 1, "one write was to be undone")
        for trace in ("one", "two", None):
            again = await client.write("add", {"id": "e"}, "k", imprint_id="1", trace=trace)
            need(again == added, f"{added} was undone and came again as {again}")
        need(await client.ids() == [], "what was undone came again, and is written")
        await client.write("add", {"id": "f"}, imprint_id="2")
        await client.write("add", {"id": "f"}, imprint_id="2", trace="two")
        need(await client.roll_back("two") == 0, "a write that came again is undone with another trace")
        need(await client.ids() == ["f"], "a write that came again on a trace was undone with it")
