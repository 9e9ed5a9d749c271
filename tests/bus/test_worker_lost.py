"""Lost workers: the caller detects missing work heartbeats and gets WORKER_LOST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType
from cosmo_core.dendrite.reliability.failure_detector import FailureDetector
from cosmo_core.dendrite.reliability.work_heartbeat import MAX_NAMED
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_core.protocol.signal import address
from cosmo_testing import FakeClock
from tests.bus.common import Start

DETECTED_S = 3.5
"""Seconds until a lost worker is detected."""


class Stuck:
    """A Neuron that answers once `open` is set, and counts its starts."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.started = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.started += 1
        await self.open.wait()
        return {"done": True}


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def axon(stuck: Stuck, name: str = "stuck", **options: Any) -> Axon:
    return Axon(neuron_id=name, neuron_fn=stuck, **options)


def work_heartbeats(synapse: Any) -> list[Signal]:
    """Return the work heartbeats sent."""
    return [beat for beat in synapse.sent_of(SignalType.HEARTBEAT) if beat.payload["status"] == "working"]


class WorkerPair:
    """A worker and an orchestrator on one bus, each with its own Synapse."""

    def __init__(self, start: Start, connect_faulty: Any, clock: FakeClock) -> None:
        self._start, self._connect_faulty, self.clock = start, connect_faulty, clock

    async def start(self, *axons: Axon, worker: dict[str, Any] | None = None, **options: Any) -> None:
        self.here = await self._connect_faulty(**options)
        self.there = await self._connect_faulty(self.here._bus, **options)
        common = {"clock": self.clock, "heartbeat_s": 1000.0}
        self.worker = await self._start(
            *axons, synapse=self.there, role="worker", grace_s=0, **common, **(worker or {})
        )
        self.orchestrator = await self._start(synapse=self.here, **common)
        await self.orchestrator.wait_until_ready(neuron=axons[0].neuron_id, timeout_s=5)

    async def kill(self) -> None:
        """Disconnect the worker without a goodbye."""
        await self.there.close()


@pytest.fixture
def pair(start: Start, connect_faulty: Any, clock: FakeClock) -> WorkerPair:
    return WorkerPair(start, connect_faulty, clock)


# --- detection ------------------------------------------------------------------------------------------


@pytest.mark.clause("P-5.19")
@pytest.mark.parametrize("age_s", [0.0, 0.4, 1.0, 7.3, 60.0])
async def test_killed_worker_is_detected_within_three_and_a_half_seconds(
    pair: WorkerPair, stuck: Stuck, age_s: float
) -> None:
    await pair.start(axon(stuck))
    waiting = asyncio.create_task(
        pair.orchestrator.dispatch_and_wait(neuron="stuck", input={}, timeout_s=None)
    )
    await pair.clock.advance(age_s)
    await pair.kill()
    await pair.clock.advance(1.4)
    assert not waiting.done()
    await pair.clock.advance(DETECTED_S - 1.4)
    async with asyncio.timeout(5):
        answer = await waiting
    assert (answer.payload["code"], answer.payload["recoverable"]) == ("WORKER_LOST", True)
    assert answer.directed == address("stuck")
    [task] = pair.here.sent_of(SignalType.TASK)
    assert answer.parent_id == task.id
    # A STOP, in case the worker still runs.
    [stop] = pair.here.sent_of(SignalType.STOP)
    assert stop.parent_id == task.id
    assert pair.here.sent_of(SignalType.ERROR) == []


@pytest.mark.clause("P-4.14", "P-5.19")
async def test_running_and_queued_tasks_are_listed_every_second(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck, max_concurrency=1))
    pathways = [await pair.orchestrator.dispatch(neuron="stuck", input={}) for _ in range(3)]
    await pair.clock.advance(60)
    assert not any(pathway.closed for pathway in pathways)
    assert len(work_heartbeats(pair.there)) == 60
    for beat in work_heartbeats(pair.there):
        assert set(beat.meta["tasks"]) == {pathway.task_id for pathway in pathways}
        assert beat.meta["neurons"] == ["stuck"]
        assert (beat.directed, beat.parent_id) == (None, None)
        assert beat.meta["dendrite"] == pair.worker.find_neurons()[0].dendrite
    stuck.open.set()
    for pathway in pathways:
        assert (await pathway.wait(timeout_s=5)).payload["output"] == {"done": True}
    await pair.clock.advance(10)
    assert len(work_heartbeats(pair.there)) == 60


