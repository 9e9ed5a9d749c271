"""What a check does with an Engram, and what it must get."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from cosmo_core.contracts.engram import MAX_LIMIT, Findings, Found, ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import ULID_PATTERN, new_ulid
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import bounded, need

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Engram

T = TypeVar("T")

CROWD_S: Final = 60.0
"""For how long a thousand calls at once may take."""

SHOWN: Final = 100
"""How much of an entry is shown when a check fails."""

_FRESH_ID: Final = re.compile(f"eng_{ULID_PATTERN}")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Client:
    """Does what a host does with an Engram. Every call is bounded, and what comes back is looked at.

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
        """Write; the id of the write is a new one by default."""
        return await self.imprint(parsed(op, entry, merge_key, imprint_id=imprint_id, trace=trace))

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Write what is parsed already."""
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
        """Write what must fail with this code; return the error."""
        what = f"{op} of {str(entry)[:SHOWN]} under {merge_key!r}"
        return need_error(await refusal(self.write(op, entry, merge_key, **options)), code, what)

    async def find(self, **query: Any) -> Findings:
        """Recall; what the query does not say is as in `Query.parse`."""
        return await self.recall(Query.parse(query))

    async def recall(self, query: Query) -> Findings:
        """Recall what is parsed already."""
        findings = await _answered("recall()", self.engram.recall(query))
        need(isinstance(findings, Findings), f"recall() returned {findings!r}")
        need(len(findings.found) <= query.limit, f"{len(findings.found)} were found; limit is {query.limit}")
        need(isinstance(findings.truncated, bool), f"truncated is {findings.truncated!r}")
        for found in findings.found:
            need(isinstance(found, Found), f"{found!r} was found")
            need(isinstance(found.document, bytes), f"a document is a {type(found.document).__name__}")
            need(math.isfinite(found.score), f"{found.id!r} has the score {found.score}")
        scores = [found.score for found in findings.found]
        need(scores == sorted(scores, reverse=True), f"the best does not come first: scores are {scores}")
        return findings

    async def ids(self, **query: Any) -> list[str]:
        """Recall, and return the ids of what is found."""
        query.setdefault("limit", MAX_LIMIT)
        return [found.id for found in (await self.find(**query)).found]

    async def entries(self, **query: Any) -> list[dict[str, Any]]:
        """Recall, and return the entries that are found."""
        query.setdefault("limit", MAX_LIMIT)
        return [_decode(found.document) for found in (await self.find(**query)).found]

    async def everything(self) -> list[tuple[str, bytes]]:
        """Return the id and the document of all entries, newest first."""
        findings = await self.find(limit=MAX_LIMIT)
        need(not findings.truncated, f"the store holds more than {MAX_LIMIT} entries")
        return [(found.id, found.document) for found in findings.found]

    async def roll_back(self, trace: str) -> int:
        """Undo what a trace wrote."""
        undone = await _answered("roll_back()", self.engram.roll_back(trace))
        need(type(undone) is int, f"roll_back() returned {undone!r}")
        return undone

    async def commit(self, trace: str) -> None:
        """Keep what a trace wrote."""
        await _answered("commit()", self.engram.commit(trace))


async def _answered(what: str, call: Awaitable[T]) -> T:
    try:
        return await bounded(what, call, CROWD_S)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UnmetError(f"{what} ended as cancelled, and nobody had cancelled it") from None


def parsed(
    op: str,
    entry: dict[str, Any] | None = None,
    merge_key: str | None = None,
    *,
    imprint_id: str | None = None,
    trace: str | None = None,
) -> Write:
    """Make a write; its id is a new one by default."""
    imprint_id = imprint_id or f"imp_{new_ulid()}"
    return Write.parse(op, entry or {}, imprint_id=imprint_id, merge_key=merge_key, trace_id=trace)


def is_fresh(id: object) -> bool:
    """Tell whether an id is one that an Engram chose."""
    return isinstance(id, str) and _FRESH_ID.fullmatch(id) is not None


async def refusal(step: Coroutine[Any, Any, object]) -> Exception | None:
    """Await what must fail, and give what it raised; None if it did not."""
    try:
        await bounded("what must be refused", step)
    except UnmetError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a check has an opinion on it
        return error
    return None


def need_error(error: BaseException | None, code: str, what: str) -> EngramError:
    """Return an error that is an `EngramError` of this code.

    Raises:
        UnmetError: It is not.
    """
    if isinstance(error, EngramError) and error.code == code:
        return error
    raise UnmetError(f"{what} ended in {error!r}, not in an EngramError with the code {code}") from error


async def together(steps: Iterable[Awaitable[T]]) -> list[T]:
    """Await many steps at once; what the first failing one raises is raised, once all have ended."""
    outcomes = await outcomes_of(steps)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failed:
        raise failed[0]
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


async def outcomes_of(steps: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Await many steps at once; return what each returned or raised."""
    return await bounded("many at once", asyncio.gather(*steps, return_exceptions=True), CROWD_S)
