"""An Engram connects and closes as often as it is told, and leaves nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from cosmo_core.contracts.engram import Engram, EngramGuarantees, Query
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import is_token
from cosmo_testing.conformance.leftovers import leftovers
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.engrams.client import (
    need_error,
    outcomes_of,
    parsed,
    refusal,
    together,
)
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import Store, opened, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from cosmo_testing.engrams.subject import EngramUnderTest

T = TypeVar("T")

LINGER_S: Final = 1.0
"""For how long calls to an Engram that was closed, and its own tasks, may take to end."""


@REQUIREMENTS.proves("engram:shape")
async def check_shape(under_test: EngramUnderTest) -> None:
    """Look at what an Engram has, and at what it promises."""
    async with stored(under_test) as store:
        engram = (await store.open()).engram
        need(isinstance(engram, Engram), f"{type(engram).__name__} lacks a method of the contract")
        for name in ("engram_id", "engram_kind"):
            value = getattr(engram, name)
            need(is_token(value), f"{name} is {value!r}, which is no token")
        claimed = engram.guarantees
        need(
            isinstance(claimed, EngramGuarantees),
            f"guarantees is a {type(claimed).__name__}, not EngramGuarantees",
        )
        need(claimed.keeps_writes >= 1, f"keeps_writes is {claimed.keeps_writes}")


@REQUIREMENTS.proves("engram:connect-twice")
async def check_connect_twice(under_test: EngramUnderTest) -> None:
    """Connect what is connected, twice at once, and see that what was written is there."""
    async with opened(under_test) as client:
        (id,) = await client.put({"text": "before"})
        await together(client.engram.connect() for _ in range(2))
        (later,) = await client.put({"text": "after"})
        ids = await client.ids()
        need(ids == [later, id], f"{later!r} and {id!r} were written, and {ids} are there")


@REQUIREMENTS.proves("engram:close-twice")
async def check_close_twice(under_test: EngramUnderTest) -> None:
    """Close once, and then twice at once."""
    async with stored(under_test) as store:
        client = await store.open()
        await client.put({"text": "bus"})
        await store.close(client)
        await together(client.engram.close() for _ in range(2))


@REQUIREMENTS.proves("engram:use-closed")
async def check_use_closed(under_test: EngramUnderTest) -> None:
    """Call every method of a closed Engram."""
    async with stored(under_test) as store:
        client = await store.open()
        await store.close(client)
        for what, error in (await _refusals(client.engram)).items():
            need_error(error, "ENGRAM_UNAVAILABLE", f"{what} on a closed Engram")


async def _refusals(engram: Engram) -> dict[str, Exception | None]:
    return {
        "recall": await refusal(engram.recall(Query())),
        "imprint": await refusal(engram.imprint(parsed("add", {"text": "late"}))),
        "roll_back": await refusal(engram.roll_back("trace")),
        "commit": await refusal(engram.commit("trace")),
    }


@REQUIREMENTS.proves("engram:connect-again")
async def check_connect_again(under_test: EngramUnderTest) -> None:
    """Connect what was closed."""
    async with stored(under_test) as store:
        client = await store.open()
        await client.put({"text": "before"})
        await store.close(client)
        try:
            await bounded("connect() after close()", client.engram.connect())
        except EngramError:
            error = await refusal(client.engram.recall(Query()))
            need_error(error, "ENGRAM_UNAVAILABLE", "recall after a connect() that was refused")
            return
        try:
            (id,) = await client.put({"text": "after"})
            need((await client.ids())[:1] == [id], "what was written after connecting again is not there")
        finally:
            await bounded("close()", client.engram.close())


@REQUIREMENTS.proves("engram:close-finishes")
async def check_close_finishes(under_test: EngramUnderTest) -> None:
    """Close while much is being written and read; then see what is there, where it is kept."""
    async with stored(under_test) as store:
        client = await store.open()
        durable = client.engram.guarantees.durable
        writing = [asyncio.ensure_future(client.write("add", {"id": f"e{n}"})) for n in range(50)]
        reading = [asyncio.ensure_future(client.find()) for _ in range(50)]
        await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
        await store.close(client)
        outcomes = await ended(writing)
        for outcome in (*outcomes, *await ended(reading)):
            if isinstance(outcome, BaseException):
                need_error(outcome, "ENGRAM_UNAVAILABLE", "a call while the Engram closes")
        written = {f"e{n}" for n, each in enumerate(outcomes) if not isinstance(each, BaseException)}
        if durable:
            there = {*await (await store.open()).ids()}
            lost, extra = sorted(written - there), sorted(there - written)
            need(not lost, f"{lost} were acknowledged while it closed, and are gone")
            need(not extra, f"{extra} were refused while it closed, and are there")


async def ended(calls: Sequence[asyncio.Future[T]]) -> list[T | BaseException]:
    """Return what calls to an Engram that is closed by now returned or raised.

    Raises:
        UnmetError: They go on.
    """
    _, going_on = await asyncio.wait(calls, timeout=LINGER_S)
    need(not going_on, f"close() has returned, and {len(going_on)} calls go on")
    return await outcomes_of(calls)


@REQUIREMENTS.proves("engram:close-leaves-nothing")
async def check_close_leaves_nothing(under_test: EngramUnderTest) -> None:
    """Compare what runs and what is open before an Engram connects and after it closed."""
    async with stored(under_test) as store, nothing_left():
        await _used(store)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Raise unless all that runs or is open in the end was so before.

    Raises:
        UnmetError: Something is left.
    """
    before = asyncio.all_tasks()
    with leftovers() as found, _own_threads():
        yield
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=LINGER_S)
        need(not left, f"after close() {len(left)} tasks still run: {sorted(map(repr, left))}")
    need(not found, f"after close() there is left: {', '.join(found)}")


async def _used(store: Store) -> None:
    """Open an Engram, let it work, and close it."""
    client = await store.open()
    await outcomes_of(client.write("add", {"text": "bus"}, trace="trace") for _ in range(20))
    await outcomes_of(client.find() for _ in range(20))
    if client.engram.guarantees.rollback:
        await client.roll_back("trace")
    await store.close(client)


@contextmanager
def _own_threads() -> Iterator[None]:
    """Have the threads end that the event loop lends to everybody: they are not the Engram's."""
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor()
    loop.set_default_executor(threads)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        # Not waited for: one that is busy is what an Engram left behind.
        threads.shutdown(wait=False)
