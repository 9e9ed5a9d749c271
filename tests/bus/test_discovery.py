"""Discovery: announcements, the directory and its expiry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import NoRouteError, Signal, SignalType, decode
from cosmo_core.dendrite.discovery.directory import MISSED_HEARTBEATS, Directory
from cosmo_core.protocol.signal import Directed
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, echo


def announcement(type: SignalType, neuron: str, host: object, **payload: Any) -> Signal:
    if type is SignalType.REGISTER:
        payload = {"role": "neuron", "capabilities": [], **payload}
    meta = {"dendrite": host, "heartbeat_s": 10}
    return Signal.new(type, payload, directed=Directed(neuron), meta=meta)


@pytest.mark.clause("P-4.1", "P-4.4", "P-9.10")
async def test_worker_emits_register_heartbeat_and_deregister(start: Start, synapse: MemorySynapse) -> None:
    announced: list[Signal] = []
    heartbeat_sent = asyncio.Event()

    def listen(frame: bytes) -> None:
        announced.append(decode(frame))
        if announced[-1].type is SignalType.HEARTBEAT:
            heartbeat_sent.set()

    await synapse.subscribe("cosmonapse.test.*", listen)
    worker = await start(echo, role="worker", axon={"capabilities": ["x"], "version": "2"}, heartbeat_s=0.01)
    await heartbeat_sent.wait()
    await worker.stop("done")
    first, last = announced[0], announced[-1]
    assert first.type is SignalType.REGISTER
    assert first.payload == {"role": "neuron", "capabilities": ["x"], "version": "2"}
    assert first.directed == Directed("echo", "neuron", ("x",))
    assert last.type is SignalType.DEREGISTER
    assert last.payload == {"reason": "done"}


@pytest.mark.clause("P-4.6")
def test_silent_neuron_is_swept_after_three_own_heartbeats() -> None:
    now = 0.0
    directory = Directory(lambda: now, 999)
    directory.receive(announcement(SignalType.REGISTER, "a", "host1"))
    directory.receive(announcement(SignalType.REGISTER, "b", "host1"))
    now = 20.0
    directory.receive(announcement(SignalType.HEARTBEAT, "b", "host1", status="ok"))
    now = MISSED_HEARTBEATS * 10.0
    directory.sweep()
    assert [record.neuron_id for record in directory.records()] == ["b"]
    now = 20.0 + MISSED_HEARTBEATS * 10.0
    directory.sweep()
    assert directory.records() == []


@pytest.mark.clause("P-4.7")
def test_directory_keeps_neuron_while_one_replica_remains() -> None:
    directory = Directory(lambda: 0.0, 30)
    directory.receive(announcement(SignalType.REGISTER, "a", "host1"))
    directory.receive(announcement(SignalType.REGISTER, "a", "host2"))
    directory.receive(announcement(SignalType.DEREGISTER, "a", "host1"))
    assert directory.find("a", ()) == "a"
    directory.receive(announcement(SignalType.HEARTBEAT, "a", "host2", status="draining"))
    assert directory.find("a", ()) is None


@pytest.mark.clause("P-4.12")
@pytest.mark.parametrize(
    "signal",
    [
        Signal.new(SignalType.REGISTER, {"role": "neuron", "capabilities": []}),
        announcement(SignalType.REGISTER, "a", 7),
        announcement(SignalType.REGISTER, "a", "a.b"),
        announcement(SignalType.REGISTER, "a", "host", role="engram"),
        announcement(SignalType.HEARTBEAT, "a", "host", status="ok"),
        announcement(SignalType.DEREGISTER, "a", "host"),
    ],
    ids=["unknown", "host-number", "host-dots", "engram", "heartbeat", "deregister"],
)
def test_directory_ignores_signal_that_announces_no_neuron(signal: Signal) -> None:
    directory = Directory(lambda: 0.0, 30)
    directory.receive(signal)
    assert directory.records() == []


@pytest.mark.clause("P-4.6")
@pytest.mark.parametrize("interval", [None, 0, -1, 1e12, "often", float("nan")])
def test_invalid_heartbeat_interval_is_replaced_by_default(interval: object) -> None:
    directory = Directory(lambda: 0.0, 30)
    signal = announcement(SignalType.REGISTER, "a", "host")
    signal.meta["heartbeat_s"] = interval
    directory.receive(signal)
    assert directory.records()[0].expires == 90


@pytest.mark.clause("P-3.4")
async def test_namespaces_are_isolated(start: Start) -> None:
    await start(echo, role="worker", namespace="theirs")
    mine = await start(namespace="mine")
    with pytest.raises(NoRouteError, match="known: none"):
        await mine.dispatch_and_wait(neuron="echo", input={})


@pytest.mark.clause("P-4.10")
async def test_dispatch_finds_neuron_that_starts_during_discovery(start: Start) -> None:
    orchestrator = await start(discovery_s=5)
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1}))
    await asyncio.sleep(0)
    await start(echo, role="worker")
    assert (await reply).payload["output"] == {"a": 1}


async def test_dispatch_to_stale_neuron_gets_no_route(start: Start) -> None:
    orchestrator = await start()
    orchestrator._directory.receive(announcement(SignalType.REGISTER, "stale", "stopped"))
    answer = await orchestrator.dispatch_and_wait(neuron="stale", input={}, timeout_s=5)
    assert answer.payload["code"] == "NO_ROUTE"


async def test_discovery_with_zero_timeout_still_finds_neuron(start: Start) -> None:
    await start(echo, role="worker")
    # The discovery time ends before any answer can be read.
    orchestrator = await start(discovery_s=0)
    assert (await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1})).payload["output"] == {"a": 1}
