"""Announcements of many Neurons in one REGISTER (P-4.19 to P-4.21)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import Axon, Dendrite, Directed, MalformedSignalError, Signal, SignalType, encode
from cosmo_core.dendrite.discovery import announcer as module
from cosmo_core.dendrite.discovery.announcer import BATCHED_FROM, MAX_BATCH, SLICE
from cosmo_core.dendrite.discovery.directory import Directory, NeuronRecord
from cosmo_core.protocol.payloads import MAX_CAPABILITIES, MAX_OTHERS
from cosmo_testing import FakeClock

Start = Callable[..., Awaitable[Dendrite]]
BEAT_S = 10.0
REGISTER, HEARTBEAT = SignalType.REGISTER, SignalType.HEARTBEAT


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return input


def axons(count: int, *more: str) -> list[Axon]:
    """Return Axons `n000` and so on with a capability each, such as `c0`, and the same further ones."""
    return [
        Axon(neuron_id=f"n{each:03}", neuron_fn=echo, capabilities=[f"c{each}", *more], version="3")
        for each in range(count)
    ]


def register(others: Any = None, **meta: Any) -> Signal:
    payload = {"role": "neuron", "capabilities": ["x"], "version": "1"}
    meta = {"dendrite": "h", "heartbeat_s": 7, "pulse_s": 1.0, "load": 2, **meta}
    if others is not None:
        payload["others"] = others
    return Signal.new(REGISTER, payload, directed=Directed("a", "neuron", ("x",)), meta=meta)


def announced(signals: list[Signal]) -> list[str]:
    """Return the ids of the Neurons that Signals announce, in order."""
    return [
        id
        for signal in signals
        for id in (signal.directed and signal.directed.id, *(each["id"] for each in _others(signal)))
        if id
    ]


def _others(signal: Signal) -> list[dict[str, Any]]:
    others: list[dict[str, Any]] = signal.payload.get("others", [])
    return others


def without_others(signal: Signal) -> Signal:
    """Return a REGISTER as a receiver understands it that ignores `others`."""
    return signal.replace(payload={key: value for key, value in signal.payload.items() if key != "others"})


# --- receiving --------------------------------------------------------------------------------------


@pytest.mark.clause("P-4.19")
def test_others_of_a_register_are_recorded_as_if_they_had_one_each() -> None:
    view = Directory(lambda: 100.0, 30)
    view.receive(register([{"id": "b", "capabilities": ["y"]}, {"id": "c", "capabilities": [], "load": 4}]))
    assert view.records() == [
        NeuronRecord("a", ("x",), "1", "h", 121, load=2, pulse_s=1.0),
        NeuronRecord("b", ("y",), None, "h", 121, load=0, pulse_s=1.0),
        NeuronRecord("c", (), None, "h", 121, load=4, pulse_s=1.0),
    ]
    # One that is older than the DEREGISTER of another Neuron counts for the rest only.
    older = register([{"id": "b", "capabilities": ["y"], "version": "2"}, {"id": "c", "capabilities": ["z"]}])
    view.receive(Signal.new(SignalType.DEREGISTER, {}, directed=Directed("c"), meta={"dendrite": "h"}))
    view.receive(older)
    assert [(each.neuron_id, each.version) for each in view.records()] == [("a", "1"), ("b", "2")]


@pytest.mark.clause("P-4.19", "P-4.12")
def test_others_of_another_role_are_not_recorded() -> None:
    view = Directory(lambda: 0.0, 30, "engram")
    view.receive(register([{"id": "b", "capabilities": ["y"]}]))
    assert view.records() == []


@pytest.mark.clause("P-4.19")
@pytest.mark.parametrize(
    ("others", "field"),
    [
        ("b", "payload.others"),
        (["b"], r"payload.others\[0\]"),
        ([{"capabilities": []}], r"payload.others\[0\].id"),
        ([{"id": "b"}], r"payload.others\[0\].capabilities"),
        ([{"id": "a.b", "capabilities": []}], r"payload.others\[0\].id"),
        ([{"id": "b", "capabilities": [[]]}], r"payload.others\[0\].capabilities"),
        ([{"id": "b", "capabilities": ["x"] * (MAX_CAPABILITIES + 1)}], r"payload.others\[0\].capabilities"),
        ([{"id": "b", "capabilities": [], "version": 5}], r"payload.others\[0\].version"),
        ([{"id": "b", "capabilities": []}] * (MAX_OTHERS + 1), "payload.others"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_malformed_others_are_rejected(others: Any, field: str) -> None:
    with pytest.raises(MalformedSignalError, match=field):
        register(others)


# --- sending ----------------------------------------------------------------------------------------


@pytest.mark.clause("P-4.20")
async def test_host_of_many_neurons_announces_them_together_and_also_alone_with_every_second_heartbeat(
    start: Start, synapse: Any
) -> None:
    assert (BATCHED_FROM, MAX_BATCH) == (16, 32)
    clock, hosted = FakeClock(), axons(70, "x")
    observer = await start(heartbeat_s=BEAT_S, clock=clock)
    worker = await start(*hosted, role="worker", heartbeat_s=BEAT_S, clock=clock)
    ids = [axon.neuron_id for axon in hosted]
    assert announced([sent.signal for sent in synapse.of(REGISTER)]) == ids
    # Receivers that ignore `others`: one that loses no Signal, and one that knows nothing before.
    old, late = (Directory(clock.now, 30) for _ in range(2))
    for sent in synapse.of(REGISTER):
        old.receive(without_others(sent.signal))
    for beat in range(1, 9):
        synapse.sent.clear()
        await clock.advance(BEAT_S)
        signals = [sent.signal for sent in synapse.of(REGISTER, HEARTBEAT)]
        batches = [signal for signal in signals if _others(signal)]
        alone = [signal for signal in signals if not _others(signal)]
        assert {signal.type for signal in signals} == {REGISTER}
        assert [1 + len(_others(signal)) for signal in batches] == [32, 32, 6]
        assert announced(batches) == ids
        assert announced(alone) == (ids if beat % 2 else [])
        for signal in signals:
            for directory in (old, late):
                directory.receive(without_others(signal))
        for directory in (old, late):
            assert [record.neuron_id for record in directory.records()] == ids
    record = observer.find_neurons("c69")[0]
    assert record == NeuronRecord("n069", ("c69", "x"), "3", record.dendrite, 110, load=0, pulse_s=1.0)
    assert record.expires == clock.now() + 3 * BEAT_S
    await worker.stop()
    assert announced([sent.signal for sent in synapse.of(SignalType.DEREGISTER)]) == ids
    assert observer.find_neurons() == []


@pytest.mark.clause("P-4.1", "P-4.3", "P-4.20")
async def test_host_of_few_neurons_announces_each_alone(start: Start, synapse: Any) -> None:
    clock = FakeClock()
    await start(*axons(BATCHED_FROM - 1), role="worker", heartbeat_s=BEAT_S, clock=clock)
    for _ in range(2):
        synapse.sent.clear()
        await clock.advance(BEAT_S)
        for type in (REGISTER, HEARTBEAT):
            assert len(announced([sent.signal for sent in synapse.of(type)])) == BATCHED_FROM - 1


@pytest.mark.clause("P-4.20")
async def test_load_of_each_neuron_of_a_batch_is_announced(start: Start, synapse: Any) -> None:
    clock = FakeClock()
    gate = asyncio.Event()

    async def wait(input: dict[str, Any], context: list[Any]) -> Any:
        await gate.wait()
        return {}

    busy = Axon(neuron_id="n500", neuron_fn=wait)
    await start(*axons(20), busy, role="worker", heartbeat_s=BEAT_S, clock=clock)
    caller = await start(heartbeat_s=BEAT_S, clock=clock)
    observer = await start(heartbeat_s=BEAT_S, clock=clock)
    pathways = [await caller.dispatch(neuron="n500", input={}) for _ in range(3)]
    for _ in range(2):
        await clock.advance(BEAT_S)
    assert {each.neuron_id: each.load for each in observer.find_neurons() if each.load} == {"n500": 3}
    gate.set()
    for pathway in pathways:
        await pathway.wait()


@pytest.mark.clause("P-4.20")
async def test_batches_hold_one_role_and_a_bounded_number_of_capabilities(
    start: Start, synapse: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_CAPABILITIES", 100)
    clock = FakeClock()
    many = [f"y{number}" for number in range(40)]
    shelves = [shelf(f"e{number:03}") for number in range(10)]
    await start(*axons(10, *many), *shelves, role="worker", heartbeat_s=BEAT_S, clock=clock)
    observer = await start(heartbeat_s=BEAT_S, clock=clock)
    synapse.sent.clear()
    await clock.advance(BEAT_S)
    signals = [sent.signal for sent in synapse.of(REGISTER) if sent.signal.parent_id is None]
    batches = [signal for signal in signals if _others(signal)]
    assert [(each.payload["role"], 1 + len(_others(each))) for each in batches] == [
        *[("neuron", 3)] * 3,
        ("engram", 10),
    ]
    assert len(observer.find_neurons()) == len(observer.find_engrams()) == 10
    assert "pulse_s" not in batches[-1].meta


@pytest.mark.clause("P-4.21", "P-4.8")
@pytest.mark.parametrize("meta", [{"batches": True}, {"batches": False}, {"batches": "yes"}, {}], ids=str)
async def test_answer_to_discover_has_others_only_if_asked_for(
    start: Start, synapse: Any, meta: dict[str, Any]
) -> None:
    hosted = axons(40)
    await start(*hosted, role="worker")
    discover = Signal.new(SignalType.DISCOVER, {}, meta={"reply_to": "asker", **meta})
    await synapse.publish("cosmonapse.test.DISCOVER", encode(discover))
    await synapse.have(REGISTER, lambda it: it.parent_id == discover.id and "n039" in announced([it]))
    answers = [sent.signal for sent in synapse.of(REGISTER) if sent.signal.parent_id == discover.id]
    assert announced(answers) == [axon.neuron_id for axon in hosted]
    assert len(answers) == (2 if meta == {"batches": True} else 40)


@pytest.mark.clause("P-4.21")
async def test_dendrites_ask_for_others_in_answers(start: Start, synapse: Any) -> None:
    await start(*axons(40), role="worker")
    late = await start()
    discover = await synapse.have(SignalType.DISCOVER)
    assert discover.meta["batches"] is True
    await late.wait_until_ready(neuron="n039", timeout_s=10)
    assert len(late.find_neurons()) == 40
    answers = [sent.signal for sent in synapse.of(REGISTER) if sent.signal.parent_id == discover.id]
    assert len(answers) == 2


# --- turns of the event loop ------------------------------------------------------------------------


@attrs.define
class Turns:
    """Counts the announcements in each turn of the event loop."""

    synapse: Any
    most: int = 0

    async def watch(self) -> None:
        before = 0
        while True:
            now = len(announced([sent.signal for sent in self.synapse.of(REGISTER, HEARTBEAT)]))
            self.most = max(self.most, now - before)
            before = now
            await asyncio.sleep(0)


@pytest.mark.parametrize("what", ["start", "heartbeat", "batches", "draining", "discover"])
async def test_announcements_of_many_neurons_leave_turns_to_others(
    start: Start, synapse: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, turns = FakeClock(), Turns(synapse)
    if what != "batches":
        monkeypatch.setattr(module, "BATCHED_FROM", 1000)
    options: dict[str, Any] = {"role": "worker", "heartbeat_s": BEAT_S, "clock": clock}
    worker = None if what == "start" else await start(*axons(200), **options)
    synapse.sent.clear()
    watching = asyncio.create_task(turns.watch())
    await asyncio.sleep(0)
    if what == "start":
        await start(*axons(200), **options)
    elif what == "draining":
        assert worker is not None
        await worker.stop()
    elif what == "discover":
        discover = Signal.new(SignalType.DISCOVER, {}, meta={"reply_to": "asker"})
        await synapse.publish("cosmonapse.test.DISCOVER", encode(discover))
        await synapse.have(REGISTER, lambda signal: announced([signal]) == ["n199"])
    else:
        await clock.advance(BEAT_S)
    await asyncio.sleep(0)
    watching.cancel()
    assert 1 <= turns.most <= (MAX_BATCH if what == "batches" else SLICE)


@pytest.mark.clause("P-4.5")
async def test_neuron_that_is_withdrawn_between_two_turns_is_not_registered_again(
    start: Start, synapse: Any
) -> None:
    clock = FakeClock()
    worker = await start(*axons(200), role="worker", heartbeat_s=BEAT_S, clock=clock)
    synapse.sent.clear()
    beating = asyncio.create_task(clock.advance(BEAT_S))
    await synapse.have(REGISTER)
    await worker.detach_axon("n199")
    stopping = asyncio.create_task(worker.stop())
    await beating
    await stopping
    drained: set[str] = set()
    for sent in synapse.of(REGISTER, HEARTBEAT):
        for id in announced([sent.signal]):
            assert sent.signal.type is HEARTBEAT or id not in drained
            if sent.signal.payload.get("status") == "draining":
                drained.add(id)
    assert len(drained) == 200
