"""Whoever cancels leaves a store that is whole, and disturbs nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import Query
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_life import ended, nothing_left
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_rollback import need_undone
from cosmo_testing.engrams.client import Client, parsed, together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened, stored

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_testing.engrams.subject import EngramUnderTest

TURNS: Final = (0, 1, 2, 3, 5, 8, 13, 34, 89, 233)
"""After how many turns of the event loop a call is cancelled."""
STUCK_S: Final = 2.0
"""For how long a call may go on that was cancelled."""


async def _cancelled_after(turns: int, call: Awaitable[object], what: str) -> None:
    """Cancel a call after some turns, if it has not ended by then."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    in_time = task.cancel()
    done, _ = await asyncio.wait([task], timeout=STUCK_S)
    need(bool(done), f"{what} that was cancelled goes on")
    if in_time:
        swallowed = f"{what} was cancelled, and did not end as cancelled: CancelledError was swallowed"
        need(task.cancelled(), swallowed)
    else:
        task.result()


@REQUIREMENTS.proves("engram:cancel-imprint")
async def check_cancel_imprint(under_test: EngramUnderTest) -> None:
    """Cancel writes, early and late; let them come again, and undo them."""
    async with opened(under_test) as client:
        for n, turns in enumerate(TURNS):
            entry = {"id": f"e{n}", "tags": ["t"], "text": f"word{n}"}
            write = parsed("add", entry, f"k{n}", trace="trace")
            await _cancelled_after(turns, client.engram.imprint(write), "an imprint")
            receipt = await client.imprint(write)
            need(receipt.version == 1, f"after an imprint was cancelled it came again as {receipt}")
            queries: list[dict[str, Any]] = [{"id": f"e{n}"}, {"merge_key": f"k{n}"}]
            if client.engram.guarantees.text:
                queries.append({"text": f"word{n}"})
            for query in queries:
                await need_ids(client, [f"e{n}"], **query)
        need(
            len(await client.ids(tags=["t"])) == len(TURNS),
            "what was cancelled and came again is there twice",
        )
        if client.engram.guarantees.rollback:
            await need_undone(client, "trace", len(TURNS))


@REQUIREMENTS.proves("engram:cancel-others")
async def check_cancel_others(under_test: EngramUnderTest) -> None:
    """Cancel every second of a hundred calls at once; the others end as ever."""
    async with opened(under_test) as client:
        for turns in TURNS[1:5]:
            calls: list[Any] = []
            for n in range(25):
                imprint = client.engram.imprint(parsed("append", {"tags": ["cancelled"]}))
                calls.append(_cancelled_after(turns, imprint, "an imprint"))
                calls.append(client.write("upsert", {"id": f"kept{n}"}, f"kept{n}"))
                calls.append(_cancelled_after(turns, client.engram.recall(Query()), "a recall"))
                calls.append(client.ids(limit=1))
            await together(calls)
        versions = await together(client.write("merge", {}, f"kept{n}") for n in range(25))
        need(
            {each.version for each in versions} == {5},
            f"each was written 5 times, beside others that were cancelled; versions are {versions}",
        )


@REQUIREMENTS.proves("engram:cancel-close")
async def check_cancel_close(under_test: EngramUnderTest) -> None:
    """Cancel the closing of an Engram that is at work, early and late; then close it."""
    for turns in TURNS[:6]:
        async with stored(under_test) as store, nothing_left():
            client = await store.open()
            writing = [asyncio.ensure_future(client.write("append", {})) for _ in range(10)]
            await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled_after(turns, client.engram.close(), "a close")
            await store.close(client)
            await ended(writing)


@REQUIREMENTS.proves("engram:rollback-cancelled")
async def check_rollback_cancelled(under_test: EngramUnderTest) -> None:
    """Cancel the undoing of a trace, and its commit, early and late; then undo it."""
    async with opened(under_test) as client:
        for n, turns in enumerate(TURNS):
            undoing, committing = f"undone{n}", f"kept{n}"
            await _write_five(client, undoing)
            await _cancelled_after(turns, client.engram.roll_back(undoing), "a roll_back")
            left = len(await client.ids(tags=[undoing]))
            need(left in {0, 5}, f"a roll_back was cancelled, and of 5 entries {left} are left")
            again = await client.roll_back(undoing)
            need(again in {0, 5}, f"after one that was cancelled, a roll_back undid {again} of 5 writes")
            await need_ids(client, [], tags=[undoing])
            await _write_five(client, committing)
            await _cancelled_after(turns, client.engram.commit(committing), "a commit")
            undone = await client.roll_back(committing)
            left = len(await client.ids(tags=[committing]))
            need(
                undone + left == 5 and left in {0, 5}, f"a commit was cancelled, and kept {left} of 5 writes"
            )


async def _write_five(client: Client, trace: str) -> None:
    await together(client.write("add", {"tags": [trace]}, trace=trace) for _ in range(5))
