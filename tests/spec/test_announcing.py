"""Presence: announcements and how receivers treat them (section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    MalformedSignalError,
    NoRouteError,
    Signal,
    SignalType,
    encode,
)
from cosmo_core.dendrite.discovery import directory as module
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.payloads import MAX_CAPABILITIES

Start = Callable[..., Awaitable[Dendrite]]
PRESENCE = (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER, SignalType.DISCOVER)


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return input


def axon(name: str, *capabilities: str) -> Axon:
    return Axon(neuron_id=name, neuron_fn=echo, capabilities=capabilities)


def register(neuron: str = "a", **meta: Any) -> Signal:
    payload = {"role": "neuron", "capabilities": []}
    return Signal.new(SignalType.REGISTER, payload, directed=Directed(neuron), meta=meta)


@pytest.mark.clause("P-4.2")
@pytest.mark.clause("P-4.15")
async def test_announcements_carry_host_and_load(start: Start, synapse: Any) -> None:
    worker = await start(axon("a"), role="worker", heartbeat_s=7)
    await worker.stop()
    for sent in synapse.of(*PRESENCE[:3]):
        host = sent.signal.meta.pop("dendrite")
        assert is_token(host)
        assert sent.signal.meta == {"role": "neuron", "heartbeat_s": 7, "load": 0, "pulse_s": 1.0}
    assert {sent.signal.type for sent in synapse.of(*PRESENCE[:3])} == set(PRESENCE[:3])


@pytest.mark.clause("P-4.8")
@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({}, ["a", "b"]),
        ({"neuron": "a"}, ["a"]),
        ({"capabilities": ["x"]}, ["a", "b"]),
        ({"capabilities": ["x", "y"]}, ["b"]),
        ({"neuron": "a", "capabilities": ["y"]}, []),
        ({"neuron": "c"}, []),
    ],
)
@pytest.mark.parametrize("reply_to", ["asker", None, "a.b"])
async def test_host_answers_discover_for_matching_neurons(
    start: Start, synapse: Any, wish: dict[str, Any], found: list[str], reply_to: str | None
) -> None:
    await start(axon("a", "x"), axon("b", "x", "y"), role="worker")
    discover = Signal.new(SignalType.DISCOVER, wish, meta={"reply_to": reply_to} if reply_to else {})
    await synapse.publish("cosmonapse.test.DISCOVER", encode(discover))
    for _ in range(50):
        await asyncio.sleep(0)
    answers = [sent for sent in synapse.of(SignalType.REGISTER) if sent.signal.parent_id == discover.id]
    assert [sent.signal.directed.id for sent in answers] == found
    inbox = ".inbox.asker" if reply_to == "asker" else ""
    assert {sent.subject for sent in answers} <= {f"cosmonapse.test.REGISTER{inbox}"}


@pytest.mark.clause("P-4.9", "P-4.10")
async def test_dendrite_sends_discover_at_start_and_for_a_missing_neuron(start: Start, synapse: Any) -> None:
    orchestrator = await start()
    with pytest.raises(NoRouteError):
        await orchestrator.dispatch_and_wait(neuron="a", input={})
    with pytest.raises(NoRouteError):
        await orchestrator.dispatch_and_wait(capabilities=["x", "y"], input={})
    asked = [sent.signal.payload for sent in synapse.of(SignalType.DISCOVER)]
    assert asked == [{}, {"neuron": "a"}, {"capabilities": ["x", "y"]}]
    assert synapse.of(SignalType.TASK) == []


@pytest.mark.clause("P-4.11")
async def test_announcements_begin_their_own_traces(start: Start, synapse: Any) -> None:
    worker = await start(axon("a"), axon("b"), role="worker")
    orchestrator = await start()
    await orchestrator.dispatch_and_wait(neuron="a", input={})
    await worker.stop()
    presence = [sent.signal for sent in synapse.of(*PRESENCE)]
    roots = [signal for signal in presence if signal.parent_id is None]
    assert len({signal.trace_id for signal in roots}) == len(roots)
    asked = {signal.id: signal for signal in roots if signal.type is SignalType.DISCOVER}
    answers = [signal for signal in presence if signal.parent_id is not None]
    assert answers
    for answer in answers:
        assert answer.type is SignalType.REGISTER
        assert answer.trace_id == asked[answer.parent_id].trace_id
    others = {sent.signal.trace_id for sent in synapse.sent if sent.signal.type not in PRESENCE}
    assert others.isdisjoint(signal.trace_id for signal in presence)


@pytest.mark.clause("P-4.7")
def test_unnamed_hosts_count_as_one() -> None:
    view = Directory(lambda: 0.0, 30)
    view.receive(register())
    view.receive(register("b"))
    assert [record.dendrite for record in view.records()] == ["unknown", "unknown"]
    view.receive(Signal.new(SignalType.DEREGISTER, {}, directed=Directed("a")))
    assert [record.neuron_id for record in view.records()] == ["b"]


@pytest.mark.clause("P-4.12")
@pytest.mark.parametrize(
    ("load", "taken"),
    [(0, 0), (7, 7), (1_000_000, 1_000_000), (1_000_001, 0), (-1, 0), (1.5, 0), ("7", 0), (None, 0)],
)
def test_invalid_load_counts_as_zero(load: Any, taken: int) -> None:
    view = Directory(lambda: 0.0, 30)
    view.receive(register(dendrite="h", load=load))
    assert view.records()[0].load == taken


@pytest.mark.clause("P-4.13")
def test_hosts_of_one_neuron_are_bounded_and_the_rest_is_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_NEURONS", 2)
    view = Directory(lambda: 0.0, 30)
    for host in ("h1", "h2", "h3", "h4", "h1"):
        view.receive(register(dendrite=host))
    assert [record.dendrite for record in view.records()] == ["h1", "h2"]
    assert view.ignored == 2
    assert caplog.text.count("further ones are ignored") == 1
    view.receive(Signal.new(SignalType.DEREGISTER, {}, directed=Directed("a"), meta={"dendrite": "h1"}))
    view.receive(register(dendrite="h3"))
    assert [record.dendrite for record in view.records()] == ["h2", "h3"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER]),
            st.sampled_from(["h1", "h2", "h3"]),
            st.integers(0, 9),
        ),
        max_size=20,
    )
)
def test_load_of_a_neuron_is_the_sum_of_its_hosts(events: list[tuple[SignalType, str, int]]) -> None:
    view = Directory(lambda: 0.0, 30)
    payloads: dict[SignalType, dict[str, Any]] = {
        SignalType.REGISTER: {"role": "neuron", "capabilities": []},
        SignalType.HEARTBEAT: {"status": "ok"},
        SignalType.DEREGISTER: {},
    }
    for type, host, load in events:
        meta = {"dendrite": host, "load": load}
        view.receive(Signal.new(type, payloads[type], directed=Directed("a"), meta=meta))
        loads = [record.load for record in view.records()]
        busyness = view._neurons["a"].busyness if loads else 0
        assert busyness == (sum(loads) / len(loads) if loads else 0)


@pytest.mark.clause("P-4.13")
def test_capabilities_are_bounded() -> None:
    names = [f"c{number}" for number in range(MAX_CAPABILITIES + 1)]
    for type in (SignalType.REGISTER, SignalType.TASK, SignalType.TASK_OFFER, SignalType.DISCOVER):
        payload = {"role": "neuron", "input": {}, "capabilities": names}
        with pytest.raises(MalformedSignalError, match=r"payload.capabilities: .* length <= 1000"):
            Signal.new(type, payload)
        Signal.new(type, {**payload, "capabilities": names[1:]})
    with pytest.raises(ValueError, match="'a' has 1001 capabilities, of at most 1000"):
        Axon(neuron_id="a", neuron_fn=lambda input, context: {}, capabilities=names)


def test_error_lists_some_of_many_known_names() -> None:
    error = NoRouteError("Neuron 'a'", [f"n{number:05}" for number in range(80_000)])
    assert str(error).endswith("n00018, n00019 and 79980 more")
    assert len(error.known) == 80_000
    assert str(NoRouteError("Neuron 'a'", "bc")).endswith("known: b, c")


@pytest.mark.clause("P-4.13")
def test_directory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MAX_NEURONS == 100_000
    monkeypatch.setattr(module, "MAX_NEURONS", 2)
    view = Directory(lambda: 0.0, 30)
    for name in "abc":
        view.receive(register(name, dendrite="h"))
    view.receive(register("a", dendrite="other"))
    assert [record.neuron_id for record in view.records()] == ["a", "b"]
