"""A state machine that compares several Dendrites on an unreliable bus with a simple model.

Time is virtual: an idle event loop jumps to its next timer, so timeouts and heartbeats take no time.

A long run: ``COSMO_EXAMPLES=10000 pytest tests/property/test_bus_machine.py``.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cosmo_core import (
    Axon,
    CosmoError,
    CurrentTask,
    Dendrite,
    NeuronError,
    Signal,
    SignalType,
    current_task,
    decode,
)
from cosmo_core.contracts.delivery import FrameHandler
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.signal import address
from cosmo_synapse_memory import MemoryBus, MemorySynapse
from cosmo_synapse_memory.synapse import MemorySubscription
from cosmo_testing import VirtualTimeLoop, assert_valid_trace

T = TypeVar("T")

NAMESPACES: Final = ("red", "blue")
NEURONS: Final = {"a": ("x",), "b": ("x", "y"), "c": ("y", "z"), "d": ()}
BEHAVIOURS: Final = ("answer", "wait", "fail", "stream", "raise")
DISCOVERY_TYPES: Final = {
    SignalType.REGISTER,
    SignalType.HEARTBEAT,
    SignalType.DEREGISTER,
    SignalType.DISCOVER,
}
REPEATABLE_TYPES: Final = {
    SignalType.TASK,
    SignalType.STOP,
    SignalType.REGISTER,
    SignalType.HEARTBEAT,
    SignalType.DEREGISTER,
}
REPEATED_S: Final = 100.0
WINDOW: Final = 100
TIMEOUT_S: Final = 20.0
GRACE_S: Final = 15.0
HEARTBEAT_S: Final = 30.0


@attrs.frozen
class LoopClock:
    """The event loop's time, as the clock of Dendrites."""

    loop: asyncio.AbstractEventLoop

    def now(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class UnreliableSynapse(MemorySynapse):
    """A memory Synapse that repeats frames, or sends a frame after the next one.

    A repeated frame goes to the same subscriber: the bus chooses the member of a queue group once per frame.
    """

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.repeat = False
        self.delay = False
        self._flushing: asyncio.Task[None] | None = None
        # The latest deliveries of types that may be repeated: when, to which handler, and the frame.
        self.delivered: deque[tuple[float, str, FrameHandler, bytes]] = deque(maxlen=200)
        self._late: list[tuple[str, bytes, dict[str, Any]]] = []

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if self.delay and not self._late:
            self._late.append((subject, frame, options))
            asyncio.get_running_loop().call_later(1.0, self._flush_later)
            return
        await super().publish(subject, frame, **options)
        await self._flush()

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> MemorySubscription:
        def handle(frame: bytes) -> Awaitable[None] | None:
            signal = decode(frame)
            if signal.type in REPEATABLE_TYPES and signal.payload.get("status") != "ok":
                self.delivered.append((asyncio.get_running_loop().time(), pattern, handler, frame))
            first = handler(frame)
            second = handler(frame) if self.repeat else None
            if first is None or second is None:
                return first or second
            return self._both(first, second)

        return await super().subscribe(pattern, handle, queue_group=queue_group)

    async def deliver_again(self, which: int) -> None:
        """Repeat a delivery of the last 100 seconds, to a subscription that still exists."""
        since = asyncio.get_running_loop().time() - REPEATED_S
        patterns = {subscription._consumer.pattern for subscription in self._subscriptions}
        recent = [each for each in self.delivered if each[0] > since and each[1] in patterns]
        if recent:
            _, _, handler, frame = recent[which % len(recent)]
            if (work := handler(frame)) is not None:
                await work

    async def _both(self, first: Awaitable[None], second: Awaitable[None]) -> None:
        await first
        await second

    def _flush_later(self) -> None:
        self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        late, self._late = self._late, []
        for subject, frame, options in late:
            if self._connected:
                await super().publish(subject, frame, **options)


@attrs.define(eq=False)
class BusMember:
    """A Dendrite and its state in the model."""

    namespace: str
    synapse: UnreliableSynapse
    dendrite: Dendrite
    alive: bool = True


@attrs.define(eq=False)
class PendingDispatch:
    """A dispatch and the asyncio task that waits for its end."""

    namespace: str
    waiting: asyncio.Task[Signal]


class BusMachine(RuleBasedStateMachine):
    """Dendrites start, stop and crash; TASKs are dispatched, cancelled and answered."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.bus = MemoryBus()
        self.members: list[BusMember] = []
        self.dispatches: list[PendingDispatch] = []
        self.gate = asyncio.Event()
        # The id of a TASK or an award, once per start of a Neuron.
        self.begun: list[str] = []
        # The Neurons that their hosts deregistered: namespace, id and host, and when others know it.
        self.departed: dict[tuple[str, str, str], float] = {}
        # By stopped trace: the id of the STOP, and the hosts that acknowledged it.
        self.stopped: dict[str, tuple[str, set[str]]] = {}
        self.begun_after_stop: list[Signal] = []
        self.foreign_inputs: list[Any] = []
        self.traces: dict[str, dict[str, Signal]] = {}
        self.run(self.subscribe_all())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def subscribe_all(self) -> None:
        """Record every Signal on the bus."""
        self.recorder = MemorySynapse(self.bus)
        await self.recorder.connect()
        await self.recorder.subscribe("cosmonapse.>", self.record)

    def record(self, frame: bytes) -> None:
        signal = decode(frame)
        if signal.type in DISCOVERY_TYPES:
            return
        self.traces.setdefault(signal.trace_id, {}).setdefault(signal.id, signal)

    def note_begin(self, dendrite: Dendrite, task: CurrentTask) -> None:
        self.begun.append(task.id)
        stop_id, hosts = self.stopped.get(task.trace_id, ("", set()))
        begun = self.traces[task.trace_id][task.id]
        # An award counts as made when its bid was.
        cause = begun.parent_id if begun.type is SignalType.TASK_AWARDED else begun.id
        if dendrite._inbox in hosts and (cause or "") < stop_id:
            self.begun_after_stop.append(begun)

    def neuron(self, dendrite: Dendrite) -> Callable[..., AsyncIterator[Any]]:
        namespace = dendrite.namespace

        async def neuron(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
            task = current_task()
            assert task is not None
            self.note_begin(dendrite, task)
            if input["namespace"] != namespace:
                self.foreign_inputs.append(input)
            match input["behaviour"]:
                case "wait":
                    await self.gate.wait()
                case "fail":
                    raise NeuronError("it fails", recoverable=True)
                case "raise":
                    raise ValueError
                case "stream":
                    for number in range(3):
                        yield str(number)
                        await asyncio.sleep(0)
            yield {"done": task.id}

        return neuron

    def axon(self, dendrite: Dendrite, name: str, limit: int) -> Axon:
        return Axon(
            neuron_id=name,
            neuron_fn=self.neuron(dendrite),
            capabilities=NEURONS[name],
            max_concurrency=limit,
            max_backlog=limit,
        )

    async def run_ready_tasks(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    def pick(self, index: int, namespace: str | None = None) -> BusMember | None:
        fitting = [
            member for member in self.members if member.alive and namespace in {None, member.namespace}
        ]
        return fitting[index % len(fitting)] if fitting else None

    # --- Dendrites ----------------------------------------------------------------------------------

    @precondition(lambda self: sum(member.alive for member in self.members) < 5)
    @rule(
        namespace=st.sampled_from(NAMESPACES),
        names=st.sets(st.sampled_from(sorted(NEURONS))),
        limit=st.integers(1, 3),
        heartbeat_s=st.sampled_from((2.0, HEARTBEAT_S)),
    )
    def start(self, namespace: str, names: set[str], limit: int, heartbeat_s: float) -> None:
        async def start() -> None:
            synapse = UnreliableSynapse(self.bus)
            await synapse.connect()
            dendrite = Dendrite(
                synapse=synapse,
                namespace=namespace,
                heartbeat_s=heartbeat_s,
                grace_s=GRACE_S,
                clock=LoopClock(self.loop),
                plugins=PluginManager(),
            )
            # Small, so that one kind of Signal can flush a window that it shares with another.
            for window in (dendrite._seen_tasks, dendrite._stopped._tasks, dendrite._stopped._stops):
                window._capacity = WINDOW
            for name in sorted(names):
                dendrite.attach_axon(self.axon(dendrite, name, limit))
            await dendrite.start()
            self.members.append(BusMember(namespace, synapse, dendrite))
            await self.run_ready_tasks()

        self.run(start())

    @rule(index=st.integers(0, 4))
    def stop(self, index: int) -> None:
        member = self.pick(index)
        if member is not None:
            member.alive = False
            hosted = [axon.neuron_id for axon in member.dendrite.axons]
            self.run(self.disconnect(member))
            for name in hosted:
                self.note_departure(member, name)

    def note_departure(self, member: BusMember, name: str) -> None:
        # A frame may be late by a second.
        late_s = 1.5 if member.synapse.delay else 0.0
        self.departed[member.namespace, name, member.dendrite._inbox] = self.loop.time() + late_s

    async def disconnect(self, member: BusMember) -> None:
        member.synapse.delay = False
        await member.dendrite.stop()
        await member.synapse.close()

    @rule(index=st.integers(0, 4))
    def kill(self, index: int) -> None:
        """Disconnect a Dendrite without a goodbye."""
        member = self.pick(index)
        if member is not None:
            member.alive = False
            self.run(member.synapse.close())

    @rule(index=st.integers(0, 4), name=st.sampled_from(sorted(NEURONS)), limit=st.integers(1, 3))
    def attach(self, index: int, name: str, limit: int) -> None:
        member = self.pick(index)
        if member is not None and name not in {axon.neuron_id for axon in member.dendrite.axons}:
            self.departed.pop((member.namespace, name, member.dendrite._inbox), None)
            self.run(member.dendrite.add_axon(self.axon(member.dendrite, name, limit)))
            self.run(self.run_ready_tasks())

    @rule(index=st.integers(0, 4), name=st.sampled_from(sorted(NEURONS)))
    def detach(self, index: int, name: str) -> None:
        member = self.pick(index)
        if member is not None and name in {axon.neuron_id for axon in member.dendrite.axons}:
            self.run(member.dendrite.detach_axon(name))
            self.note_departure(member, name)

    # --- work ---------------------------------------------------------------------------------------

    def start_dispatch(self, member: BusMember, reply: Coroutine[Any, Any, Signal]) -> None:
        self.dispatches.append(PendingDispatch(member.namespace, self.loop.create_task(reply)))
        self.run(self.run_ready_tasks())

    @rule(
        index=st.integers(0, 4), name=st.sampled_from(sorted(NEURONS)), behaviour=st.sampled_from(BEHAVIOURS)
    )
    def dispatch(self, index: int, name: str, behaviour: str) -> None:
        if (member := self.pick(index)) is not None:
            input = {"namespace": member.namespace, "behaviour": behaviour}
            reply = member.dendrite.dispatch_and_wait(neuron=name, input=input, timeout_s=TIMEOUT_S)
            self.start_dispatch(member, reply)

    @rule(
        index=st.integers(0, 4),
        capabilities=st.sets(st.sampled_from("xyz"), min_size=1),
        behaviour=st.sampled_from(BEHAVIOURS),
    )
    def dispatch_by_capability(self, index: int, capabilities: set[str], behaviour: str) -> None:
        if (member := self.pick(index)) is not None:
            input = {"namespace": member.namespace, "behaviour": behaviour}
            reply = member.dendrite.dispatch_and_wait(
                capabilities=sorted(capabilities), input=input, timeout_s=TIMEOUT_S
            )
            self.start_dispatch(member, reply)

    @rule(
        index=st.integers(0, 4),
        capability=st.sampled_from("xyz"),
        behaviour=st.sampled_from(BEHAVIOURS),
        select=st.sampled_from(("first_bid", "lowest_cost", "highest_confidence")),
    )
    def offer(self, index: int, capability: str, behaviour: str, select: Any) -> None:
        if (member := self.pick(index)) is None:
            return
        dendrite, input = member.dendrite, {"namespace": member.namespace, "behaviour": behaviour}

        async def offer() -> Signal:
            async with await dendrite.dispatch_offer(
                capabilities=[capability], input=input, select=select
            ) as pathway:
                return await pathway.wait(TIMEOUT_S)

        self.start_dispatch(member, offer())

    @rule(index=st.integers(0, 20))
    def cancel(self, index: int) -> None:
        waiting = [dispatch.waiting for dispatch in self.dispatches if not dispatch.waiting.done()]
        if waiting:
            waiting[index % len(waiting)].cancel()
            self.run(self.run_ready_tasks())

    @rule(index=st.integers(0, 4), which=st.one_of(st.integers(0, 1), st.integers(0, 20)))
    def stop_trace(self, index: int, which: int) -> None:
        member = self.pick(index)
        traces = [
            trace_id
            for trace_id, signals in self.traces.items()
            if next(iter(signals.values())).type in {SignalType.TASK, SignalType.TASK_OFFER}
        ]
        if member is not None and traces:
            # The latest one first: it may still run, or take bids.
            trace_id = traces[-1 - which % len(traces)]
            answers = self.run(member.dendrite.stop_trace(trace_id))
            if answers:
                hosts = {answer.meta["dendrite"] for answer in answers}
                self.stopped[trace_id] = (answers[0].parent_id or "", hosts)

    @rule()
    def open_gate(self) -> None:
        gate, self.gate = self.gate, asyncio.Event()
        gate.set()
        self.run(self.run_ready_tasks())

    # --- faults and time ----------------------------------------------------------------------------

    @rule(index=st.integers(0, 4), repeat=st.booleans(), delay=st.booleans())
    def set_faults(self, index: int, repeat: bool, delay: bool) -> None:
        if (member := self.pick(index)) is not None:
            member.synapse.repeat, member.synapse.delay = repeat, delay

    @rule(index=st.integers(0, 4), which=st.integers(0, 199))
    def repeat_delivery(self, index: int, which: int) -> None:
        if (member := self.pick(index)) is not None:
            self.loop.create_task(member.synapse.deliver_again(which))
            self.run(self.run_ready_tasks())

    @rule(index=st.integers(0, 4), name=st.sampled_from(sorted(NEURONS)))
    def flood_with_stops(self, index: int, name: str) -> None:
        """Stop more unknown TASKs than a window holds."""
        if (member := self.pick(index)) is None:
            return

        async def flood() -> None:
            for n in range(3 * WINDOW):
                unknown: Any = {"parent_id": f"evt_{n:026d}", "directed": address(name)}
                await member.dendrite.emit(Signal.new(SignalType.STOP, {"rollback": False}, **unknown))

        self.run(flood())

    @rule(seconds=st.floats(0, 4 * HEARTBEAT_S))
    def pass_time(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # --- invariants ---------------------------------------------------------------------------------

    @invariant()
    def no_ghosts(self) -> None:
        now = self.loop.time()
        gone = {place for place, known_at in self.departed.items() if known_at <= now}
        for member in self.members:
            if member.alive:
                records = member.dendrite.find_neurons()
                known = {(member.namespace, record.neuron_id, record.dendrite) for record in records}
                assert not known & gone, "a Neuron that was deregistered is known"

    def teardown(self) -> None:
        try:
            self.run(self.finish())
            self.check()
        finally:
            self.loop.close()

    async def finish(self) -> None:
        for member in self.members:
            member.synapse.delay = False
        self.gate.set()
        await asyncio.sleep(TIMEOUT_S + 5)
        # Each live host has announced itself again by then, and killed ones have expired.
        await asyncio.sleep(5 * HEARTBEAT_S)
        self.check_directories()
        for member in self.members:
            await self.disconnect(member)
        await self.recorder.close()
        await self.run_ready_tasks()
        await asyncio.wait(
            [dispatch.waiting for dispatch in self.dispatches]
            or [self.loop.create_task(self.run_ready_tasks())]
        )

    def check_directories(self) -> None:
        """Each live Dendrite knows the Neurons of its namespace that are hosted, and no ghosts."""
        alive = [member for member in self.members if member.alive]
        for member in alive:
            known = {(record.neuron_id, record.dendrite) for record in member.dendrite.find_neurons()}
            hosted = {
                (axon.neuron_id, other.dendrite._inbox)
                for other in alive
                if other.namespace == member.namespace
                for axon in other.dendrite.axons
            }
            assert known == hosted

    def check(self) -> None:
        assert not self.begun_after_stop, "a TASK was run after its trace was stopped"
        assert not self.foreign_inputs, "a Neuron got a TASK of another namespace"
        assert len(set(self.begun)) == len(self.begun), "a TASK was run twice"
        for dispatch in self.dispatches:
            assert dispatch.waiting.done(), "a dispatch never ended"
            if not dispatch.waiting.cancelled() and (error := dispatch.waiting.exception()) is not None:
                assert isinstance(error, (CosmoError, TimeoutError)), repr(error)
        for signals in self.traces.values():
            # In the order of creation: the unreliable bus reorders even the Signals of one sender.
            assert_valid_trace(sorted(signals.values(), key=lambda signal: signal.id))
        self.check_no_leaks()

    def check_no_leaks(self) -> None:
        left = asyncio.all_tasks(self.loop)
        assert not left, left
        assert not self.bus.router._table.route("cosmonapse.red.TASK.neuron.a").targets
        for member in self.members:
            assert member.dendrite._pathways.pathways() == []
            assert not member.synapse._subscriptions


@pytest.mark.clause("P-3.4", "P-3.12", "P-5.5", "P-5.6")
@pytest.mark.timeout(3600)
def test_bus_matches_model() -> None:
    examples = int(os.environ.get("COSMO_EXAMPLES", "50"))
    run_state_machine_as_test(
        BusMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
