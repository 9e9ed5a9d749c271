"""Stores of notes: an Engram on a bus, or the driver of a database; and their operations per second."""

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
from tests.bench.measure import Measurement, alternate, per_second
from tests.bench.notes import id_of, key_of, note, scatter
from tests.bench.report import Pair

STORE_SIZE: Final = 1_000
"""The number of notes in a store that is written to."""

# The number is not a divisor of `STORE_SIZE`, so a key gets a different note each time.
NOTES: Final = [note(number, of=STORE_SIZE) for number in range(997)]


class NoteStore(Protocol):
    """A store of `STORE_SIZE` notes with operations on one note per turn."""

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key."""
        ...

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        ...

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        ...


Opener = Callable[[], AbstractAsyncContextManager[NoteStore]]
Operation = Callable[[NoteStore], Callable[[int], Awaitable[None]]]

OPERATIONS: Final[dict[str, Operation]] = {
    "imprint": lambda keeper: keeper.imprint,
    "recall by key": lambda keeper: keeper.recall_by_key,
    "recall by id": lambda keeper: keeper.recall_by_id,
}


@attrs.frozen
class EngramOnBus:
    """An Engram, used by a Dendrite that does not host it."""

    caller: Dendrite
    engram_id: str

    async def find(self, query: dict[str, Any]) -> int:
        """Return the number of notes that match a query."""
        return len((await self.caller.recall(self.engram_id, query)).hits)

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key."""
        key = key_of(scatter(turn, STORE_SIZE))
        entry = NOTES[turn % len(NOTES)]
        receipt = await self.caller.imprint(self.engram_id, op="upsert", entry=entry, merge_key=key)
        assert receipt.version is not None
        assert receipt.version > 1

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        assert await self.find({"merge_key": key_of(scatter(turn, STORE_SIZE))}) == 1

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        assert await self.find({"id": id_of(scatter(turn, STORE_SIZE))}) == 1


@asynccontextmanager
async def on_bus(engram: Engram) -> AsyncIterator[EngramOnBus]:
    """Start a bus with a host of ``engram`` and a caller that has discovered it."""
    synapse = MemorySynapse()
    await synapse.connect()
    host = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker")
    await host.attach_engram(engram)
    async with host, Dendrite(synapse=synapse, namespace=NAMESPACE) as caller:
        yield EngramOnBus(caller, engram.engram_id)
    await synapse.close()


@attrs.frozen
class Load:
    """The number of repetitions, and how many of them run at once."""

    turns: int
    at_once: int


async def compare(ours: Opener, bare: Opener, act: Operation, load: Load, rounds: int) -> Pair:
    """Measure the rate of an operation on both."""
    async with ours() as value, bare() as baseline:
        return await alternate(repeated_rate(act(value), load), repeated_rate(act(baseline), load), rounds)


def repeated_rate(do: Callable[[int], Awaitable[None]], load: Load) -> Measurement:
    """Return a measurement that does the next repetitions at each call and returns their rate per second."""
    numbers = count()
    each = max(1, load.turns // load.at_once)

    async def some() -> None:
        for _ in range(each):
            await do(next(numbers))

    def measured() -> Awaitable[float]:
        together = asyncio.gather(*(some() for _ in range(load.at_once)))
        return per_second(together, each * load.at_once)

    return measured
