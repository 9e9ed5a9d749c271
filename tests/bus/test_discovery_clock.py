"""Discovery, readiness and load on a clock that the test controls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, LifecycleError, Signal, SignalType, decode
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import FakeClock
from tests.bus.common import Start, echo, run_loop_turns

BEAT_S = 10.0


def axon(name: str, *capabilities: str, neuron: Any = echo) -> Axon:
    return Axon(neuron_id=name, neuron_fn=neuron, capabilities=capabilities)


class BlockedNeuron:
    """A Neuron that answers once `release` is set."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.release = asyncio.Event()
        self.closed = False

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        await self.release.wait()
        return {"done": True}

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def announcements(synapse: MemorySynapse) -> list[tuple[str, str | None]]:
    """The broadcast announcements: type and Neuron id of each."""
    announcements: list[tuple[str, str | None]] = []

    def listen(frame: bytes) -> None:
        signal = decode(frame)
        if signal.type in {SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER}:
            announcements.append((signal.type.value, signal.directed.id if signal.directed else None))

    await synapse.subscribe("cosmonapse.test.*", listen)
    return announcements


def names(dendrite: Dendrite, capability: str | None = None) -> list[str]:
    return [record.neuron_id for record in dendrite.find_neurons(capability=capability)]


# --- announcements ----------------------------------------------------------------------------------


@pytest.mark.clause("P-4.1", "P-4.3", "P-4.4")
async def test_worker_registers_at_start_and_with_each_heartbeat(
    start: Start, clock: FakeClock, announcements: list[tuple[str, str | None]]
) -> None:
    worker = await start(axon("a"), axon("b"), role="worker", heartbeat_s=BEAT_S, clock=clock)
    assert announcements == [("REGISTER", "a"), ("REGISTER", "b")]
    for _ in range(2):
        announcements.clear()
        await clock.advance(BEAT_S - 1)
        assert announcements == []
        await clock.advance(1)
        assert announcements == [(type, name) for type in ("REGISTER", "HEARTBEAT") for name in ("a", "b")]
    announcements.clear()
    await worker.stop()
    assert announcements == [(type, name) for type in ("HEARTBEAT", "DEREGISTER") for name in ("a", "b")]
    announcements.clear()
    await clock.advance(5 * BEAT_S)
    assert announcements == []


@pytest.mark.clause("P-4.6")
async def test_silent_neuron_expires_after_exactly_three_heartbeats(start: Start, clock: FakeClock) -> None:
    watcher = await start(heartbeat_s=BEAT_S, clock=clock)
    await start(axon("alive"), role="worker", heartbeat_s=BEAT_S, clock=clock)
    # Its clock stands still, so it sends no heartbeats.
    await start(axon("dead"), role="worker", heartbeat_s=BEAT_S, clock=FakeClock())
    await clock.advance(3 * BEAT_S - 0.1)
    assert names(watcher) == ["alive", "dead"]
    await clock.advance(0.1)
    assert names(watcher) == ["alive"]
    await clock.advance(10 * BEAT_S)
    assert names(watcher) == ["alive"]


@pytest.mark.clause("P-4.6")
async def test_expiry_uses_heartbeat_interval_of_sender(start: Start, clock: FakeClock) -> None:
    watcher = await start(heartbeat_s=1000 * BEAT_S, clock=clock)
    await start(axon("dead", "x"), role="worker", heartbeat_s=BEAT_S, clock=FakeClock())
    await start(axon("slow", "x"), role="worker", heartbeat_s=2 * BEAT_S, clock=FakeClock())
    await clock.advance(3 * BEAT_S)
    assert names(watcher) == ["slow"]
    for _ in range(2):
        reply = await watcher.dispatch_and_wait(capabilities=["x"], input={})
        assert reply.directed is not None
        assert reply.directed.id == "slow"


@pytest.mark.clause("P-4.9")
async def test_late_dendrite_discovers_others_and_is_discovered(start: Start, clock: FakeClock) -> None:
    early = await start(axon("a", "x"), heartbeat_s=BEAT_S, clock=clock)
    await start(axon("b", "x", "y"), role="worker", heartbeat_s=BEAT_S, clock=clock)
    late = await start(axon("c", "y"), heartbeat_s=BEAT_S, clock=clock)
    await clock.advance(0)
    for dendrite in (early, late):
        assert names(dendrite) == ["a", "b", "c"]
        assert names(dendrite, "x") == ["a", "b"]
        assert names(dendrite, "y") == ["b", "c"]
        assert names(dendrite, "z") == []
    (record,) = early.find_neurons(capability="x")[1:]
    assert record.capabilities == ("x", "y")
    assert record.expires == clock.now() + 3 * BEAT_S


# --- readiness --------------------------------------------------------------------------------------


async def test_wait_until_ready_returns_for_known_neuron(start: Start) -> None:
    await start(axon("a", "x", "y"), role="worker")
    orchestrator = await start()
    await orchestrator.wait_until_ready()
    await orchestrator.wait_until_ready(neuron="a")
    await orchestrator.wait_until_ready(capabilities=["y", "x"])
    await orchestrator.wait_until_ready(neuron="a", capabilities=["y"])


