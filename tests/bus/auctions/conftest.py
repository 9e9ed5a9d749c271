"""Fixtures for tests of auctions: bidding workers, recorded Signals, and checks of the open state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

from cosmo_core import Axon, Dendrite, NeuronError, NeuronFn, NoBidError, Pathway, Signal, SignalType, decode
from cosmo_core.contracts.options import Select
from cosmo_core.plugins import Dropped, Forward, PluginManager, SignalMiddleware, hookimpl
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing.life_cycle import PRESENCE
from tests.bus.common import Start

MakeAxon = Callable[..., Axon]
WithMiddleware = Callable[[str, SignalMiddleware], PluginManager]
DropSignals = Callable[[str, SignalType], PluginManager]


# --- Neurons ----------------------------------------------------------------------------------------


async def done(input: dict[str, Any], context: list[Any]) -> Any:
    return {"done": True}


def new_axon(
    name: str, neuron: NeuronFn = done, capabilities: tuple[str, ...] = ("x",), **options: Any
) -> Axon:
    return Axon(neuron_id=name, neuron_fn=neuron, capabilities=capabilities, **options)


@pytest.fixture
def make_axon() -> MakeAxon:
    """Make an Axon with the offered capability; by default its Neuron answers at once."""
    return new_axon


@pytest.fixture
def failing() -> NeuronFn:
    async def failing(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("cannot", code="BROKEN")

    return failing


class BlockedNeuron:
    """A Neuron that answers once `release` is set.

    Attributes:
        calls: The number of its calls.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.running, self.release, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.calls += 1
        self.running.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return await done(input, context)


@pytest.fixture
def blocked() -> BlockedNeuron:
    return BlockedNeuron()


# --- the driver --------------------------------------------------------------------------------------


class AuctionDriver:
    """Starts bidders, makes offers and records the Signals on the bus.

    Attributes:
        traffic: All Signals except those of discovery, in the order they were sent.
        work: The arguments of an offer.
    """

    work: ClassVar[dict[str, Any]] = {"capabilities": ["x"], "input": {"n": 1}}

    def __init__(self, start: Start) -> None:
        self.traffic: list[Signal] = []
        self._start = start
        self._more = asyncio.Event()

    # --- recorded Signals ---------------------------------------------------------------------------

    def record(self, frame: bytes) -> None:
        signal = decode(frame)
        if signal.type not in PRESENCE:
            self.traffic.append(signal)
            self._more.set()

    def addressees(self, type: SignalType) -> list[str | None]:
        """Return the ids of the addressed Neurons, one for each Signal of a type."""
        named = [signal.directed for signal in self.traffic if signal.type is type]
        return [directed.id if directed else None for directed in named]

    async def wait_until_sent(self, type: SignalType, count: int = 1) -> None:
        """Wait until ``count`` Signals of a type were sent."""
        while len(self.addressees(type)) < count:
            self._more.clear()
            await self._more.wait()

    @property
    def bids(self) -> list[Signal]:
        return [signal for signal in self.traffic if signal.type is SignalType.BID]

    # --- bidders ------------------------------------------------------------------------------------

    async def start_bidder(self, name: str, neuron: NeuronFn = done, **terms: Any) -> Dendrite:
        """Start a worker whose Neuron bids with these terms."""
        worker = await self._start(new_axon(name, neuron), role="worker", grace_s=0.01)

        @worker.on_task_offer
        async def decide(offer: Signal) -> None:
            await worker.bid(offer, **{"cost": 1, **terms})

        return worker

    async def start_silent_bidder(self, name: str) -> tuple[Dendrite, asyncio.Queue[Signal]]:
        """Start a worker without automatic bids; return it and the queue of the offers that it receives."""
        worker = await self._start(new_axon(name), role="worker")
        offers: asyncio.Queue[Signal] = asyncio.Queue()
        worker.on_task_offer(offers.put_nowait)
        return worker, offers

    # --- offers -------------------------------------------------------------------------------------

    def start_offer(self, orchestrator: Dendrite, select: Select = "lowest_cost") -> asyncio.Task[Pathway]:
        """Make an offer in a background task, with a deadline that no test reaches."""
        return asyncio.create_task(
            orchestrator.dispatch_offer(**self.work, select=select, deadline_ms=60_000)
        )

    async def offer(self, orchestrator: Dendrite, bids: int, select: Select = "lowest_cost") -> Pathway:
        """Make an offer and end the bidding after ``bids`` bids."""
        offering = self.start_offer(orchestrator, select)
        await self.wait_until_sent(SignalType.BID, bids)
        self.end_bidding(orchestrator)
        return await offering

    async def offer_without_award(self, orchestrator: Dendrite, **offer: Any) -> None:
        """Make an offer, wait for its deadline, which leaves time to bid, and accept no bid."""
        with pytest.raises(NoBidError):
            await orchestrator.dispatch_offer(
                **{**self.work, **offer}, select=lambda _: None, deadline_ms=200
            )

    @staticmethod
    def end_bidding(orchestrator: Dendrite) -> None:
        for open_offer in list(orchestrator.extension("auctions")._offers._open.values()):
            open_offer.end_bidding()

    @staticmethod
    def assert_nothing_open(orchestrator: Dendrite, *workers: Dendrite) -> None:
        assert orchestrator.extension("auctions")._offers._open == {}
        assert orchestrator._pathways._open.keys() <= {""}
        assert [len(worker.extension("auctions")._bidder._bids) for worker in workers] == [0] * len(workers)


@pytest.fixture(autouse=True)
async def time_limit() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


@pytest.fixture
async def auction(start: Start, synapse: MemorySynapse) -> AuctionDriver:
    auction = AuctionDriver(start)
    await synapse.subscribe("cosmonapse.test.>", auction.record)
    return auction


# --- middleware -------------------------------------------------------------------------------------


@pytest.fixture
def with_middleware() -> WithMiddleware:
    """Return plugins with one middleware for a direction, inbound or outbound."""

    def with_middleware(wanted: str, middleware: SignalMiddleware) -> PluginManager:
        class Plugin:
            @hookimpl
            def cosmo_signal_middleware(self, direction: str) -> SignalMiddleware | None:
                return middleware if direction == wanted else None

        manager = PluginManager()
        manager.register(Plugin(), name="middleware")
        return manager

    return with_middleware


@pytest.fixture
def drop_signals(with_middleware: WithMiddleware) -> DropSignals:
    """Return plugins that drop one type of Signal in a direction, inbound or outbound."""

    def drop_signals(direction: str, type: SignalType) -> PluginManager:
        async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
            return Dropped("no") if signal.type is type else await forward(signal)

        return with_middleware(direction, drop)

    return drop_signals
