"""Signals that arrive late, twice, or from a wrong clock make no ghosts, and run no stopped work."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Directed, Signal, SignalType, encode
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.protocol.ids import new_trace_id
from cosmo_core.protocol.signal import address
from cosmo_testing import FakeClock
from tests.bus.common import Start, echo, run_loop_turns

HOST = "0" * 26
BEAT_S = 10.0


def announcement(type: SignalType, role: str = "neuron", **payload: Any) -> Signal:
    if type is SignalType.REGISTER:
        payload = {"role": role, "capabilities": []}
    meta = {"dendrite": HOST, "role": role}
    return Signal.new(type, payload, directed=Directed("a", role), meta=meta)


def draining() -> Signal:
    return announcement(SignalType.HEARTBEAT, status="draining")


def names(directory: Directory) -> list[str]:
    return [record.neuron_id for record in directory.records()]


# --- announcements ------------------------------------------------------------------------------------


@pytest.mark.clause("P-4.16")
@pytest.mark.parametrize("leave", [lambda: announcement(SignalType.DEREGISTER), draining])
def test_register_that_is_repeated_after_departure_is_ignored(leave: Any) -> None:
    directory = Directory(time.monotonic, BEAT_S)
    register = announcement(SignalType.REGISTER)
    for signal in (register, leave(), register):
        directory.receive(signal)
    assert names(directory) == []
    directory.receive(announcement(SignalType.REGISTER))
    assert names(directory) == ["a"]


@pytest.mark.clause("P-4.16")
@pytest.mark.parametrize("leave", [lambda: announcement(SignalType.DEREGISTER), draining])
@pytest.mark.parametrize("twice", [False, True])
def test_departure_that_arrives_after_next_register_is_ignored(leave: Any, twice: bool) -> None:
    directory = Directory(time.monotonic, BEAT_S)
    departure = leave()
    if twice:
        directory.receive(departure)
    directory.receive(announcement(SignalType.REGISTER))
    directory.receive(departure)
    assert names(directory) == ["a"]


@pytest.mark.clause("P-4.16")
def test_heartbeat_that_overtakes_register_does_not_hide_neuron() -> None:
    directory = Directory(time.monotonic, BEAT_S)
    register, heartbeat = announcement(SignalType.REGISTER), announcement(SignalType.HEARTBEAT, status="ok")
    directory.receive(heartbeat)
    directory.receive(register)
    assert names(directory) == ["a"]


@pytest.mark.clause("P-4.7")
@pytest.mark.parametrize("leave", [SignalType.DEREGISTER, SignalType.HEARTBEAT])
def test_neuron_and_engram_of_one_id_do_not_remove_each_other(leave: SignalType) -> None:
    neurons = Directory(time.monotonic, BEAT_S, "neuron")
    engrams = Directory(time.monotonic, BEAT_S, "engram")
    payload = {"status": "draining"} if leave is SignalType.HEARTBEAT else {}
    for role in ("neuron", "engram"):
        for directory in (neurons, engrams):
            directory.receive(announcement(SignalType.REGISTER, role))
    for directory in (neurons, engrams):
        directory.receive(announcement(leave, "engram", **payload))
    assert (names(neurons), names(engrams)) == (["a"], [])


@pytest.mark.clause("P-4.7")
async def test_detached_engram_leaves_neuron_of_same_id(start: Start) -> None:
    from cosmo_engram_sqlite import SqliteEngram

    worker = await start(Axon(neuron_id="notes", neuron_fn=echo))
    await worker.attach_engram(SqliteEngram(engram_id="notes", engram_kind="context"))
    orchestrator = await start()
    await worker.detach_engram("notes")
    assert [record.neuron_id for record in orchestrator.find_neurons()] == ["notes"]
    assert orchestrator.find_engrams() == []
    await worker.attach_engram(SqliteEngram(engram_id="notes", engram_kind="context"))
    await worker.detach_axon("notes")
    assert orchestrator.find_neurons() == []
    assert [record.engram_id for record in orchestrator.find_engrams()] == ["notes"]


class Held:
    """A Neuron that answers when it is released."""

    def __init__(self) -> None:
        self.running, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        await self.release.wait()
        return {"done": True}


@pytest.mark.clause("P-4.5")
@pytest.mark.parametrize("leave", ["stop", "detach"])
async def test_host_that_drains_for_long_does_not_count_as_gone(start: Start, leave: str) -> None:
    neuron, clock = Held(), FakeClock()
    axon = Axon(neuron_id="held", neuron_fn=neuron, capabilities=["x"])
    worker = await start(axon, role="worker", heartbeat_s=BEAT_S, clock=clock, grace_s=60)
    orchestrator = await start(heartbeat_s=BEAT_S, clock=clock)
    pathway = await orchestrator.dispatch_offer(capabilities=["x"], input={})
    await neuron.running.wait()
    leaving = asyncio.create_task(worker.stop() if leave == "stop" else worker.detach_axon("held"))
    await run_loop_turns(20)
    for _ in range(8):
        await clock.advance(BEAT_S / 2)
        await clock.advance(BEAT_S / 2)
    neuron.release.set()
    assert (await pathway.wait(5)).payload == {"output": {"done": True}}
    await leaving


@pytest.mark.clause("P-4.6")
async def test_draining_host_that_falls_silent_counts_as_gone() -> None:
    clock, departed = FakeClock(), []
    directory = Directory(clock.now, BEAT_S, departed=lambda neuron, host: departed.append(neuron))
    directory.receive(announcement(SignalType.REGISTER))
    for _ in range(5):
        directory.receive(draining())
        await clock.advance(2 * BEAT_S)
        directory.sweep()
    assert departed == []
    await clock.advance(2 * BEAT_S)
    directory.sweep()
    assert departed == ["a"]


# --- stopped work -------------------------------------------------------------------------------------


def ahead(signal: Signal, seconds: float) -> Signal:
    """Return a Signal as a sender makes it whose clock is wrong."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    value = 0
    for character in signal.id.removeprefix("evt_")[:10]:
        value = value * 32 + alphabet.index(character)
    value += round(seconds * 1000)
    text = "".join(alphabet[value >> shift & 31] for shift in range(45, -1, -5))
    return signal.replace(id="evt_" + text + signal.id[14:])