@pytest.mark.parametrize("wanted", [{"neuron": "a"}, {"capabilities": ["x"]}, {}], ids=str)
async def test_wait_until_ready_waits_for_starting_worker(start: Start, wanted: dict[str, Any]) -> None:
    orchestrator = await start()
    waiting = asyncio.create_task(orchestrator.wait_until_ready(**wanted, timeout_s=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await start(axon("a", "x"), role="worker")
    await waiting


async def test_wait_until_ready_waits_for_added_axon(start: Start) -> None:
    orchestrator = await start()
    worker = await start(role="worker")
    waiting = asyncio.create_task(orchestrator.wait_until_ready(capabilities=["x"], timeout_s=5))
    await worker.add_axon(axon("b", "y"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await worker.add_axon(axon("a", "x"))
    await waiting
    assert (await orchestrator.dispatch_and_wait(neuron="a", input={"n": 1})).payload["output"] == {"n": 1}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"neuron": "z"}, "no live Neuron 'z' in this namespace; known: a, b"),
        (
            {"neuron": "a", "capabilities": ["y"]},
            "no live Neuron 'a' with 'y' in this namespace; known: a, b",
        ),
        ({"capabilities": ["x", "z"]}, "no live Neuron with 'x' and 'z' in this namespace; known: x, y"),
    ],
)
async def test_wait_until_ready_timeout_names_known_neurons(
    start: Start, wanted: dict[str, Any], message: str
) -> None:
    await start(axon("a", "x"), axon("b", "y"), role="worker")
    orchestrator = await start()
    with pytest.raises(TimeoutError) as caught:
        await orchestrator.wait_until_ready(**wanted, timeout_s=0.01)
    assert str(caught.value) == f"not ready within 0.01 s: {message}"


async def test_wait_until_ready_timeout_reports_empty_namespace(start: Start) -> None:
    orchestrator = await start()
    with pytest.raises(TimeoutError, match="no live Neuron in this namespace; known: none"):
        await orchestrator.wait_until_ready(timeout_s=0.01)


async def test_wait_until_ready_ends_when_dendrite_stops(start: Start) -> None:
    orchestrator = await start()
    waiting = [asyncio.create_task(orchestrator.wait_until_ready(neuron=name)) for name in "ab"]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await orchestrator.stop()
    with pytest.raises(LifecycleError, match="stopped"):
        await waiting[1]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    with pytest.raises(LifecycleError, match="is not running"):
        await orchestrator.wait_until_ready()


# --- added and detached Axons -----------------------------------------------------------------------


@pytest.mark.clause("P-4.1", "P-4.4")
async def test_added_axon_is_registered_and_detached_axon_deregistered(
    start: Start, announcements: list[tuple[str, str | None]]
) -> None:
    worker = await start(axon("a"), role="worker")
    orchestrator = await start()
    announcements.clear()
    await worker.add_axon(axon("b", "x"))
    assert announcements == [("REGISTER", "b")]
    assert names(orchestrator, "x") == ["b"]
    await orchestrator.dispatch_and_wait(neuron="b", input={})
    announcements.clear()
    await worker.detach_axon("b", "enough")
    assert announcements == [("HEARTBEAT", "b"), ("DEREGISTER", "b")]
    assert names(orchestrator) == ["a"]
    await worker.add_axon(axon("b"))
    assert (await orchestrator.dispatch_and_wait(neuron="b", input={"n": 1})).payload["output"] == {"n": 1}


async def test_detach_waits_for_running_task(start: Start) -> None:
    blocked = BlockedNeuron()
    worker = await start(axon("a", neuron=blocked), role="worker", grace_s=5)
    orchestrator = await start()
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="a", input={}))
    await blocked.running.wait()
    detaching = asyncio.create_task(worker.detach_axon("a"))
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="'a' is attached"):
        await worker.add_axon(axon("a"))
    blocked.release.set()
    await detaching
    assert (await reply).payload["output"] == {"done": True}
    assert blocked.closed
    assert worker.axons == []


async def test_detach_cancels_task_after_grace_period(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    blocked = BlockedNeuron()
    worker = await start(axon("a", neuron=blocked), role="worker", grace_s=0.01)
    orchestrator = await start()
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="a", input={}))
    await blocked.running.wait()
    await worker.detach_axon("a")
    assert (await reply).payload["code"] == "CANCELLED"
    assert blocked.closed
    assert "1 TASKs did not finish" in caplog.text


@pytest.mark.clause("P-4.5")
async def test_detaching_axon_is_not_announced_again(
    start: Start, clock: FakeClock, announcements: list[tuple[str, str | None]]
) -> None:
    blocked = BlockedNeuron()
    worker = await start(
        axon("a", neuron=blocked), axon("b"), role="worker", heartbeat_s=BEAT_S, clock=clock, grace_s=5
    )
    orchestrator = await start(heartbeat_s=BEAT_S, clock=clock)
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="a", input={}))
    await blocked.running.wait()
    detaching = asyncio.create_task(worker.detach_axon("a"))
    await run_loop_turns(5)
    announcements.clear()
    await clock.advance(BEAT_S)
    # It still says that "a" is draining, so that its host does not count as gone.
    assert announcements == [("REGISTER", "b"), ("HEARTBEAT", "b"), ("HEARTBEAT", "a")]
    late = await start()
    await clock.advance(0)
    assert names(late) == names(orchestrator) == ["b"]
    blocked.release.set()
    await reply
    await detaching


