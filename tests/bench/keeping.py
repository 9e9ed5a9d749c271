"""What keeps notes: an Engram on a bus, or the driver of a database; and how fast they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Final, Protocol

import attrs

from cosmo_core import Dendrite
from cosmo_core.contracts.engram import Engram
from cosmo_synapse_memory import MemorySynapse
from tests.bench.bus import NAMESPACE
from tests.bench.measure import Measured, by_turns, per_second
from tests.bench.notes import id_of, key_of, note, scattered
from tests.bench.report import Pair

KEPT: Final = 1_000
"""How many notes there are in a store that is written to."""

# No divisor of `KEPT`: a key gets another note each time.
NOTES: Final = [note(number, of=KEPT) for number in range(997)]


class Keeper(Protocol):
    """Something that has `KEPT` notes, and does one thing to one of them per turn."""

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key."""
        ...

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        ...

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        ...


Opened = Callable[[], AbstractAsyncContextManager[Keeper]]
Act = Callable[[Keeper], Callable[[int], Awaitable[None]]]

ACTS: Final[dict[str, Act]] = {
    "imprint": lambda keeper: keeper.imprint,
    "recall by key": lambda keeper: keeper.recall_by_key,
    "recall by id": lambda keeper: keeper.recall_by_id,
}


@attrs.frozen
class OnBus:
    """An Engram, as a Dendrite sees it that is not the one which hosts it."""

    asker: Dendrite
    engram_id: str

    async def find(self, query: dict[str, Any]) -> int:
        """Return how many notes fit a query."""
        return len((await self.asker.recall(self.engram_id, query)).hits)

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key."""
        key = key_of(scattered(turn, KEPT))
        entry = NOTES[turn % len(NOTES)]
        receipt = await self.asker.imprint(self.engram_id, op="upsert", entry=entry, merge_key=key)
        assert receipt.version is not None
        assert receipt.version > 1

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        assert await self.find({"merge_key": key_of(scattered(turn, KEPT))}) == 1

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        assert await self.find({"id": id_of(scattered(turn, KEPT))}) == 1


@asynccontextmanager
async def on_bus(engram: Engram) -> AsyncIterator[OnBus]:
    """Open a bus with a host of ``engram``, and an asker that knows it."""
    synapse = MemorySynapse()
    await synapse.connect()
    host = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker")
    await host.attach_engram(engram)
    async with host, Dendrite(synapse=synapse, namespace=NAMESPACE) as asker:
        yield OnBus(asker, engram.engram_id)
    await synapse.close()


@attrs.frozen
class Flight:
    """How many turns are taken, and how many of them at once."""

    turns: int
    at_once: int


async def compare(ours: Opened, bare: Opened, act: Act, flight: Flight, rounds: int) -> Pair:
    """Measure how often both can do something."""
    async with ours() as value, bare() as baseline:
        return await by_turns(taking_turns(act(value), flight), taking_turns(act(baseline), flight), rounds)


def taking_turns(do: Callable[[int], Awaitable[None]], flight: Flight) -> Measured:
    """Return what takes the next turns, each time it is called, and tells how many per second it took."""
    numbers = count()
    each = max(1, flight.turns // flight.at_once)

    async def some() -> None:
        for _ in range(each):
            await do(next(numbers))

    def measured() -> Awaitable[float]:
        together = asyncio.gather(*(some() for _ in range(flight.at_once)))
        return per_second(together, each * flight.at_once)

    return measured
