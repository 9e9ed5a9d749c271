"""The speed of an Engram in a full store, compared with a small store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Protocol

import attrs

from cosmo_core.contracts.engram import Engram, Query
from tests.bench.engram_kinds import FEW, IN_FLIGHT, Amount, Kind
from tests.bench.measure import alternate
from tests.bench.note_stores import Load, on_bus, repeated_rate
from tests.bench.notes import NOTES_PER_TOPIC, key_of, scatter, topic_of
from tests.bench.report import Figure, Pair
from tests.bench.stores import FilledStores, connected


class Finder(Protocol):
    """A store that can find notes."""

    async def find(self, query: dict[str, Any]) -> int:
        """Return how many notes fit a query."""
        ...


Opener = Callable[[Engram], AbstractAsyncContextManager[Finder]]


@attrs.frozen
class Search:
    """A query to measure.

    Attributes:
        name: The name of the query.
        query: Makes the query from the number of a note and the size of the store.
        hits: The number of notes that match.
        target: The target of the project for a full store.
    """

    name: str
    query: Callable[[int, int], dict[str, Any]]
    hits: int
    target: str


def _by_key(number: int, count: int) -> dict[str, Any]:
    return {"merge_key": key_of(number)}


def _by_word(number: int, count: int) -> dict[str, Any]:
    return {"text": topic_of(number, of=count)}


SEARCHES = (
    Search("recall by key", _by_key, 1, "≥ 0.8"),
    Search(f"recall by a word of {NOTES_PER_TOPIC}", _by_word, NOTES_PER_TOPIC, "≥ 0.33"),
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
        ways: list[tuple[str, Opener, str]] = [("", on_bus, search.target), (", without a bus", _alone, "")]
        for way, opened, target in ways:
            yield Figure(
                name=f"{kind.name}: {search.name}, {amount.many:,} entries{way}",
                unit="/s",
                against=f"{FEW:,} entries",
                measure=partial(_measure, kind, search, opened, amount),
                target=target,
            )


def _measure(kind: Kind, search: Search, opened: Opener, amount: Amount) -> Pair:
    load = Load(max(1, int(kind.turns["recall by key"] * amount.scale)), IN_FLIGHT)
    return asyncio.run(_compare(kind.filled(), search, opened, amount, load))


async def _compare(filled: FilledStores, search: Search, opened: Opener, amount: Amount, load: Load) -> Pair:
    await filled.fill("small", FEW)
    await filled.fill("large", amount.many)
    async with (
        opened(filled.stores.engram("large")) as large,
        opened(filled.stores.engram("small")) as small,
    ):
        return await alternate(
            repeated_rate(_finding(large, search, amount.many), load),
            repeated_rate(_finding(small, search, FEW), load),
            amount.rounds,
        )


def _finding(finder: Finder, search: Search, count: int) -> Callable[[int], Awaitable[None]]:
    async def find(turn: int) -> None:
        assert await finder.find(search.query(scatter(turn, count), count)) == search.hits

    return find