@pytest.mark.clause("P-5.19")
async def test_detector_waits_for_takeover_time(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck), takeover_s=4.0)
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.kill()
    await pair.clock.advance(6.0)
    assert not pathway.closed
    await pair.clock.advance(DETECTED_S + 4.0 - 6.0)
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "WORKER_LOST"


@pytest.mark.clause("P-5.19")
async def test_durable_synapse_disables_worker_lost(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck), takeover_s=4.0, durable=True)
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.kill()
    await pair.clock.advance(900)
    assert not pathway.closed


@pytest.mark.clause("P-4.15", "P-5.19")
async def test_host_without_work_heartbeats_is_never_lost(
    pair: WorkerPair, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.hosting.host.PULSE_S", None)
    await pair.start(axon(stuck))
    [record] = pair.orchestrator.find_neurons()
    assert record.pulse_s is None
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.kill()
    await pair.clock.advance(60)
    assert not pathway.closed


@pytest.mark.clause("P-4.15")
@pytest.mark.parametrize(
    ("announced", "known"), [(1.0, 1.0), (2, 2), (0, None), (-1, None), ("1", None), (86_401, None)]
)
async def test_register_announces_work_heartbeat_interval(
    start: Start, synapse: Any, announced: Any, known: float | None
) -> None:
    dendrite = await start()
    for _ in range(2):  # A repeated announcement does not change it.
        register = Signal.new(
            SignalType.REGISTER,
            {"role": "neuron", "capabilities": []},
            directed=address("x"),
            meta={"dendrite": "d", "pulse_s": announced},
        )
        dendrite._directory.receive(register)
    assert [record.pulse_s for record in dendrite.find_neurons()] == [known]


@pytest.mark.clause("P-5.19")
async def test_suspended_process_does_not_report_worker_lost(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck))
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.clock.advance(2.0)
    pair.clock._now += 3600  # Both processes were suspended.
    await pair.clock.advance(1.0)
    assert not pathway.closed
    await pair.kill()
    pair.clock._now += 3600
    await pair.clock.advance(1.0)
    assert not pathway.closed
    await pair.clock.advance(DETECTED_S)
    assert pathway.closed


async def test_answered_task_is_no_longer_monitored(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck))
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.clock.advance(2)
    assert pathway.task_id in _detector(pair)._last_heartbeats
    stuck.open.set()
    assert (await pathway.wait(timeout_s=5)).type is SignalType.AGENT_OUTPUT
    await pair.kill()
    await pair.clock.advance(60)
    assert not pathway.closed
    assert _detector(pair)._last_heartbeats == {}


def _detector(pair: WorkerPair) -> FailureDetector:
    return pair.orchestrator._detector


# --- workers that are not lost --------------------------------------------------------------------------


