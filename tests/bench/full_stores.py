"""Whether an Engram minds how much it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Protocol

import attrs

from cosmo_core.contracts.engram import Engram, Query
from tests.bench.keeping import Flight, on_bus, taking_turns
from tests.bench.kinds import FEW, IN_FLIGHT, Amount, Kind
from tests.bench.measure import by_turns
from tests.bench.notes import ON_A_TOPIC, key_of, scattered, topic_of
from tests.bench.report import Figure, Pair
from tests.bench.stores import Filled, connected


class Finder(Protocol):
    """Something that has notes."""

    async def find(self, query: dict[str, Any]) -> int:
        """Return how many notes fit a query."""
        ...


Opened = Callable[[Engram], AbstractAsyncContextManager[Finder]]


@attrs.frozen
class Search:
    """A way to find a note.

    Attributes:
        name: Of it.
        query: From the number of a note, and how many there are.
        hits: How many notes fit.
        reach: What the project asks of a full store.
    """

    name: str
    query: Callable[[int, int], dict[str, Any]]
    hits: int
    reach: str


def _by_key(number: int, count: int) -> dict[str, Any]:
    return {"merge_key": key_of(number)}


def _by_word(number: int, count: int) -> dict[str, Any]:
    return {"text": topic_of(number, of=count)}


SEARCHES = (
    Search("recall by key", _by_key, 1, "≥ 0.8"),
    Search(f"recall by a word of {ON_A_TOPIC}", _by_word, ON_A_TOPIC, "≥ 0.33"),
)


@attrs.frozen
class Alone:
    """An Engram without a bus."""

    engram: Engram

    async def find(self, query: dict[str, Any]) -> int:
        """Return how many notes fit a query."""
        return len((await self.engram.recall(Query.parse(query))).found)


@asynccontextmanager
async def _alone(engram: Engram) -> AsyncIterator[Alone]:
    async with connected(engram):
        yield Alone(engram)


def figures(kind: Kind, amount: Amount) -> Iterator[Figure]:
    """Yield each search in a full store against one in a small store, over a bus and without it."""
    for search in SEARCHES:
        ways: list[tuple[str, Opened, str]] = [("", on_bus, search.reach), (", without a bus", _alone, "")]
        for way, opened, reach in ways:
            yield Figure(
                name=f"{kind.name}: {search.name}, {amount.many:,} entries{way}",
                unit="/s",
                against=f"{FEW:,} entries",
                measure=partial(_measure, kind, search, opened, amount),
                reach=reach,
            )


def _measure(kind: Kind, search: Search, opened: Opened, amount: Amount) -> Pair:
    flight = Flight(max(1, int(kind.turns["recall by key"] * amount.scale)), IN_FLIGHT)
    return asyncio.run(_compare(kind.filled(), search, opened, amount, flight))


async def _compare(filled: Filled, search: Search, opened: Opened, amount: Amount, flight: Flight) -> Pair:
    await filled.fill("small", FEW)
    await filled.fill("large", amount.many)
    async with (
        opened(filled.stores.engram("large")) as large,
        opened(filled.stores.engram("small")) as small,
    ):
        return await by_turns(
            taking_turns(_finding(large, search, amount.many), flight),
            taking_turns(_finding(small, search, FEW), flight),
            amount.rounds,
        )


def _finding(finder: Finder, search: Search, count: int) -> Callable[[int], Awaitable[None]]:
    async def find(turn: int) -> None:
        assert await finder.find(search.query(scattered(turn, count), count)) == search.hits

    return find