async def test_add_axon_rejects_duplicate_id(start: Start) -> None:
    worker = await start(axon("a"), role="worker")
    with pytest.raises(ValueError, match="'a' is attached to this Dendrite already"):
        await worker.add_axon(axon("a"))
    with pytest.raises(KeyError):
        await worker.detach_axon("b")
    await worker.stop()
    with pytest.raises(LifecycleError):
        await worker.add_axon(axon("b"))
    with pytest.raises(LifecycleError):
        await worker.detach_axon("a")


# --- load -------------------------------------------------------------------------------------------


@pytest.mark.clause("P-5.2")
async def test_own_dispatches_count_as_load_until_answered(start: Start) -> None:
    neurons = {name: BlockedNeuron() for name in "ab"}
    await start(*(axon(name, "x", neuron=neuron) for name, neuron in neurons.items()), role="worker")
    orchestrator = await start()
    pathways = [await orchestrator.dispatch(capabilities=["x"], input={}) for _ in range(5)]
    chosen = [pathway.neuron for pathway in pathways]
    assert sorted(chosen[:2]) == sorted(chosen[2:4]) == ["a", "b"]
    busy = chosen[4]
    neurons[busy].release.set()
    await asyncio.gather(*(pathway.wait() for pathway in pathways if pathway.neuron == busy))
    # All three of its TASKs are answered, and neither of the other's two.
    further = [await orchestrator.dispatch(capabilities=["x"], input={}) for _ in range(2)]
    assert [pathway.neuron for pathway in further] == [busy, busy]
    neurons["a"].release.set()
    neurons["b"].release.set()
    await asyncio.gather(*(pathway.wait() for pathway in [*pathways, *further]))


@pytest.mark.parametrize("give_up", ["close", "forget"])
async def test_abandoned_dispatches_do_not_count_as_load(start: Start, give_up: str) -> None:
    neurons = {name: BlockedNeuron() for name in "ab"}
    await start(
        *(axon(name, "x", neuron=neuron) for name, neuron in neurons.items()), role="worker", grace_s=0
    )
    orchestrator = await start()
    pathways = [await orchestrator.dispatch(capabilities=["x"], input={}) for _ in range(4)]
    for pathway in pathways:
        if pathway.neuron == "a" and give_up == "close":
            pathway.close()
    if give_up == "forget":
        pathways = [pathway for pathway in pathways if pathway.neuron == "b"]
        del pathway
    further = [await orchestrator.dispatch(capabilities=["x"], input={}) for _ in range(2)]
    assert [pathway.neuron for pathway in further] == ["a", "a"]


@pytest.mark.clause("P-5.2")
async def test_dispatches_of_others_count_as_last_announced_load(start: Start, clock: FakeClock) -> None:
    neurons = {name: BlockedNeuron() for name in "ab"}
    await start(
        *(axon(name, "x", neuron=neuron) for name, neuron in neurons.items()),
        role="worker",
        heartbeat_s=BEAT_S,
        clock=clock,
    )
    others, observer = [await start(heartbeat_s=BEAT_S, clock=clock) for _ in range(2)]
    waiting = [await others.dispatch(neuron="a", input={}) for _ in range(2)]
    await clock.advance(BEAT_S)
    loads = {record.neuron_id: record.load for record in observer.find_neurons()}
    assert loads == {"a": 2, "b": 0}
    pathways = [await observer.dispatch(capabilities=["x"], input={}) for _ in range(4)]
    assert sorted(pathway.neuron for pathway in pathways) == ["a", "b", "b", "b"]
    for neuron in neurons.values():
        neuron.release.set()
    await asyncio.gather(*(pathway.wait() for pathway in [*waiting, *pathways]))
    await clock.advance(BEAT_S)
    assert [record.load for record in observer.find_neurons()] == [0, 0]


@pytest.mark.clause("P-5.2")
async def test_load_of_neuron_is_divided_by_replicas(start: Start, clock: FakeClock) -> None:
    neurons = [BlockedNeuron() for _ in range(3)]
    for name, neuron in zip("aab", neurons, strict=True):
        await start(axon(name, "x", neuron=neuron), role="worker", heartbeat_s=BEAT_S, clock=clock)
    orchestrator = await start(heartbeat_s=BEAT_S, clock=clock)
    pathways = [await orchestrator.dispatch(capabilities=["x"], input={}) for _ in range(6)]
    assert sorted(pathway.neuron for pathway in pathways) == ["a", "a", "a", "a", "b", "b"]
    for neuron in neurons:
        neuron.release.set()
    replies: list[Signal] = await asyncio.gather(*(pathway.wait() for pathway in pathways))
    assert {reply.type for reply in replies} == {SignalType.AGENT_OUTPUT}
