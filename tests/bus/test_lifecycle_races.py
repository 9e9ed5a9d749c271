"""Races between start, stop, and adding or detaching Axons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    FrameHandler,
    LifecycleError,
    Signal,
    SignalType,
    Subscription,
    SynapseError,
)
from cosmo_core.plugins import Forward, PluginManager, hookimpl
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Patterns, Start, echo


def axon(name: str, neuron: Any = echo) -> Axon:
    return Axon(neuron_id=name, neuron_fn=neuron)


def unstarted(synapse: MemorySynapse, *axons: Axon, plugins: PluginManager | None = None) -> Dendrite:
    dendrite = Dendrite(synapse=synapse, namespace="test", plugins=plugins or PluginManager())
    for each in axons:
        dendrite.attach_axon(each)
    return dendrite


class Stuck:
    """A Neuron that never answers and records its start, its cancellation and its close."""

    def __init__(self) -> None:
        self.running, self.ended, self.closed = asyncio.Event(), False, 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True

    async def aclose(self) -> None:
        self.closed += 1


class Gate:
    """Blocks or fails `subscribe` for patterns that end in ``at``."""

    def __init__(self, synapse: MemorySynapse, at: str, refuses: bool = False) -> None:
        self.entered, self.open = asyncio.Event(), asyncio.Event()
        self._at, self._refuses = at, refuses
        self._subscribe = synapse.subscribe

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        if pattern.endswith(self._at):
            if self._refuses:
                raise SynapseError("no more subscriptions")
            self.entered.set()
            await self.open.wait()
        return await self._subscribe(pattern, handler, queue_group=queue_group)


@pytest.fixture
def gated(synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gate]:
    def gated(at: str, *, refuses: bool = False) -> Gate:
        gate = Gate(synapse, at, refuses)
        monkeypatch.setattr(synapse, "subscribe", gate.subscribe)
        return gate

    return gated


# --- start --------------------------------------------------------------------------------------------


async def test_stop_during_start_aborts_start(
    synapse: MemorySynapse, gated: Callable[..., Gate], patterns: Patterns
) -> None:
    dendrite, gate = unstarted(synapse, axon("a")), gated("DISCOVER")
    starting = asyncio.create_task(dendrite.start())
    await gate.entered.wait()
    await dendrite.stop()
    gate.open.set()
    with pytest.raises(LifecycleError, match="stopped while it started"):
        await starting
    assert patterns() == set()


async def test_failed_start_leaves_dendrite_stopped(
    synapse: MemorySynapse, gated: Callable[..., Gate], patterns: Patterns
) -> None:
    dendrite = unstarted(synapse)
    gated("DISCOVER", refuses=True)
    with pytest.raises(SynapseError):
        await dendrite.start()
    with pytest.raises(LifecycleError):
        await dendrite.add_axon(axon("a"))
    assert patterns() == set()


# --- stop ---------------------------------------------------------------------------------------------


async def test_cancelled_stop_cancels_running_tasks(start: Start, synapse: MemorySynapse) -> None:
    neuron = Stuck()
    worker = unstarted(synapse, axon("a", neuron))
    await worker.start()
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await neuron.running.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await worker.stop()
    assert neuron.ended
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "CANCELLED"
    assert neuron.closed == 1


async def test_cancelled_stop_cancels_handlers(start: Start) -> None:
    dendrite = await start()
    entered, ended = asyncio.Event(), asyncio.Event()

    @dendrite.on_plan
    async def stuck(_: object) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    pathway = await dendrite.observe_pathway("trc_" + "0" * 26)
    async with await dendrite.watch(SignalType.PLAN, lambda _: None):
        await dendrite.emit_plan(pathway.trace_id, [])
    await entered.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await dendrite.stop()
    assert ended.is_set()


async def test_task_held_by_middleware_does_not_run_after_stop(start: Start, synapse: MemorySynapse) -> None:
    held, release, ran = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class HoldingTasks:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def hold(signal: Any, forward: Forward) -> Any:
                if signal.type is SignalType.TASK:
                    held.set()
                    await release.wait()
                return await forward(signal)

            return hold if direction == "inbound" else None

    async def note(input: dict[str, Any], context: list[Any]) -> Any:
        ran.set()
        return {}

    plugins = PluginManager()
    plugins.register(HoldingTasks(), name="holding")
    worker = unstarted(synapse, axon("a", note), plugins=plugins)
    await worker.start()
    pathway = await (await start()).dispatch(neuron="a", input={})
    await held.wait()
    await worker.stop()
    release.set()
    answer = await pathway.wait(timeout_s=5)
    assert (answer.payload["code"], answer.payload["recoverable"]) == ("OVERLOADED", True)
    assert "is shutting down" in answer.payload["message"]
    assert not ran.is_set()


# --- added and detached Axons ---------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["TASK.neuron.b", "STOP.neuron.b", "STOP", "TASK"])
async def test_add_axon_during_stop_raises(
    start: Start, gated: Callable[..., Gate], patterns: Patterns, at: str
) -> None:
    worker = await start()
    gate = gated(at)
    adding = asyncio.create_task(worker.add_axon(axon("b")))
    await gate.entered.wait()
    stopping = asyncio.create_task(worker.stop())
    while not worker._host._stopping:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0)
    gate.open.set()
    with pytest.raises(LifecycleError):
        await adding
    await stopping
    assert patterns() == set()
    assert worker.axons == []


async def test_failed_add_axon_leaves_no_subscription(
    start: Start, gated: Callable[..., Gate], patterns: Patterns
) -> None:
    worker = await start(axon("a"))
    before = patterns()
    gated("TASK.neuron.b", refuses=True)
    with pytest.raises(SynapseError):
        await worker.add_axon(axon("b"))
    assert patterns() == before


class Unannounced:
    """A hook that fails on the outbound announcements of one type for the Neuron ``b``."""

    def __init__(self, type: SignalType) -> None:
        self.type, self.broken = type, True

    @hookimpl
    def cosmo_signal_middleware(self, direction: str) -> Any:
        async def announce(signal: Signal, forward: Forward) -> Any:
            named = signal.directed is not None and signal.directed.id == "b"
            if signal.type is self.type and named and self.broken:
                raise ZeroDivisionError
            return await forward(signal)

        return announce if direction == "outbound" else None


@pytest.mark.parametrize("type", [SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER])
async def test_neuron_that_cannot_be_announced_is_not_left_attached(
    start: Start, patterns: Patterns, type: SignalType
) -> None:
    hook, plugins, neuron = Unannounced(type), PluginManager(), Stuck()
    plugins.register(hook, name="unannounced")
    observer, worker = await start(), await start(axon("a"), plugins=plugins)
    before = patterns()
    if type is SignalType.REGISTER:
        with pytest.raises(ZeroDivisionError):
            await worker.add_axon(axon("b", neuron))
    else:
        await worker.add_axon(axon("b", neuron))
        with pytest.raises(ZeroDivisionError):
            await worker.detach_axon("b")
    assert ([each.neuron_id for each in worker.axons], patterns(), neuron.closed) == (["a"], before, 1)
    hook.broken = False
    await worker.add_axon(axon("b"))
    answer = await observer.dispatch_and_wait(neuron="b", input={}, timeout_s=5)
    assert answer.payload == {"output": {}}


async def test_added_and_detached_axons_leave_no_subscription(start: Start) -> None:
    worker = await start()
    counts = []
    for _ in range(3):
        await worker.add_axon(axon("a"))
        await worker.detach_axon("a")
        counts.append(len(worker._link._subscriptions))
    assert counts == [counts[0]] * 3


async def test_cancelled_detach_still_removes_neuron(start: Start) -> None:
    neuron = Stuck()
    worker = await start(axon("a", neuron))
    orchestrator = await start()
    deregistered: asyncio.Queue[Any] = asyncio.Queue()
    await orchestrator.watch(SignalType.DEREGISTER, deregistered.put_nowait)
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await neuron.running.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await worker.detach_axon("a")
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "CANCELLED"
    assert (neuron.closed, worker.axons, deregistered.qsize()) == (1, [], 1)


async def test_second_detach_of_leaving_neuron_raises(start: Start) -> None:
    neuron = Stuck()
    worker = await start(axon("a", neuron), grace_s=0.01)
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await neuron.running.wait()
    detaching = asyncio.create_task(worker.detach_axon("a"))
    await asyncio.sleep(0)
    with pytest.raises(KeyError):
        await worker.detach_axon("a")
    await detaching
    assert neuron.closed == 1
    pathway.close()


async def test_stop_during_detach_closes_every_neuron(start: Start, patterns: Patterns) -> None:
    neurons = [Stuck() for _ in range(3)]
    worker = await start(*(axon(f"n{n}", neuron) for n, neuron in enumerate(neurons)), grace_s=0.01)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.detach_axon("n1"))
        await asyncio.sleep(0)
        group.create_task(worker.stop())
    assert all(neuron.closed for neuron in neurons)
    assert patterns() == set()


@pytest.mark.clause("P-4.4")
async def test_discover_reply_omits_neuron_that_left(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await start(axon("a"), axon("b"))
    entered, release, publish = asyncio.Event(), asyncio.Event(), synapse.publish

    async def slow(subject: str, frame: bytes, **options: Any) -> None:
        if ".REGISTER.inbox." in subject:
            entered.set()
            await release.wait()
        await publish(subject, frame, **options)

    monkeypatch.setattr(synapse, "publish", slow)
    late = await start()
    await entered.wait()
    await worker.detach_axon("b")
    release.set()
    await late.wait_until_ready(neuron="a", timeout_s=5)
    while _unfinished(synapse):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    assert [record.neuron_id for record in late.find_neurons()] == ["a"]


def _unfinished(synapse: MemorySynapse) -> bool:
    return any(subscription._runner.in_flight for subscription in synapse._subscriptions)