@pytest.mark.clause("P-4.14", "P-12.4")
async def test_neuron_under_backpressure_is_not_lost(pair: WorkerPair) -> None:
    async def recite(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        for number in range(10_000):
            yield str(number)

    await pair.start(Axon(neuron_id="recite", neuron_fn=recite), max_in_flight=4, max_pending=4)
    pair.orchestrator._dispatcher._buffer = 2
    pathway = await pair.orchestrator.dispatch(neuron="recite", input={}, backpressure=True)
    await pair.clock.advance(30)
    assert not pathway.closed
    [task] = pair.here.sent_of(SignalType.TASK)
    assert task.meta["pulse_to"] != task.meta["reply_to"]
    pathway.close()


class BlockingMiddleware:
    """An inbound middleware that never forwards a TASK."""

    @hookimpl
    def cosmo_signal_middleware(self, dendrite: Dendrite, direction: str) -> Any:
        async def middleware(signal: Signal, forward: Any) -> Any:
            if signal.type is SignalType.TASK:
                await asyncio.Event().wait()
            return await forward(signal)

        return middleware if direction == "inbound" else None


@pytest.mark.clause("P-4.14")
async def test_task_held_by_host_middleware_is_not_lost(pair: WorkerPair, stuck: Stuck) -> None:
    plugins = PluginManager()
    plugins.register(BlockingMiddleware(), name="blocking")
    await pair.start(axon(stuck), worker={"plugins": plugins})
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.clock.advance(30)
    assert not pathway.closed
    assert stuck.started == 0


class HoldingMiddleware:
    """An inbound middleware that holds each delivery of a TASK until it is released."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.passed = asyncio.Event()
        self._news = asyncio.Event()

    async def wait_until_held(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.held) < count:
                self._news.clear()
                await self._news.wait()

    @hookimpl
    def cosmo_signal_middleware(self, dendrite: Dendrite, direction: str) -> Any:
        async def middleware(signal: Signal, forward: Any) -> Any:
            if signal.type is SignalType.TASK:
                release = asyncio.Event()
                self.held.append(release)
                self._news.set()
                await release.wait()
                self.passed.set()
            return await forward(signal)

        return middleware if direction == "inbound" else None


@pytest.mark.extension("watching")
@pytest.mark.clause("P-4.14")
@pytest.mark.parametrize("released", [0, 1])
async def test_task_that_host_also_watches_is_named_until_both_deliveries_pass_middleware(
    pair: WorkerPair, stuck: Stuck, released: int
) -> None:
    holding, plugins = HoldingMiddleware(), PluginManager()
    plugins.register(holding, name="holding")
    await pair.start(axon(stuck), worker={"plugins": plugins})
    await pair.worker.watch(SignalType.TASK, lambda signal: None)
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await holding.wait_until_held(2)
    holding.held[released].set()
    async with asyncio.timeout(5):
        await holding.passed.wait()
    await pair.clock.advance(1)
    [beat] = work_heartbeats(pair.there)
    assert beat.meta["tasks"] == [pathway.task_id]
    for release in holding.held:
        release.set()


@pytest.mark.extension("watching")
@pytest.mark.clause("P-4.14", "P-5.19")
async def test_task_held_by_middleware_of_a_watcher_only_is_lost_with_its_worker(
    pair: WorkerPair, start: Start, connect_faulty: Any, stuck: Stuck
) -> None:
    await pair.start(axon(stuck))
    holding, plugins = HoldingMiddleware(), PluginManager()
    plugins.register(holding, name="holding")
    synapse = await connect_faulty(pair.here._bus)
    other = await start(synapse=synapse, clock=pair.clock, plugins=plugins)
    await other.watch(SignalType.TASK, lambda signal: None)
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await holding.wait_until_held(1)
    await pair.kill()
    await pair.clock.advance(DETECTED_S)
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "WORKER_LOST"
    holding.held[0].set()


@pytest.mark.clause("P-4.14")
async def test_work_heartbeat_is_split_beyond_task_limit(pair: WorkerPair, stuck: Stuck) -> None:
    await pair.start(axon(stuck, max_concurrency=1, max_backlog=3 * MAX_NAMED))
    count = 2 * MAX_NAMED + 1
    pathways = [await pair.orchestrator.dispatch(neuron="stuck", input={}) for _ in range(count)]
    await pair.clock.advance(1)
    named = [beat.meta["tasks"] for beat in work_heartbeats(pair.there)]
    assert [len(tasks) for tasks in named] == [MAX_NAMED, MAX_NAMED, 1]
    assert {id for tasks in named for id in tasks} == {pathway.task_id for pathway in pathways}


@pytest.mark.parametrize("tasks", [None, "evt", 7, [7, None, ["evt"]], {}])
async def test_malformed_work_heartbeat_is_ignored(pair: WorkerPair, stuck: Stuck, tasks: Any) -> None:
    await pair.start(axon(stuck))
    pathway = await pair.orchestrator.dispatch(neuron="stuck", input={})
    await pair.clock.advance(1)
    before = dict(_detector(pair)._last_heartbeats)
    _detector(pair).receive(Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta={"tasks": tasks}))
    assert _detector(pair)._last_heartbeats == before
    pathway.close()


# --- offers ---------------------------------------------------------------------------------------------


@pytest.mark.extension("auctions")
@pytest.mark.clause("P-5.19", "P-7.10")
async def test_lost_winner_is_replaced_by_next_best_bidder(
    start: Start, pair: WorkerPair, stuck: Stuck, clock: FakeClock
) -> None:
    async def other(input: dict[str, Any], context: list[Any]) -> Any:
        return {"by": "other"}

    await pair.start(axon(stuck, capabilities=["x"]))
    busy = Axon(neuron_id="other", neuron_fn=other, capabilities=["x"])
    second = await start(busy, synapse=pair.here, role="worker", clock=clock, heartbeat_s=1000.0)

    @second.on_task_offer
    async def bid(offer: Signal) -> None:
        await second.bid(offer, cost=100)

    async with asyncio.timeout(5):
        pathway = await pair.orchestrator.dispatch_offer(
            capabilities=["x"], input={}, select="lowest_cost", deadline_ms=200
        )
    assert pathway.neuron == "stuck"
    await clock.advance(5)
    assert not pathway.closed
    await pair.kill()
    await clock.advance(DETECTED_S)
    answer = await pathway.wait(timeout_s=5)
    assert answer.payload["output"] == {"by": "other"}
    [stop] = pair.here.sent_of(SignalType.STOP)
    assert stop.directed == address("stuck")
