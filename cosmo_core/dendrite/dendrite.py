"""The Dendrite: the face of its rooms, and their order at the start and at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Self

from cosmo_core.contracts.clock import SystemClock
from cosmo_core.dendrite.discovery.announcer import Presence
from cosmo_core.dendrite.discovery.directory import NeuronRecord, View
from cosmo_core.dendrite.discovery.resolver import Finder
from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
from cosmo_core.dendrite.dispatch.pathway_registry import Followed
from cosmo_core.dendrite.dispatching import Dispatching
from cosmo_core.dendrite.hosting.host import Host
from cosmo_core.dendrite.hosting.reply_sender import Answers
from cosmo_core.dendrite.hosting.seen_ids import RecentIds
from cosmo_core.dendrite.hosting.stopped_traces import StoppedTraces
from cosmo_core.dendrite.hosting.trace_stopper import TraceStopper
from cosmo_core.dendrite.reliability.failure_detector import FailureDetector
from cosmo_core.dendrite.reliability.undeliverable import Returned
from cosmo_core.dendrite.reliability.watchdog import Guard
from cosmo_core.dendrite.reliability.work_heartbeat import Pulse
from cosmo_core.dendrite.running import not_running
from cosmo_core.dendrite.transport.link import Link, Role
from cosmo_core.errors import LifecycleError
from cosmo_core.extensions.auctions.bidding import Bidder, Bidding
from cosmo_core.extensions.auctions.offers import Auctions, Offering
from cosmo_core.extensions.memory.engrams import Engrams
from cosmo_core.extensions.memory.memory import Memory
from cosmo_core.extensions.memory.remembering import Remembering
from cosmo_core.extensions.memory.requests import Requests
from cosmo_core.extensions.watching.watching import Watch, Watching
from cosmo_core.extensions.workflow.answering import Asking
from cosmo_core.extensions.workflow.emitters import Emitters
from cosmo_core.protocol.ids import new_ulid
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.clock import Clock
    from cosmo_core.contracts.synapse import Synapse
    from cosmo_core.plugins import PluginManager


class Dendrite(Asking, Bidding, Dispatching, Emitters, Offering, Remembering, Watching):
    """Hosts Axons and Engrams, announces them, dispatches work and follows it. Use it as ``async with``.

    It is the only part that touches the Synapse, and does not own it: connect it before, close it after.

    Args:
        synapse: A connected Synapse; Dendrites may share one.
        namespace: A token. Dendrites of different namespaces never see each other.
        role: ``"worker"`` may serve TASKs but not emit orchestration Signals such as TASK or STOP (P-10.2).
        heartbeat_s: Seconds between announcements. Who misses three of their own counts as gone (P-4.6).
        discovery_s: For how many seconds an unknown Neuron is asked for before `NoRouteError`. Raise it
            where an answer over the bus takes longer.
        grace_s: For how many seconds running Neurons may finish when the Dendrite stops.
        pathway_buffer: How many Signals a Pathway keeps for those who read it late, and how many wait for a
            watcher that is busy.
        expose_errors: Let the text of unexpected exceptions travel. By default only their type does.
        clock: The time by which heartbeats are sent and missed; the system's by default.
        plugins: The hooks to use; those of all installed plugins by default.

    Raises:
        MalformedSignalError: The namespace is not a token.
        ValueError: The role is unknown, or a number makes no sense.
    """

    def __init__(
        self,
        *,
        synapse: Synapse,
        namespace: str = "default",
        role: Role = "orchestrator",
        heartbeat_s: float = 30.0,
        discovery_s: float = 0.05,
        grace_s: float = 5.0,
        pathway_buffer: int = 1024,
        expose_errors: bool = False,
        clock: Clock | None = None,
        plugins: PluginManager | None = None,
    ) -> None:
        _check_arguments(role, heartbeat_s, discovery_s, grace_s, pathway_buffer)
        self.namespace = namespace
        self.role = role
        self._heartbeat_s = heartbeat_s
        self._discovery_s = discovery_s
        self._grace_s = grace_s
        self._buffer = pathway_buffer
        self._plugins = plugins
        self._lifetime: contextlib.AsyncExitStack | None = None
        self._running = False
        self._stopping = False
        self._reason: str | None = None
        self._clock = SystemClock() if clock is None else clock
        self._inbox = new_ulid()
        self._link = Link(synapse, namespace, role)
        self._view = View(self._clock.now, heartbeat_s)
        self._engram_view = View(self._clock.now, heartbeat_s, "engram")
        self._followed = Followed()
        self._arriving = set()
        self._recent = RecentIds(self._clock.now)
        self._furnish_memory()
        self._furnish_hosting(expose_errors)
        self._furnish_dispatching()
        self._connect_rooms()

    # --- its rooms ----------------------------------------------------------------------------------

    def _furnish_memory(self) -> None:
        deadlines = self._followed.deadlines
        self._stopped = StoppedTraces()
        self._engrams = Engrams(self._link, self._stopped, deadlines)
        finder = Finder(self._engram_view, self._discover, discovery_s=self._discovery_s)
        self._requests = Requests(self._link, self._engram_view, finder, deadlines, inbox=self._inbox)
        self._memory = Memory(self._requests, self._engram_view, finder)
        self._engram_finder = finder

    def _furnish_hosting(self, expose_errors: bool) -> None:
        link, now = self._link, self._clock.now
        answers = Answers(
            link,
            error_info=lambda error, task: self.plugins.error_info(error, task),
            expose_errors=expose_errors,
        )
        self._host = Host(
            link, answers, self._recent, self._stopped, undo=self._engrams.roll_back, name=self._inbox
        )
        self._bidder = Bidder(link, self._host, answers, name=self._inbox, clock=now)
        self._pulse = Pulse(link, self._host, name=self._inbox)
        self._guard = Guard(self._host, self._pulse)
        self._presence = Presence(
            link,
            (self._view, self._engram_view),
            inbox=self._inbox,
            rooms=(self._host, self._engrams),
            clock=self._clock,
            heartbeat_s=self._heartbeat_s,
        )

    def _furnish_dispatching(self) -> None:
        link, view, inbox, now = self._link, self._view, self._inbox, self._clock.now
        followed = self._followed
        self._finder = Finder(view, self._discover, discovery_s=self._discovery_s)
        self._dispatcher = Dispatcher(link, view, self._finder, followed, inbox=inbox, buffer=self._buffer)
        self._detector = FailureDetector(followed, view, self._dispatcher)
        self._watch = Watch(link, followed, now, buffer=self._buffer)
        views = (view, self._engram_view)
        self._stopper = TraceStopper(link, views, inbox=inbox, discovery_s=self._discovery_s)
        self._auctions = Auctions(
            link, view, self._dispatcher, followed, inbox=inbox, buffer=self._buffer, clock=now
        )

    def _connect_rooms(self) -> None:
        self._link.undelivered = Returned(self._followed, self._view, self._requests.take_back).take
        self._view.departed = self._auctions.lose
        self._followed.refusals |= {
            SignalType.TASK_AWARDED: self._bidder.refuse_award,
            SignalType.RECALLED: self._requests.refuse,
            SignalType.IMPRINTED: self._requests.refuse,
        }
        self._followed.others |= {
            SignalType.BID: self._auctions.take,
            SignalType.TASK_AWARDED: self._bidder.take_award,
            SignalType.TASK_DECLINED: self._bidder.take_decline,
            SignalType.REGISTER: self._presence.take,
            SignalType.HEARTBEAT: self._detector.take,
            SignalType.STOPPED: self._stopper.take,
            SignalType.RECALLED: self._requests.take,
            SignalType.IMPRINTED: self._requests.take,
        }

    async def _discover(self, wish: dict[str, Any]) -> None:
        await self._presence.discover(wish)

    # --- life ---------------------------------------------------------------------------------------

    @property
    def plugins(self) -> PluginManager:
        """The hooks this Dendrite uses."""
        if self._plugins is None:
            # Imported on use: reading entry points costs more than the rest of the core together.
            from cosmo_core.plugins import default_manager

            self._plugins = default_manager()
        return self._plugins

    async def start(self) -> None:
        """Listen, announce the Axons, and ask who else is there. A Dendrite starts once.

        Raises:
            LifecycleError: It was started before, or is stopped while it starts.
            SynapseClosedError: The Synapse is not connected.
            PluginError: A hook cannot be used.
        """
        if self._lifetime is not None:
            raise LifecycleError("this Dendrite was started before; make a new one")
        self._lifetime = contextlib.AsyncExitStack()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._note_end)
            # What is pushed last happens first when the Dendrite stops, or when starting fails.
            self.plugins.load_hooks()
            self._link.compose(self.plugins, self)
            stack.push_async_callback(self._host.close_neurons)
            stack.push_async_callback(self._link.close)
            stack.push_async_callback(self._dispatcher.close)
            stack.callback(self._auctions.close)
            stack.callback(self._requests.close)
            self._memory.start()
            await self._dispatcher.start()
            self._keep_up(stack, self._detector.watch(self._clock, self._link.guarantees))
            stack.callback(self._watch.close)
            await self._watch.start()
            stack.callback(self._finder.leave)
            stack.callback(self._engram_finder.leave)
            stack.push_async_callback(lambda: self._presence.leave(self._reason))
            # What still runs while the Dendrite drains is no less alive.
            self._keep_up(stack, self._pulse.beat(self._clock))
            stack.callback(self._guard.close)
            # Neurons that finish still remember.
            stack.push_async_callback(self._engrams.close)
            stack.push_async_callback(lambda: self._host.drain(self._grace_s))
            stack.push_async_callback(self._host.stop_intake)
            stack.push_async_callback(self._presence.drain)
            stack.push_async_callback(self._bidder.leave)
            if self._engrams:
                await self._host.attend()
            await self._engrams.start()
            await self._host.start()
            self._guard.settle()
            await self._bidder.attend()
            await self._presence.start()
            self._keep_up(stack, self._presence.beat())
            self._running = True
            await self.plugins.dendrite_started(self)
            stack.push_async_callback(self.plugins.dendrite_stopping, self)
            if self._stopping:
                raise LifecycleError("the Dendrite was stopped while it started")
            self._lifetime = stack.pop_all()

    def _keep_up(self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        stack.push_async_callback(_end, asyncio.create_task(work))

    def _note_end(self) -> None:
        self._running = False

    async def stop(self, reason: str | None = None) -> None:
        """Drain and leave: Neurons finish within ``grace_s``, or are cancelled and answered with ERROR.

        Then the Axons are deregistered, the Pathways closed, and the Neurons' resources released. Stopping
        twice, or before the start, does nothing. A Dendrite that is stopped while it starts does not start.
        """
        if self._lifetime is None or self._stopping:
            return
        self._stopping = True
        self._reason = reason
        await self._lifetime.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- hosting ------------------------------------------------------------------------------------

    def attach_axon(self, axon: Axon) -> None:
        """Serve ``axon`` from the start on; while the Dendrite runs, use `add_axon`.

        Raises:
            LifecycleError: The Dendrite was started.
            ValueError: A Neuron of this id is attached already.
            PluginError: A plugin's Neuron wrapper cannot be used.
        """
        if self._lifetime is not None:
            raise LifecycleError(f"the Dendrite was started: use `await add_axon(…)` for {axon.neuron_id!r}")
        self._attach(axon)

    async def add_axon(self, axon: Axon) -> None:
        """Serve and announce ``axon`` from now on, while the Dendrite runs.

        Raises:
            LifecycleError: The Dendrite does not run.
            ValueError: A Neuron of this id is attached already.
            PluginError: A plugin's Neuron wrapper cannot be used.
        """
        self._check_running()
        self._attach(axon)
        try:
            await self._host.serve(axon.neuron_id)
        except BaseException:
            self._host.forget(axon.neuron_id)
            raise
        self._guard.settle()
        await self._bidder.attend()
        await self._presence.introduce(self._host.resident(axon))

    async def detach_axon(self, neuron_id: str, reason: str | None = None) -> None:
        """Let a Neuron's TASKs end as `stop` does, close it, and deregister it, while the Dendrite runs on.

        Raises:
            LifecycleError: The Dendrite does not run.
            KeyError: No Neuron of this id is attached, or it is leaving already.
        """
        self._check_running()
        resident = self._host.resident(self._host.retire(neuron_id))
        async with contextlib.AsyncExitStack() as stack:
            # What is pushed last happens first, whatever of it fails, or is cancelled with the caller.
            stack.push_async_callback(self._bidder.attend)
            stack.callback(self._guard.settle)
            stack.push_async_callback(self._presence.dismiss, resident, reason)
            stack.push_async_callback(self._host.detach, neuron_id, self._grace_s)
            await self._presence.retire(resident)

    def _attach(self, axon: Axon) -> None:
        self.plugins.load_hooks()
        self._host.attach(axon, [found.value for found in self.plugins.neuron_wrappers(axon)], self._memory)

    def _check_running(self) -> None:
        if not self._running or self._stopping:
            raise not_running()

    @property
    def axons(self) -> list[Axon]:
        """The Axons attached here."""
        return list(self._host)

    def find_neurons(self, capability: str | None = None) -> list[NeuronRecord]:
        """Return the live Neurons of the namespace, or those of them that have a capability."""
        return self._view.records(capability)

    async def wait_until_ready(
        self,
        *,
        neuron: str | None = None,
        capabilities: Sequence[str] = (),
        engram: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Return when a live Neuron could take a TASK, for programs whose parts start in any order.

        Args:
            neuron: The id of the Neuron that is meant; any when omitted.
            capabilities: What it must be able to do.
            engram: The id of an Engram that is waited for instead of a Neuron.
            timeout_s: For how many seconds to wait.

        Raises:
            TimeoutError: There was none in time; the message names those there are.
            LifecycleError: The Dendrite does not run.
        """
        self._check_running()
        if engram is not None:
            await self._engram_finder.wait_until_ready(engram, (), timeout_s)
        else:
            await self._finder.wait_until_ready(neuron, capabilities, timeout_s)

    @property
    def counters(self) -> dict[str, int]:
        """What was ignored so far.

        ``malformed`` frames, ``duplicates`` of TASKs, and ``unbid_awards``: work for which no bid was open.
        """
        return {
            "malformed": self._link.malformed,
            "duplicates": self._recent.repeated,
            "unbid_awards": self._bidder.unbid,
        }

    def __repr__(self) -> str:
        return f"<Dendrite {self.role} in {self.namespace!r} with {[axon.neuron_id for axon in self._host]}>"


def _check_arguments(
    role: str, heartbeat_s: float, discovery_s: float, grace_s: float, pathway_buffer: int
) -> None:
    if role not in {"orchestrator", "worker"}:
        raise ValueError(f'role is "orchestrator" or "worker", not {role!r}')
    if heartbeat_s <= 0 or discovery_s < 0 or grace_s < 0 or pathway_buffer < 1:
        raise ValueError("heartbeat_s, discovery_s, grace_s and pathway_buffer must be positive")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
