"""A market to try offers on: who bids, what is sent, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, NoBidError, Pathway, Signal, SignalType, decode
from cosmo_core.dendrite.auction import Select
from cosmo_core.plugin import Dropped, Forward, PluginManager, hookimpl
from cosmo_core.testing.life_cycle import PRESENCE
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]
OFFER: dict[str, Any] = {"capabilities": ["x"], "input": {"n": 1}}


async def done(input: dict[str, Any], context: list[Any]) -> Any:
    return {"done": True}


class Market:
    """What tests of offers have in common.

    Attributes:
        traffic: Everything but announcements, in the order it is sent.
    """

    def __init__(self, start: Start) -> None:
        self.traffic: list[Signal] = []
        self._start = start
        self._more = asyncio.Event()

    # --- what is sent -------------------------------------------------------------------------------

    def take(self, frame: bytes) -> None:
        signal = decode(frame)
        if signal.type not in PRESENCE:
            self.traffic.append(signal)
            self._more.set()

    def to(self, type: SignalType) -> list[str | None]:
        """Return the Neurons that Signals of a type name."""
        named = [signal.directed for signal in self.traffic if signal.type is type]
        return [directed.id if directed else None for directed in named]

    async def until(self, type: SignalType, count: int = 1) -> None:
        """Return when so many of a type were sent."""
        while len(self.to(type)) < count:
            self._more.clear()
            await self._more.wait()

    @property
    def bids(self) -> list[Signal]:
        return [signal for signal in self.traffic if signal.type is SignalType.BID]

    # --- who is there -------------------------------------------------------------------------------

    async def bidding(self, name: str, neuron: Any = done, **terms: Any) -> Dendrite:
        """Start a worker whose Neuron bids on these terms."""
        axon = Axon(neuron_id=name, neuron_fn=neuron, capabilities=["x"])
        worker = await self._start(axon, role="worker", grace_s=0.01)

        @worker.on_task_offer
        async def decide(offer: Signal) -> None:
            await worker.bid(offer, **{"cost": 1, **terms})

        return worker

    async def holding(self, name: str, neuron: Any = done) -> tuple[Dendrite, asyncio.Queue[Signal]]:
        """Start a worker that bids for nothing by itself, and return the offers it gets, too."""
        axon = Axon(neuron_id=name, neuron_fn=neuron, capabilities=["x"])
        worker = await self._start(axon, role="worker")
        offers: asyncio.Queue[Signal] = asyncio.Queue()
        worker.on_task_offer(offers.put_nowait)
        return worker, offers

    # --- what happens -------------------------------------------------------------------------------

    async def offer(
        self, orchestrator: Dendrite, bids: int, select: Select = "lowest_cost", **options: Any
    ) -> Pathway:
        """Offer work, and end bidding as soon as so many have bid."""
        offering = asyncio.create_task(
            orchestrator.dispatch_offer(**OFFER, select=select, deadline_ms=60_000, **options)
        )
        await self.until(SignalType.BID, bids)
        self.end_bidding(orchestrator)
        return await offering

    @staticmethod
    async def offered(orchestrator: Dendrite, deadline_ms: int = 5, **offer: Any) -> None:
        """Have something offered until the deadline, and take no bid."""
        with pytest.raises(NoBidError):
            await orchestrator.dispatch_offer(
                **{**OFFER, **offer}, select=lambda _: None, deadline_ms=deadline_ms
            )

    @staticmethod
    def end_bidding(orchestrator: Dendrite) -> None:
        for lot in list(orchestrator._auctions._open.values()):
            lot.end_bidding()

    @staticmethod
    def nothing_left(orchestrator: Dendrite, *workers: Dendrite) -> None:
        assert orchestrator._auctions._open == {}
        assert orchestrator._followed._open == {}
        assert [len(worker._bidder._bids) for worker in workers] == [0] * len(workers)


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


@pytest.fixture
async def market(start: Start, synapse: MemorySynapse) -> Market:
    market = Market(start)
    await synapse.subscribe("cosmonapse.test.>", market.take)
    return market


@pytest.fixture
def dropping() -> Callable[[str, SignalType], PluginManager]:
    """Return plugins that drop a type of Signal on its way in, or out."""

    def dropping(direction: str, type: SignalType) -> PluginManager:
        class Plugin:
            @hookimpl
            def cosmo_signal_middleware(self, direction: str) -> Any:
                async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
                    return Dropped("no") if signal.type is type else await forward(signal)

                return drop if direction == wanted else None

        wanted = direction
        manager = PluginManager()
        manager.register(Plugin(), name="drop")
        return manager

    return dropping