def stop(trace_id: str, sender: str | None = "other", **fields: Any) -> Signal:
    meta = {} if sender is None else {"reply_to": sender}
    return Signal.new(SignalType.STOP, {"rollback": False}, trace_id=trace_id, meta=meta, **fields)


@pytest.mark.clause("P-9.5")
@pytest.mark.parametrize("ahead_s", [10, 3600])
async def test_new_task_runs_on_trace_that_was_stopped_by_clock_ahead(start: Start, ahead_s: int) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    trace_id = new_trace_id()
    await orchestrator.emit(ahead(stop(trace_id), ahead_s))
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1}, trace_id=trace_id)
    assert reply.payload == {"output": {"a": 1}}


@pytest.mark.clause("P-9.5")
@pytest.mark.parametrize("ahead_s", [-3600, -10, 0, 10, 3600])
async def test_late_task_of_the_sender_of_the_stop_does_not_run(start: Start, ahead_s: int) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    task = Signal.new(
        SignalType.TASK, {"input": {}}, directed=address("echo"), meta={"reply_to": orchestrator._inbox}
    )
    stopping = stop(task.trace_id, orchestrator._inbox)
    pathway = await orchestrator.observe_pathway(task.trace_id)
    await orchestrator.emit(ahead(stopping, ahead_s))
    await orchestrator.emit(ahead(task, ahead_s))
    assert (await pathway.wait_for(SignalType.ERROR, 5)).payload["code"] == "CANCELLED"
    after = ahead(
        Signal.new(
            SignalType.TASK, task.payload, trace_id=task.trace_id, directed=task.directed, meta=task.meta
        ),
        ahead_s,
    )
    await orchestrator.emit(after)
    assert (await pathway.wait_for(SignalType.AGENT_OUTPUT, 5)).parent_id == after.id
    pathway.close()


@pytest.mark.clause("P-9.5")
async def test_work_that_is_awarded_after_its_trace_was_stopped_does_not_run(start: Start) -> None:
    ran: list[int] = []

    async def note(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(1)
        return {}

    await start(note, axon={"capabilities": ["x"]}, role="worker")
    orchestrator = await start()
    trace_id, bids = new_trace_id(), asyncio.Queue[Signal]()
    await orchestrator.watch(SignalType.BID, bids.put_nowait)
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(
            capabilities=["x"], input={}, select="lowest_cost", deadline_ms=300, trace_id=trace_id
        )
    )
    await bids.get()
    await orchestrator.stop_trace(trace_id)
    pathway = await offering
    assert (await pathway.wait(5)).payload["code"] == "CANCELLED"
    assert ran == []


@pytest.mark.clause("P-9.5")
async def test_offer_of_stopped_trace_gets_no_bid(start: Start) -> None:
    await start(echo, axon={"capabilities": ["x"]}, role="worker")
    orchestrator = await start()
    bids: list[Signal] = []
    await orchestrator.watch(SignalType.BID, bids.append)
    payload = {"input": {}, "capabilities": ["x"]}
    meta = {"reply_to": orchestrator._inbox}
    late = Signal.new(SignalType.TASK_OFFER, payload, meta=meta)
    await orchestrator.stop_trace(late.trace_id)
    await orchestrator.emit(late)
    later = Signal.new(SignalType.TASK_OFFER, payload, trace_id=late.trace_id, meta=meta)
    await orchestrator.emit(later)
    await run_loop_turns(20)
    assert [bid.parent_id for bid in bids] == [later.id]


# --- windows ------------------------------------------------------------------------------------------


WINDOW = 100


async def flood_with_stops(orchestrator: Dendrite, trace: bool) -> None:
    subjects, link = orchestrator._link.subjects, orchestrator._link
    for n in range(3 * WINDOW):
        if trace:
            signal, subject = stop(new_trace_id(), None), subjects.broadcast(SignalType.STOP)
        else:
            unknown = f"evt_{n:026d}"
            signal = stop(new_trace_id(), None, parent_id=unknown, directed=address("counting"))
            subject = subjects.neuron(SignalType.STOP, "counting")
        await link.send(subject, signal)


@pytest.mark.clause("P-5.6")
async def test_stops_do_not_flush_window_of_tasks(start: Start, synapse: Any) -> None:
    ran: list[int] = []

    async def counting(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(1)
        return {}

    worker = await start(counting, role="worker", extensions=())
    stops = worker._stopped
    for window in (worker._seen_tasks, stops._tasks, stops._stops):
        window._capacity = WINDOW
    orchestrator = await start(extensions=())
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=address("counting"))
    stopped = Signal.new(SignalType.TASK, {"input": {}}, directed=address("counting"))
    subject = "cosmonapse.test.TASK.neuron.counting"
    await synapse.publish(subject, encode(task))
    await flood_with_stops(orchestrator, trace=True)
    await orchestrator.emit(stop(stopped.trace_id, None, parent_id=stopped.id, directed=address("counting")))
    await flood_with_stops(orchestrator, trace=True)
    await synapse.publish(subject, encode(stopped))
    await flood_with_stops(orchestrator, trace=False)
    await synapse.publish(subject, encode(task))
    await run_loop_turns(20)
    assert ran == [1]
