"""How the checks use an Engram: a client with time limits, and the store of one check."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec

from cosmo_core.contracts.engram import MAX_LIMIT, Engram, Findings, Found, ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import ULID_PATTERN, new_ulid
from cosmo_testing.conformance.kit import RequirementOn
from cosmo_testing.conformance.steps import UnmetError, bounded, need, refusal
from cosmo_testing.engrams.subject import EngramUnderTest

T = TypeVar("T")

CROWD_S: Final = 60.0
"""Seconds that a thousand concurrent calls may take."""

SHOWN: Final = 100
"""The length of the part of an entry in an error message."""

_FRESH_ID: Final = re.compile(f"eng_{ULID_PATTERN}")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Client:
    """Calls an Engram as a host does, with time limits, and checks the type of each result.

    Attributes:
        engram: The Engram.
    """

    def __init__(self, engram: Engram) -> None:
        self.engram = engram

    async def write(
        self,
        op: str,
        entry: dict[str, Any] | None = None,
        merge_key: str | None = None,
        *,
        imprint_id: str | None = None,
        trace: str | None = None,
    ) -> ImprintReceipt:
        """Write; by default the write gets a new id."""
        return await self.imprint(parsed(op, entry, merge_key, imprint_id=imprint_id, trace=trace))

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Send a parsed write."""
        receipt = await _answered(f"imprint({write.op})", self.engram.imprint(write))
        need(isinstance(receipt, ImprintReceipt), f"imprint() returned {receipt!r}")
        expected = self.engram.engram_id
        need(receipt.engram_id == expected, f"the receipt of {expected!r} names {receipt.engram_id!r}")
        return receipt

    async def put(self, *entries: dict[str, Any]) -> list[str]:
        """Add entries, one after the other; return their ids."""
        return [str((await self.write("append", entry)).id) for entry in entries]

    async def refused(
        self, code: str, op: str, entry: dict[str, Any], merge_key: str | None = None, **options: Any
    ) -> EngramError:
        """Send a write that must fail with this code; return the error."""
        what = f"{op} of {str(entry)[:SHOWN]} under {merge_key!r}"
        return need_error(await refusal(self.write(op, entry, merge_key, **options)), code, what)

    async def find(self, **query: Any) -> Findings:
        """Query; the defaults are those of `Query.parse`."""
        return await self.recall(Query.parse(query))

    async def recall(self, query: Query) -> Findings:
        """Send a parsed query."""
        findings = await _answered("recall()", self.engram.recall(query))
        need(isinstance(findings, Findings), f"recall() returned {findings!r}")
        need(len(findings.found) <= query.limit, f"{len(findings.found)} were found; limit is {query.limit}")
        need(isinstance(findings.truncated, bool), f"truncated is {findings.truncated!r}")
        for found in findings.found:
            need(isinstance(found, Found), f"{found!r} was found")
            need(isinstance(found.document, bytes), f"a document is a {type(found.document).__name__}")
            need(math.isfinite(found.score), f"{found.id!r} has the score {found.score}")
        scores = [found.score for found in findings.found]
        need(scores == sorted(scores, reverse=True), f"the best hit does not come first: scores are {scores}")
        return findings

    async def ids(self, **query: Any) -> list[str]:
        """Query; return the ids of the hits."""
        query.setdefault("limit", MAX_LIMIT)
        return [found.id for found in (await self.find(**query)).found]

    async def entries(self, **query: Any) -> list[dict[str, Any]]:
        """Query; return the entries of the hits."""
        query.setdefault("limit", MAX_LIMIT)
        return [_decode(found.document) for found in (await self.find(**query)).found]

    async def everything(self) -> list[tuple[str, bytes]]:
        """Return the id and the document of all entries, newest first."""
        findings = await self.find(limit=MAX_LIMIT)
        need(not findings.truncated, f"the store holds more than {MAX_LIMIT} entries")
        return [(found.id, found.document) for found in findings.found]

    async def roll_back(self, trace: str) -> int:
        """Undo the writes of a trace."""
        undone = await _answered("roll_back()", self.engram.roll_back(trace))
        need(type(undone) is int, f"roll_back() returned {undone!r}")
        return undone

    async def commit(self, trace: str) -> None:
        """Commit the writes of a trace."""
        await _answered("commit()", self.engram.commit(trace))


async def _answered(what: str, call: Awaitable[T]) -> T:
    try:
        return await bounded(what, call, CROWD_S)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UnmetError(f"{what} ended as cancelled without a cancellation") from None


def parsed(
    op: str,
    entry: dict[str, Any] | None = None,
    merge_key: str | None = None,
    *,
    imprint_id: str | None = None,
    trace: str | None = None,
) -> Write:
    """Make a write; by default it gets a new id."""
    imprint_id = imprint_id or f"imp_{new_ulid()}"
    return Write.parse(op, entry or {}, imprint_id=imprint_id, merge_key=merge_key, trace_id=trace)


def is_fresh(id: object) -> bool:
    """Tell whether an id has the form of a new id from an Engram."""
    return isinstance(id, str) and _FRESH_ID.fullmatch(id) is not None


def need_error(error: BaseException | None, code: str, what: str) -> EngramError:
    """Check that an exception is an `EngramError` with this code; return it.

    Raises:
        UnmetError: It is not.
    """
    if isinstance(error, EngramError) and error.code == code:
        return error
    raise UnmetError(f"{what} ended in {error!r}, not in an EngramError with the code {code}") from error


async def together(steps: Iterable[Awaitable[T]]) -> list[T]:
    """Await many steps concurrently; when all have ended, raise the first exception."""
    outcomes = await outcomes_of(steps)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failed:
        raise failed[0]
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


async def outcomes_of(steps: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Await many steps concurrently; return the result or the exception of each."""
    return await bounded("many concurrent calls", asyncio.gather(*steps, return_exceptions=True), CROWD_S)


class Store:
    """The store of one check, and the Engrams that are open on it.

    Attributes:
        under_test: The subject.
    """

    def __init__(self, under_test: EngramUnderTest) -> None:
        self.under_test = under_test
        self._open: list[Client] = []

    async def open(self, *, keeps_writes: int | None = None) -> Client:
        """Open the store with another Engram."""
        opening = self.under_test.open(keeps_writes=keeps_writes)
        client = Client(await bounded("open()", opening, CROWD_S))
        self._open.append(client)
        return client

    async def close(self, client: Client) -> None:
        """Close an Engram."""
        self._open.remove(client)
        await bounded("close()", client.engram.close())

    async def reopen(self) -> Client:
        """Close every Engram, and open the store again."""
        await self.close_all()
        return await self.open()

    async def close_all(self) -> None:
        """Close every Engram that is open."""
        for client in list(self._open):
            await self.close(client)


@asynccontextmanager
async def stored(under_test: EngramUnderTest) -> AsyncIterator[Store]:
    """Provide a store; at the end, close all of its Engrams."""
    async with under_test.store():
        store = Store(under_test)
        try:
            yield store
        finally:
            await store.close_all()


@asynccontextmanager
async def opened(under_test: EngramUnderTest) -> AsyncIterator[Client]:
    """Provide a store with one open Engram."""
    async with stored(under_test) as store:
        yield await store.open()


for_client: Final = RequirementOn(opened)
"""Makes a coroutine function, which takes the `Client` of an empty store, the check of a requirement."""

for_store: Final = RequirementOn(stored)
"""Makes a coroutine function, which takes an empty `Store`, the check of a requirement."""
