"""Requirements on connecting, closing, errors and keeping secrets."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.engram import Engram, EngramGuarantees, Query
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import is_token
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.leftovers import leftovers
from cosmo_testing.conformance.steps import UnmetError, bounded, need, refusal
from cosmo_testing.engrams.client import (
    Client,
    Store,
    for_client,
    for_store,
    need_error,
    outcomes_of,
    parsed,
    stored,
    together,
)
from cosmo_testing.engrams.subject import SECRETS, EngramUnderTest

T = TypeVar("T")

LINGER_S: Final = 5.0
"""Seconds that calls to a closed Engram, and its tasks, may take to end."""


@for_store(
    "engram:shape",
    "An Engram MUST implement `Engram`; its id and kind MUST be tokens, its guarantees `EngramGuarantees`.",
)
async def check_shape(store: Store) -> None:
    """Check the methods and the guarantees of an Engram."""
    engram = (await store.open()).engram
    need(satisfies(engram, Engram), f"{type(engram).__name__} lacks a method of the contract")
    for name in ("engram_id", "engram_kind"):
        value = getattr(engram, name)
        need(is_token(value), f"{name} is {value!r}, which is not a token")
    claimed = engram.guarantees
    need(
        isinstance(claimed, EngramGuarantees),
        f"guarantees is a {type(claimed).__name__}, not EngramGuarantees",
    )
    need(claimed.keeps_writes >= 1, f"keeps_writes is {claimed.keeps_writes}")


@for_client("engram:connect-twice", "A second `connect` MUST NOT be an error, and MUST NOT lose an entry.")
async def check_connect_twice(client: Client) -> None:
    """Connect twice concurrently when connected; check that earlier entries exist."""
    (id,) = await client.put({"text": "before"})
    await together(client.engram.connect() for _ in range(2))
    (later,) = await client.put({"text": "after"})
    ids = await client.ids()
    need(ids == [later, id], f"{later!r} and {id!r} were written, and the store has {ids}")


@for_store("engram:close-twice", "A second `close` MUST NOT be an error.")
async def check_close_twice(store: Store) -> None:
    """Close once, and then twice concurrently."""
    client = await store.open()
    await client.put({"text": "bus"})
    await store.close(client)
    await together(client.engram.close() for _ in range(2))


@for_store("engram:use-closed", "Every call on a closed Engram MUST fail with ENGRAM_UNAVAILABLE.")
async def check_use_closed(store: Store) -> None:
    """Call every method of a closed Engram."""
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


@for_store("engram:connect-again", "A closed Engram MUST refuse to connect, or work again.")
async def check_connect_again(store: Store) -> None:
    """Connect a closed Engram."""
    client = await store.open()
    await client.put({"text": "before"})
    await store.close(client)
    try:
        await bounded("connect() after close()", client.engram.connect())
    except EngramError:
        error = await refusal(client.engram.recall(Query()))
        need_error(error, "ENGRAM_UNAVAILABLE", "recall after a refused connect()")
        return
    try:
        (id,) = await client.put({"text": "after"})
        need((await client.ids())[:1] == [id], "a write after the second connect() is missing")
    finally:
        await bounded("close()", client.engram.close())


@for_store(
    "engram:close-finishes",
    "A write in progress during `close` MUST be finished, or be refused and not written.",
)
async def check_close_finishes(store: Store) -> None:
    """Close during many writes and reads; then compare a durable store with the receipts."""
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
        need(not lost, f"{lost} were acknowledged during close(), and are missing")
        need(not extra, f"{extra} were refused during close(), and were written")


async def ended(calls: Sequence[asyncio.Future[T]]) -> list[T | BaseException]:
    """Return the results or exceptions of calls to an Engram that is now closed.

    Raises:
        UnmetError: They did not end.
    """
    _, going_on = await asyncio.wait(calls, timeout=LINGER_S)
    need(not going_on, f"close() has returned, and {len(going_on)} calls still run")
    return await outcomes_of(calls)


@requirement(
    "engram:close-leaves-nothing",
    "A closed Engram MUST NOT leave a task, a thread, a socket or a process behind.",
)
async def check_close_leaves_nothing(under_test: EngramUnderTest) -> None:
    """Compare tasks, threads, sockets and processes before an Engram connects and after it closed."""
    async with stored(under_test) as store, nothing_left():
        await _used(store)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that no task, thread, socket or process is left at the end of the context.

    Raises:
        UnmetError: Some are left.
    """
    before = asyncio.all_tasks()
    with leftovers() as found, _own_threads():
        yield
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=LINGER_S)
        need(not left, f"after close() {len(left)} tasks still run: {sorted(map(repr, left))}")
    need(not found, f"after close() these are left: {', '.join(found)}")


