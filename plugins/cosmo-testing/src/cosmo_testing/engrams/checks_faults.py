"""What happens when the store is cut off, or is unusable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import Query
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.client import Client, outcomes_of, parsed, refusal, together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened, stored

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cosmo_core.contracts.engram import ImprintReceipt, Write
    from cosmo_testing.engrams.subject import EngramUnderTest

WRITES: Final = 200
"""How many writes are under way when the connection breaks."""
AGAIN_S: Final = 0.02
"""How long to wait before something is tried again."""


async def _until_written(client: Client, write: Write, within_s: float) -> ImprintReceipt:
    """Write; while that ends in an error that is recoverable, try again.

    Raises:
        UnmetError: It ends in another error, or does not succeed in time.
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


@REQUIREMENTS.proves("engram:break-recovers")
async def check_break_recovers(under_test: EngramUnderTest) -> None:
    """Break the connection several times; each time everything works again."""
    async with opened(under_test) as client:
        for n in range(3):
            await bounded("break_connection()", under_test.break_connection(client.engram))
            write = parsed("add", {"id": f"e{n}"}, trace=f"trace{n}")
            await _until_written(client, write, under_test.recovery_s)
            await need_ids(client, [f"e{each}" for each in range(n, -1, -1)])
        if client.engram.guarantees.rollback:
            undone = await client.roll_back("trace0")
            need(undone == 1, f"after the connection broke {undone} of 1 writes were undone")


@REQUIREMENTS.proves("engram:break-once")
async def check_break_once(under_test: EngramUnderTest) -> None:
    """Break the connection while much is being written; what failed is tried again."""
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
                f"{before} was acknowledged before the connection broke, and came again as {after}",
            )
        ids = sorted(await client.ids())
        need(
            ids == sorted(f"e{n}" for n in range(WRITES)), f"{WRITES} were written, and there are {len(ids)}"
        )


@REQUIREMENTS.proves("engram:damage-said")
async def check_damage_said(under_test: EngramUnderTest) -> None:
    """Make the store unusable under an open Engram, ask it everything, close it, and open another."""
    async with stored(under_test) as store:
        client = await store.open()
        await client.write("add", {"id": "e", "text": "bus"}, "k", trace="trace")
        await bounded("damage()", under_test.damage())
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