async def _used(store: Store) -> None:
    """Open an Engram, use it, and close it."""
    client = await store.open()
    await outcomes_of(client.write("add", {"text": "bus"}, trace="trace") for _ in range(20))
    await outcomes_of(client.find() for _ in range(20))
    if client.engram.guarantees.rollback:
        await client.roll_back("trace")
    await store.close(client)


@contextmanager
def _own_threads() -> Iterator[None]:
    """End the threads of the event loop's default executor, which are not the Engram's."""
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor()
    loop.set_default_executor(threads)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        # Without waiting: a busy thread is a leak of the Engram.
        threads.shutdown(wait=False)


CONTENT: Final = "the-content-of-an-entry-is-confidential"

_REFUSED: Final[tuple[tuple[str, dict[str, Any], str | None], ...]] = (
    ("add", {"id": "e"}, None),
    ("add", {}, "k"),
    ("upsert", {"id": "e"}, "new"),
    ("upsert", {"id": "f"}, "k"),
    ("merge", {}, "new"),
    ("delete", {"id": "f"}, "k"),
)


async def _errors(store: Store, client: Client) -> list[Exception]:
    """Return the exceptions of refused calls, and of calls on a closed Engram."""
    for id, key in (("e", "k"), ("f", "l")):
        await client.write("add", {"id": id, "text": CONTENT}, key)
    errors = [await refusal(client.write(op, {**entry, "text": CONTENT}, key)) for op, entry, key in _REFUSED]
    await store.close(client)
    errors.append(await refusal(client.write("add", {"text": CONTENT})))
    errors.append(await refusal(client.recall(Query())))
    return [error for error in errors if error is not None]


@for_store(
    "engram:errors",
    "A refusal MUST be an EngramError that names the Engram, and MUST NOT contain the content of an entry.",
)
async def check_errors(store: Store) -> None:
    """Check every error: its type, ``recoverable``, and its text."""
    client = await store.open()
    engram_id = client.engram.engram_id
    errors = await _errors(store, client)
    need(len(errors) == len(_REFUSED) + 2, f"{len(_REFUSED) + 2} calls must fail; the errors are {errors}")
    for number, error in enumerate(errors):
        need(isinstance(error, EngramError), f"{error!r} is not an EngramError")
        need(engram_id in str(error), f"the Engram {engram_id!r} is not named in: {error}")
        need(CONTENT not in repr(error), "an error contains the content of an entry")
        # Existing entries do not change by themselves; a closed Engram may be opened again.
        recoverable = isinstance(error, EngramError) and error.recoverable
        need(recoverable == (number >= len(_REFUSED)), f"{error!r} has recoverable={recoverable}")


@for_store(
    "engram:secrets",
    "A secret MUST NOT appear in the repr of an Engram or in an error.",
    when=[SECRETS],
)
async def check_secrets(store: Store) -> None:
    """Search the repr of an Engram, open and closed, and every error that it raises."""
    client = await store.open()
    texts = [repr(client.engram), str(client.engram)]
    texts += ["".join(traceback.format_exception(error)) for error in await _errors(store, client)]
    texts.append(repr(client.engram))
    for number, secret in enumerate(store.under_test.secrets):
        if any(secret in text for text in texts):
            # The error must not contain the secret itself.
            raise UnmetError(f"secrets[{number}] is in its repr or in an error")
