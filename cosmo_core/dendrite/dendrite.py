"""The Dendrite: hosts Axons, announces them, dispatches TASKs and follows them.

It builds its components, starts and stops them in order, and is the one class that a program calls. What an
extension adds (memory, auctions, watching, workflow) is one delegation each, under the promised name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

from cosmo_core.arguments import check_count, check_options, check_seconds, check_wait, satisfies
from cosmo_core.contracts.asking import AskFn, MapFn, RaceFn, StreamFn
from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.axon import neuron as neuron_axon
from cosmo_core.contracts.boundary import logged_failures, logger
from cosmo_core.contracts.neuron import WORK_KEYWORDS, AnyNeuronFn, with_keywords
from cosmo_core.contracts.options import (
    OH,
    EmitOptions,
    FilterOptions,
    OfferOptions,
    ResponseOptions,
    RetryStrategy,
    Role,
    Select,
    TaskOptions,
)
from cosmo_core.contracts.pathway import H, Pathway, SignalHandler
from cosmo_core.contracts.synapse import Synapse
from cosmo_core.contracts.watcher import Filter, OnType, Watcher
from cosmo_core.dendrite.discovery.announcer import Announcer
from cosmo_core.dendrite.discovery.directory import Directory, NeuronRecord
from cosmo_core.dendrite.discovery.resolver import Describer, NeuronDescription, Resolver
from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.dendrite.dispatch.short_form import ShortForm
from cosmo_core.dendrite.extension import EntityHost, ExtensionFactory, ExtensionSet, Ports
from cosmo_core.dendrite.hosting.host import Host
from cosmo_core.dendrite.hosting.reply_sender import ReplySender
from cosmo_core.dendrite.hosting.stopped_work import StoppedWork
from cosmo_core.dendrite.life_cycle import Clock, LifeCycle, StopTime, SystemClock
from cosmo_core.dendrite.reliability.failure_detector import FailureDetector
from cosmo_core.dendrite.reliability.work_heartbeat import WatchdogOwner, WorkHeartbeat
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import LifecycleError, RoleError, UnknownPluginError
from cosmo_core.open import connect_synapse
from cosmo_core.protocol.ids import SeenIds, new_ulid
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Engram, EngramRecord, ImprintReceipt, RecallMode, RecallResult
    from cosmo_core.plugins import PluginManager


class DendriteOptions(TypedDict, total=False):
    """The options of `Dendrite.open`, as in `Dendrite`."""

    namespace: str
    role: Role
    heartbeat_s: float
    discovery_s: float
    grace_s: float
    pathway_buffer: int
    expose_errors: bool
    clock: Clock | None
    plugins: PluginManager | None
    extensions: Iterable[ExtensionFactory] | None


class Dendrite:
    """Hosts Axons and Engrams, announces them, dispatches TASKs and follows them. Use it as ``async with``.

    It is the only part that touches the Synapse, and does not own it: connect it before, close it after.

    Args:
        synapse: A connected Synapse; Dendrites may share one.
        namespace: A token. Dendrites of different namespaces never see each other.
        role: ``"worker"`` may serve TASKs but not emit orchestration Signals such as TASK or STOP (P-10.2).
        heartbeat_s: Seconds between announcements. A Neuron that misses three is removed (P-4.6).
        discovery_s: Seconds that an unknown Neuron is searched for before `NoRouteError`. Raise it where
            an answer over the bus takes longer.
        grace_s: Seconds that running Neurons may take to finish when the Dendrite stops; stopping takes a
            second more at most.
        pathway_buffer: The number of Signals that a Pathway buffers, and that wait for a busy watcher.
        expose_errors: Send callers the text of unexpected exceptions; by default only the type is sent.
        clock: The clock of heartbeats and expiry; the system's by default.
        plugins: The hooks to use; those of all installed plugins by default.
        extensions: The extensions to use; all installed ones by default. ``()`` makes the minimal Dendrite.

    Raises:
        MalformedSignalError: The namespace is not a token.
        TypeError: ``synapse`` is not a Synapse, or a number has another type.
        ValueError: The role is unknown, or a number is out of range.
        PluginError: An extension cannot be used.
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
        extensions: Iterable[ExtensionFactory] | None = None,
    ) -> None:
        _check_parts(role, synapse)
        self.namespace = namespace
        self.role: Role = role
        self._heartbeat_s = check_seconds("heartbeat_s", heartbeat_s, positive=True)
        self._discovery_s = check_seconds("discovery_s", discovery_s)
        self._grace_s = check_seconds("grace_s", grace_s)
        self._buffer = check_count("pathway_buffer", pathway_buffer)
        self._plugins = plugins
        self._life_cycle = LifeCycle()
        self._lifetime = contextlib.AsyncExitStack()
        self._stop_time: StopTime | None = None
        self._ended = asyncio.Event()
        self._reason: str | None = None
        self._clock = SystemClock() if clock is None else clock
        self._inbox = new_ulid()
        self._link = Link(synapse, namespace, role)
        self._extensions = ExtensionSet()
        self._pathways = PathwayRegistry(self._link)
        self._seen_tasks = SeenIds(self._clock.now)
        self._stopped = StoppedWork(self._clock.now)
        self._build_hosting(expose_errors)
        self._build_discovery()
        self._build_dispatching()
        factories = self.plugins.extensions() if extensions is None else extensions
        self._extensions.fill(factories, self._ports(), self._pathways)
        self._entity_hosts.extend(self._extensions.entity_hosts())

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        url: str,
        *neurons: Axon | AnyNeuronFn,
        wait_for: Iterable[str] = (),
        timeout_s: float | None = 30.0,
        **options: Unpack[DendriteOptions],
    ) -> AsyncGenerator[Self]:
        """Connect to a bus, host Neurons on it, and end both with the block.

        ``async with Dendrite.open("memory://", shout) as dendrite:`` is short for a Synapse, an Axon for each
        function, and a started Dendrite.

        Args:
            url: The URL of the bus, as for `connect_synapse`.
            *neurons: The Neurons to host: Axons, or functions, whose names are their ids.
            wait_for: The ids of Neurons of others that must be there before the block begins, so that the
                parts of a program may start in any order.
            timeout_s: Seconds to wait for them; None for no limit.
            **options: As for `Dendrite`.

        Raises:
            TypeError: Two Neurons have one id, one has none, or an option is unknown.
            TimeoutError: A Neuron of ``wait_for`` was not there in time; the message names those that are.
            CosmoError: Any error that `connect_synapse`, `attach_axon` or `start` raises.
        """
        check_options("Dendrite.open", options, [*DendriteOptions.__annotations__, "wait_for", "timeout_s"])
        if isinstance(wait_for, str):
            raise TypeError(f"wait_for is a list of ids, not {wait_for!r}")
        check_wait(timeout_s)
        axons = [each if isinstance(each, Axon) else neuron_axon(each) for each in neurons]
        ids = [axon.neuron_id for axon in axons]
        if len(set(ids)) < len(ids):
            raise TypeError(f"two Neurons have one id: {', '.join(ids)}; set another with @neuron(id=…)")
        async with connect_synapse(url) as synapse:
            dendrite = cls(synapse=synapse, **options)
            for axon in axons:
                dendrite.attach_axon(axon)
            async with dendrite:
                ends = None if timeout_s is None else monotonic() + timeout_s
                for name in wait_for:
                    left = None if ends is None else ends - monotonic()
                    await dendrite.wait_until_ready(neuron=name, timeout_s=left)
                yield dendrite

    # --- its components -----------------------------------------------------------------------------

    def _build_hosting(self, expose_errors: bool) -> None:
        self._replies = ReplySender(
            self._link,
            error_info=lambda error, task: self.plugins.error_info(error, task),
            expose_errors=expose_errors,
            neuron_asks=self._extensions.neuron_asks,
        )
        self._host = Host(
            self._link,
            self._replies,
            self._seen_tasks,
            self._stopped,
            stop_trace=self._extensions.trace_stopped,
            name=self._inbox,
        )
        self._work_heartbeat = WorkHeartbeat(self._link, self._host, name=self._inbox)
        self._watchdog = WatchdogOwner(self._host, self._work_heartbeat)

    def _build_discovery(self) -> None:
        self._directories: list[Directory] = []
        self._resolvers: list[Resolver] = []
        self._entity_hosts: list[EntityHost] = [self._host]
        self._announcer = Announcer(
            self._link,
            inbox=self._inbox,
            directories=self._directories,
            hosts=self._entity_hosts,
            clock=self._clock,
            heartbeat_s=self._heartbeat_s,
            discovery_s=self._discovery_s,
        )
        self._directory, self._resolver = self._open_directory("neuron")
        self._describer = Describer(
            self._link, self._life_cycle, self._inbox, self._announcer, self._directory
        )

    def _open_directory(self, role: Literal["neuron", "engram"]) -> tuple[Directory, Resolver]:
        departed = self._extensions.neuron_departed if role == "neuron" else _ignore
        directory = Directory(self._clock.now, self._heartbeat_s, role, departed)
        resolver = Resolver(directory, self._announcer, self._discovery_s, self._listen_soon)
        self._directories.append(directory)
        self._resolvers.append(resolver)
        return directory, resolver

    def _listens_from_start(self) -> bool:
        """Tell whether others have to be known before they are looked for; one that only works needs none."""
        bindings = (binding for axon in self._host for binding in axon.engrams)
        return self.role == "orchestrator" or any(each.directed_type is not None for each in bindings)

    def _listen_soon(self) -> None:
        """Listen to the announcements of others in the background. Thread-safe."""

        async def listen() -> None:
            with logged_failures("%r could not listen to the announcements of others", self):
                await self._announcer.listen()

        life = self._life_cycle
        if life.running and life.loop is not None and not life.loop.is_closed():
            life.loop.call_soon_threadsafe(lambda: self._replies.spawn(listen()))

    def _build_dispatching(self) -> None:
        link, directory, pathways = self._link, self._directory, self._pathways
        self._dispatcher = Dispatcher(
            link,
            directory,
            self._resolver,
            pathways,
            life_cycle=self._life_cycle,
            dendrites=self._announcer.dendrites,
            inbox=self._inbox,
            buffer=self._buffer,
            discovery_s=self._discovery_s,
        )
        self._short = ShortForm(self._dispatcher)
        self._detector = FailureDetector(pathways, directory, self._extensions.undeliverable)
        pathways.add_receiver(SignalType.REGISTER, self._describer.receive)
        pathways.add_receiver(SignalType.HEARTBEAT, self._detector.receive, self._detector.refuse)
        pathways.add_receiver(SignalType.STOPPED, self._dispatcher.receive_stopped)

    def _ports(self) -> Ports:
        link = self._link
        return Ports(
            dendrite_id=self._inbox,
            buffer=self._buffer,
            clock=self._clock,
            life_cycle=self._life_cycle,
            subjects=link.subjects,
            send=link.send,
            send_shared=link.send_shared,
            send_or_raise=link.send_or_raise,
            listen=link.listen,
            listen_all=link.listen_all,
            unsubscribe=link.unsubscribe,
            check_role=link.check_role,
            is_observed=link.is_observed,
            emit=self._dispatcher.emit,
            dispatch=self._dispatcher.dispatch,
            check_dispatching=self._dispatcher.check_running,
            resolve=self._resolver.resolve,
            is_hosted=self._directory.is_hosted,
            open_directory=self._open_directory,
            register=self._announcer.register,
            withdraw=self._announcer.withdraw,
            deregister=self._announcer.deregister,
            neurons=self._host,
            reply_subject=self._replies.subject,
            reject=self._replies.reject,
            was_stopped=self._stopped.covers_cause,
            pathways=self._pathways,
        )

    def extension(self, name: str) -> Any:
        """Return the extension of this name; its public methods are what it adds to the Dendrite.

        Raises:
            UnknownPluginError: This Dendrite has no such extension; the message names those it has, and says
                why it is absent: left out of ``extensions``, disabled, in conflict, broken, or not installed.
        """
        found = self._extensions.get(name)
        if found is None:
            present = ", ".join(repr(extension.name) for extension in self._extensions) or "none"
            raise UnknownPluginError(
                f"this Dendrite has no extension {name!r}; it has: {present}; {self.plugins.why_absent(name)}"
            )
        return found

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
        """Subscribe, announce the Axons, and discover the others. A Dendrite starts once.

        Raises:
            LifecycleError: It was started before, or is stopped while it starts.
            SynapseClosedError: The Synapse is not connected.
            PluginError: A hook cannot be used.
        """
        life = self._life_cycle
        if life.started:
            raise LifecycleError("this Dendrite was started before; make a new one")
        life.started, life.thread, life.loop = True, get_ident(), asyncio.get_running_loop()
        self._pathways.deadlines.loop = life.loop
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._note_end)
            # Executed in reverse order, when the Dendrite stops and when its start fails.
            self.plugins.load_hooks()
            self._link.open(self.plugins, self, self._detector.handle_undelivered)
            stack.push_async_callback(lambda: self._host.close_neurons(self._time()))
            self._at_stop(stack, "subscriptions", self._link.close)
            stack.push_async_callback(lambda: self._dispatcher.close(self._time()))
            await self._dispatcher.start()
            self._run_until_stop(stack, self._detector.run(self._clock, self._link.guarantees))
            for extension in self._extensions:
                stack.callback(extension.close)
                await extension.connect()
            for resolver in self._resolvers:
                stack.callback(resolver.close)
            stack.callback(self._describer.close)
            self._at_stop(stack, "announcements", lambda: self._announcer.deregister_all(self._reason))
            # While the Dendrite drains, it and its running work still send heartbeats.
            self._run_until_stop(stack, self._announcer.run())
            self._run_until_stop(stack, self._work_heartbeat.run(self._clock))
            stack.callback(self._watchdog.close)
            # Neurons that finish may still use the extensions.
            for extension in self._extensions:
                self._at_stop(stack, f"extension {extension.name!r}", extension.stop)
            stack.push_async_callback(lambda: self._host.drain(self._time()))
            stack.callback(self._stop_left)
            self._at_stop(stack, "the intake of TASKs", self._host.stop_accepting)
            self._at_stop(stack, "announcements", self._announcer.withdraw_all)
            for extension in self._extensions:
                self._at_stop(stack, f"the intake of extension {extension.name!r}", extension.drain)
            for extension in self._extensions:
                await extension.start()
            await self._host.start()
            await self._neurons_changed()
            await self._announcer.start(self._listens_from_start())
            life.running = True
            await self.plugins.dendrite_started(self)
            self._at_stop(stack, "hooks", self.plugins.dendrite_stopping, self)
            if life.stopping:
                raise LifecycleError("the Dendrite was stopped while it started")
            self._lifetime = stack.pop_all()
        logger.debug("Dendrite %s runs in namespace %r", self._inbox, self.namespace)

    def _stop_left(self) -> None:
        """Stop the TASKs whose callers have left, so that the stop does not wait for them."""
        tasks = {task.id: task for task in self._host.tasks()}
        for pathway in self._pathways.pathways():
            task = tasks.get(pathway.task_id)
            # A Neuron that sent it and still runs may read on.
            if task is not None and task.parent_id not in tasks:
                pathway.stop_left()

    def _run_until_stop(self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        self._at_stop(stack, "heartbeats", _cancel, asyncio.create_task(work))

    def _at_stop(
        self,
        stack: contextlib.AsyncExitStack,
        what: str,
        step: Callable[..., Coroutine[Any, Any, None]],
        *args: Any,
    ) -> None:
        stack.push_async_callback(lambda: self._time().run(what, step, *args))

    def _time(self) -> StopTime:
        """Return the time of the stop, which begins with the first call."""
        if self._stop_time is None:
            self._stop_time = StopTime(self._grace_s)
        return self._stop_time

    def _note_end(self) -> None:
        self._life_cycle.running = False

    async def _neurons_changed(self) -> None:
        self._watchdog.update()
        for extension in self._extensions:
            await extension.neurons_changed()

    async def stop(self, reason: str | None = None) -> None:
        """Drain and stop: Neurons finish within ``grace_s``, or their TASKs are answered with ERROR.

        Then the Axons are deregistered, the Pathways closed, and the Neurons' resources released. All of it
        ends within a second after ``grace_s``: a step that takes too long, such as one that waits for a bus
        that does not answer, is logged and abandoned.

        Stopping before the start does nothing. A second call waits for the end of the first. A Neuron may
        stop its own host: its TASK is not waited for, and is answered when the Neuron returns. A Dendrite
        that is stopped while it starts does not start.
        """
        life = self._life_cycle
        if not life.started:
            return
        life.check_thread()
        if not life.stopping:
            life.stopping, life.stopper, self._reason = True, asyncio.current_task(), reason
            try:
                await self._lifetime.aclose()
            finally:
                self._ended.set()
                logger.debug("Dendrite %s in namespace %r has stopped", self._inbox, self.namespace)
        elif not self._host.runs_caller():
            await self._ended.wait()
            # A Neuron that stopped its own host may still have to answer.
            await self._host.drain(self._time())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- hosting Neurons ----------------------------------------------------------------------------

    def attach_axon(self, axon: Axon) -> None:
        """Serve ``axon`` from the start on; while the Dendrite runs, use `add_axon`.

        Raises:
            LifecycleError: The Dendrite was started.
            RoleError: The Neuron needs ``ask`` or such, and the role of this Dendrite is that of a worker.
            TypeError: ``axon`` is not an Axon.
            ValueError: A Neuron of this id is attached already.
            PluginError: A plugin's Neuron wrapper cannot be used.
        """
        if self._life_cycle.started:
            raise LifecycleError(f"the Dendrite was started: use `await add_axon(…)` for {axon!r}")
        self._attach(axon)

    async def add_axon(self, axon: Axon) -> None:
        """Serve and announce ``axon`` from now on, while the Dendrite runs.

        Raises:
            LifecycleError: The Dendrite is not running.
            RoleError: As for `attach_axon`.
            TypeError: ``axon`` is not an Axon.
            ValueError: A Neuron of this id is attached already.
            PluginError: A plugin's Neuron wrapper cannot be used.
            Exception: The bus or an extension failed. In every case of an error the Axon is not attached.
        """
        self._life_cycle.check_stable()
        self._attach(axon)
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(self._host.undo_attach, axon.neuron_id)
            await self._host.serve(axon.neuron_id)
            undo.pop_all()
            undo.push_async_callback(self._undo_add, axon.neuron_id)
            await self._neurons_changed()
            await self._announcer.register(self._host.entity(axon))
            undo.pop_all()

    async def _undo_add(self, neuron_id: str) -> None:
        with logged_failures("Neuron %r could not be added, and not be detached cleanly", neuron_id):
            # Otherwise it is being detached already, by a stop or by `detach_axon`.
            if self._host.accepts(neuron_id):
                await self.detach_axon(neuron_id, "it could not be added")

    async def detach_axon(self, neuron_id: str, reason: str | None = None) -> None:
        """Let a Neuron's TASKs end as `stop` does, close it, and deregister it; the Dendrite runs on.

        It takes as long as `stop` at most. A Neuron may detach itself, and then answers its own TASK.

        Raises:
            LifecycleError: The Dendrite is not running.
            KeyError: No Neuron of this id is attached, or it is being detached already.
        """
        self._life_cycle.check_stable()
        entity, time = self._host.entity(self._host.retire(neuron_id)), StopTime(self._grace_s)
        async with contextlib.AsyncExitStack() as stack:
            # Executed in reverse order, also when a step fails or the caller is cancelled.
            stack.push_async_callback(time.run, "extensions", self._neurons_changed)
            stack.push_async_callback(time.run, "announcements", self._announcer.deregister, entity, reason)
            stack.push_async_callback(self._host.detach, neuron_id, time)
            await time.run("announcements", self._announcer.withdraw, entity)

    def _attach(self, axon: Axon) -> None:
        if not isinstance(axon, Axon):
            raise TypeError(
                f"expected an Axon, as @neuron or Axon(neuron_id=…, neuron_fn=…) makes one, not {axon!r}"
            )
        if axon.engrams:
            self.extension("memory")
        if self.role == "worker" and (needed := axon.work_keywords):
            raise RoleError(
                f'Neuron {axon.neuron_id!r} needs {" and ".join(needed)}, and a Dendrite with role="worker"'
                ' may not send TASKs: host it on one with role="orchestrator"'
            )
        self.plugins.load_hooks()
        wrappers = [found.value for found in self.plugins.neuron_wrappers(axon)]
        for extension in self._extensions:
            wrappers.extend(extension.neuron_wrappers(axon))
        if self.role == "orchestrator":
            functions = {name: getattr(self, name) for name in WORK_KEYWORDS}
            wrappers.append(partial(with_keywords, functions=functions, run=self._life_cycle.run_from_thread))
        self._host.attach(axon, wrappers)

    @property
    def axons(self) -> list[Axon]:
        """The attached Axons."""
        return list(self._host)

    # --- discovery ----------------------------------------------------------------------------------

    def find_neurons(self, capability: str | None = None) -> list[NeuronRecord]:
        """Return the live Neurons of the namespace, or those that have a capability.

        A worker knows its own Neurons only until it first looks for others, as this does: it begins to listen
        to their announcements then, and knows all after `wait_until_ready`, or a moment later.
        """
        return self._resolver.records(capability)

    async def describe_neuron(self, neuron_id: str, *, timeout_s: float | None = 1.0) -> NeuronDescription:
        """Ask the hosts of a Neuron what it does, and for the JSON Schemas of its inputs and outputs.

        Args:
            neuron_id: The Neuron; of several replicas the first answer counts.
            timeout_s: Seconds to wait; None for no limit.

        Raises:
            NoRouteError: No host answered in time.
            LifecycleError: The Dendrite is not running, or stopped first.
            MalformedSignalError: The id is not a token.
            RejectedError: A middleware of this Dendrite dropped the DISCOVER.
            SynapseError: The Synapse refused it.
        """
        return await self._describer.describe(neuron_id, timeout_s)

    async def wait_until_ready(
        self,
        *,
        neuron: str | None = None,
        capabilities: Sequence[str] = (),
        engram: str | None = None,
        timeout_s: float | None = 30.0,
    ) -> None:
        """Return when a live Neuron could take a TASK, for programs whose parts start in any order.

        Args:
            neuron: The id of the Neuron; any Neuron when omitted.
            capabilities: The capabilities that it must have.
            engram: The id of an Engram to wait for instead of a Neuron.
            timeout_s: Seconds to wait; None for no limit.

        Raises:
            TimeoutError: It was not there in time; the message names those that are.
            LifecycleError: The Dendrite is not running.
        """
        self._life_cycle.check_stable()
        check_wait(timeout_s)
        if engram is not None:
            await self.extension("memory").wait_until_ready(engram, timeout_s)
        else:
            await self._resolver.wait_until_ready(neuron, capabilities, timeout_s)

    @property
    def counters(self) -> dict[str, int]:
        """Counts of what was ignored so far.

        ``malformed`` frames, ``duplicates`` of TASKs, and what the extensions count: ``unbid_awards``, for
        awards without an open bid.
        """
        counters = {name: n for extension in self._extensions for name, n in extension.counters().items()}
        return counters | {"malformed": self._link.malformed, "duplicates": self._seen_tasks.repeated}

    def __repr__(self) -> str:
        return f"<Dendrite {self.role} in {self.namespace!r} with {[axon.neuron_id for axon in self._host]}>"

    # --- dispatching --------------------------------------------------------------------------------

    async def emit(self, signal: Signal) -> None:
        """Send a Signal: a TASK or STOP to the Neuron it is directed to, any other to all listeners.

        Raises:
            TypeError: It is not a Signal.
            RoleError: The role of this Dendrite forbids the type; nothing was sent.
            RejectedError: A middleware of this Dendrite dropped it.
            UnencodableError: JSON cannot carry it.
            SynapseError: The Synapse refused it.
        """
        await self._dispatcher.emit(signal)

    async def dispatch_task(self, **task: Unpack[TaskOptions]) -> Signal:
        """Send a TASK and return it, without following it. See `TaskOptions`; raises as `dispatch` does."""
        return await self._dispatcher.send_task(task)

    async def dispatch(self, **task: Unpack[TaskOptions]) -> Pathway:
        """Send a TASK and return the Pathway that follows it. See `TaskOptions`.

        Raises:
            LifecycleError: The Dendrite is not running.
            RoleError: It is a worker.
            NoRouteError: No live Neuron can take the TASK; nothing was sent (P-5.3).
            RejectedError: A middleware of this Dendrite dropped it.
            MalformedSignalError: An option breaks the protocol; nothing was sent.
            TypeError: An option is unknown, missing or of a wrong type; nothing was sent.
            ValueError: ``deadline_s`` is out of range; nothing was sent.
            UnencodableError: JSON cannot carry the input; nothing was sent.
            SynapseError: The Synapse refused it.
        """
        return await self._dispatcher.dispatch(task)

    async def dispatch_and_subscribe(
        self, handlers: Mapping[SignalType, SignalHandler], **task: Unpack[TaskOptions]
    ) -> Pathway:
        """Send a TASK with handlers attached, as `Pathway.on` attaches them. Raises as `dispatch` does."""
        pathway = await self._dispatcher.dispatch(task)
        for type, handler in handlers.items():
            pathway.on(type)(handler)
        return pathway

    # --- the short form: each is described where its type is ----------------------------------------

    @property
    def ask(self) -> AskFn:
        """Send a TASK and return the output; see `AskFn`."""
        return self._short.ask

    @property
    def stream(self) -> StreamFn:
        """Send a TASK and iterate over the texts of its answer; see `StreamFn`."""
        return self._short.stream

    @property
    def map(self) -> MapFn:
        """Send a TASK for each input and return the outputs in their order; see `MapFn`."""
        return self._short.map

    @property
    def race(self) -> RaceFn:
        """Send one input to several Neurons and return the first output; see `RaceFn`."""
        return self._short.race

    # --- dispatching and waiting --------------------------------------------------------------------

    def dispatch_and_wait(
        self,
        *,
        timeout_s: float | None = 30.0,
        retry: RetryStrategy | None = None,
        **task: Unpack[TaskOptions],
    ) -> Coroutine[Any, Any, Signal]:
        """Send a TASK and return its answer: AGENT_OUTPUT, CLARIFICATION, PERMISSION, ERROR or FINAL.

        An ERROR is returned, not raised: see `Signal.raise_for_error`. After the time limit, or when the
        caller is cancelled, the worker is sent STOP (P-9.8).

        Args:
            timeout_s: Seconds to wait; None for no limit. It travels as the TASK's deadline.
            retry: When to try again. Each attempt then has the strategy's time instead of ``timeout_s``.
            **task: See `TaskOptions`.

        Raises:
            TimeoutError: No answer in time.
            PathwayClosedError: The Dendrite stopped first.
            CosmoError: Any other error that `dispatch` raises.
        """
        if retry is not None:
            return self._dispatcher.ask_with_retries(task, retry)
        return self._dispatcher.ask(task, timeout_s)

    async def stop_trace(
        self,
        trace_id: str,
        *,
        reason: str | None = None,
        rollback: bool = False,
        timeout_s: float = 1.0,
    ) -> list[Signal]:
        """Stop everything that runs or waits on a trace, in every Dendrite of the namespace.

        Its Neurons are cancelled and their TASKs answered with ERROR ``CANCELLED``. TASKs of the trace that
        were sent before and arrive later do not run; those sent afterwards do (P-9.2 to P-9.6).

        Args:
            trace_id: The trace.
            reason: The reason, for observers of the trace.
            rollback: Undo what the trace wrote to Engrams.
            timeout_s: Seconds to wait for acknowledgements; less when all have come.

        Returns:
            The STOPPED of each Dendrite that answered in time; their payload counts what was ``cancelled``.

        Raises:
            RoleError: This Dendrite is a worker; nothing was sent.
            LifecycleError: The Dendrite is not running.
            MalformedSignalError: ``trace_id`` is not a valid trace id.
            RejectedError: A middleware of this Dendrite dropped the STOP.
            SynapseError: The Synapse refused it.
        """
        check_wait(timeout_s)
        return await self._dispatcher.stop_trace(
            trace_id, reason=reason, rollback=rollback, timeout_s=timeout_s
        )

    # --- auctions: delegations to the extension of this name ----------------------------------------

    async def dispatch_offer(
        self, *, select: Select = "first_bid", deadline_ms: int = 250, **offer: Unpack[OfferOptions]
    ) -> Pathway:
        """Offer work, award it to one bidder, and return the Pathway that follows it.

        Every other bidder gets TASK_DECLINED once the work is answered (P-7.9). When the winner answers with
        ERROR, or leaves before it answers, the next best bid is selected (P-7.10); an ERROR arrives on the
        Pathway only when no bid is left, or the work was stopped. The Pathway also sees the bids. Closing it
        before the answer stops the work (P-7.12).

        Args:
            select: The rule that selects a bid: ``"first_bid"``, as soon as it comes; ``"lowest_cost"`` or
                ``"highest_confidence"`` after ``deadline_ms``; or a function, then too, that gets the bids
                and returns one of them, or None to reject them all.
            deadline_ms: Milliseconds during which bids are accepted.
            **offer: See `OfferOptions`.

        Raises:
            NoBidError: No bid came in time, or none was selected.
            LifecycleError: The Dendrite is not running.
            PathwayClosedError: The Dendrite stopped first.
            RoleError: It is a worker.
            RejectedError: A middleware of this Dendrite dropped the offer or the award.
            ValueError: ``select`` is not a rule, or the function returned something that is not a bid.
            MalformedSignalError: An option breaks the protocol; nothing was sent.
            UnencodableError: JSON cannot carry the input; nothing was sent.
            SynapseError: The Synapse refused it.
        """
        return await self.extension("auctions").dispatch_offer(select, deadline_ms, offer)

    def on_task_offer(self, handler: OH) -> OH:
        """Let the decorated function, plain or async, decide on offers, in place of automatic bids.

        It gets each TASK_OFFER whose capabilities a Neuron hosted here has, and calls `bid` for it, or does
        not. It must decide while bids are accepted. An exception is logged, and no bid is made.

        Raises:
            ValueError: Another function decides already.
        """
        return self.extension("auctions").on_task_offer(handler)

    async def bid(
        self,
        offer: Signal,
        *,
        cost: float,
        neuron: str | None = None,
        eta_ms: int | None = None,
        confidence: float | None = None,
    ) -> Signal:
        """Bid for an offer and return the BID. If it wins, the Neuron runs the work as it runs a TASK.

        Args:
            offer: The TASK_OFFER.
            cost: The price, in a unit that the bidders agree on.
            neuron: The Neuron hosted here that would do the work; by default the least busy one that can.
            eta_ms: The expected time to completion, in milliseconds.
            confidence: The expected quality of the result, from 0 to 1.

        Raises:
            LifecycleError: The Dendrite is not running, or hosts no Neuron.
            RejectedError: A middleware of this Dendrite dropped the bid.
            TypeError: ``offer`` is not a Signal.
            ValueError: The Neuron cannot do it, or has bid for it already, or there are too many open bids.
            MalformedSignalError: A number is outside of what the protocol allows; a cost is finite.
            SynapseError: The Synapse refused it.
        """
        terms = without_none(cost=cost, eta_ms=eta_ms, confidence=confidence)
        return await self.extension("auctions").bid(offer, neuron, terms)

    # --- memory: delegations ------------------------------------------------------------------------

    def attach_engram(self, engram: Engram) -> Awaitable[None]:
        """Serve ``engram`` from the start on, or from now on if the Dendrite runs.

        This Dendrite owns it from then on: it opens, announces and closes it.

        Returns:
            An awaitable that completes when the Engram is served and announced. It raises EngramError if it
            does not open, and what the bus or a middleware raises; then, and if it is cancelled, the Engram
            is closed and not attached. Before the start it completes at once.

        Raises:
            LifecycleError: The Dendrite was started, and is not running.
            MalformedSignalError: Its id or its kind is not a token.
            TypeError: It does not satisfy `Engram`.
            ValueError: An Engram of this id is attached already.
        """
        return self.extension("memory").attach_engram(engram)

    async def detach_engram(self, engram_id: str, reason: str | None = None) -> None:
        """Let an Engram finish its requests, close it, and deregister it; the Dendrite runs on.

        Raises:
            LifecycleError: The Dendrite is not running.
            KeyError: No Engram of this id is served, or it is being detached already.
        """
        await self.extension("memory").detach_engram(engram_id, reason)

    @property
    def engrams(self) -> list[Engram]:
        """The attached Engrams."""
        return self.extension("memory").engrams

    def find_engrams(self, kind: str | None = None) -> list[EngramRecord]:
        """Return the live Engrams of the namespace, or those of a kind."""
        return self.extension("memory").find_engrams(kind)

    async def recall(
        self,
        engram: str | None,
        query: Mapping[str, Any],
        *,
        kind: str | None = None,
        mode: RecallMode = "first",
        timeout_s: float = 5.0,
        trace_id: str | None = None,
        parent_id: str | None = None,
    ) -> RecallResult:
        """Return the matching entries of one Engram, or of all Engrams of a kind.

        Args:
            engram: The id of the Engram; None to ask all of a ``kind``.
            query: The conditions: an object with any of ``id``, ``merge_key``, ``tags``, ``text`` (with
                ``match``, ``"all"`` or ``"any"`` of its words), ``vector`` and ``limit``. All must match.
            kind: Ask every Engram of this kind.
            mode: Of several answers: the ``first`` that comes, all in one ranking (``merge``), or ``all``
                one after the other. The result names the Engrams that failed.
            timeout_s: Seconds to wait.
            trace_id: The trace it belongs to; a new one by default.
            parent_id: The id of the Signal that causes it.

        Raises:
            LifecycleError: The Dendrite is not running.
            EngramTimeout: No answer in time.
            EngramError: No such Engram, or none could answer; its ``code`` says why.
            MalformedSignalError: The id of the Engram, the trace or the parent is malformed.
            RejectedError: A middleware of this Dendrite dropped the RECALL.
            UnencodableError: JSON cannot carry the query.
            SynapseError: The Synapse refused it.
        """
        client = self.extension("memory").client(engram, kind, trace_id, parent_id)
        return await client.recall(engram or kind, query, mode=mode, timeout_s=timeout_s)

    async def imprint(
        self,
        engram: str,
        *,
        op: str,
        entry: Mapping[str, Any] | None = None,
        merge_key: str | None = None,
        imprint_id: str | None = None,
        timeout_s: float = 5.0,
        trace_id: str | None = None,
        parent_id: str | None = None,
    ) -> ImprintReceipt:
        """Write an entry to an Engram, as `Engram.imprint` says.

        Args:
            engram: The id of the Engram.
            op: ``add``, ``append``, ``merge``, ``upsert`` or ``delete``.
            entry: The entry; ``id``, ``tags`` and ``embedding`` in it have a meaning.
            merge_key: The key of the entry.
            imprint_id: The id of the write: a repeated one is written once. A new one by default.
            timeout_s: Seconds to wait.
            trace_id: The trace it belongs to; a new one by default.
            parent_id: The id of the Signal that causes it.

        Raises:
            LifecycleError: The Dendrite is not running.
            EngramTimeout: No answer in time; whether it was written is not known. Trying again with the
                same ``imprint_id`` is safe.
            EngramError: It was not written; its ``code`` says why.
            MalformedSignalError: The id of the Engram, the trace or the parent is malformed.
            RejectedError: A middleware of this Dendrite dropped the IMPRINT.
            UnencodableError: JSON cannot carry the entry.
            SynapseError: The Synapse refused it.
        """
        client = self.extension("memory").client(engram, None, trace_id, parent_id)
        return await client.imprint(
            engram, op=op, entry=entry, merge_key=merge_key, imprint_id=imprint_id, timeout_s=timeout_s
        )

    # --- watching: delegations ----------------------------------------------------------------------

    def on(self, type: SignalType, **filter: Unpack[FilterOptions]) -> Callable[[H], H]:
        """Call the decorated function, plain or async, with every Signal of a type in the namespace.

        It sees the Signals of every sender to every addressee, its own Dendrite's too, each once. See
        `Watcher`. Attached before the start, it misses nothing; later, it subscribes in the background: use
        `watch` to know when. Each type has a shortcut, such as ``@dendrite.on_final``.

        Args:
            type: The type to watch.
            **filter: See `FilterOptions`.

        Raises:
            LifecycleError: The Dendrite has stopped.
            MalformedSignalError: An option is malformed.
            TypeError: An option is unknown, or the handler cannot be called.
            ValueError: The type is unknown.
        """
        return self.extension("watching").on(type, Filter.of(filter))

    async def watch(
        self, type: SignalType, handler: SignalHandler, **filter: Unpack[FilterOptions]
    ) -> Watcher:
        """Do as `on` does; when this returns, ``handler`` misses nothing that is sent from now on.

        Returns:
            The Watcher; end it with ``watcher.cancel()``, or use it as ``async with``.

        Raises:
            LifecycleError: The Dendrite is not running.
            MalformedSignalError: An option is malformed; see `FilterOptions`.
            SynapseError: The Synapse refused the subscription.
        """
        return await self.extension("watching").watch(type, handler, Filter.of(filter))

    @property
    def watchers(self) -> list[Watcher]:
        """The Watchers of `on` and `watch` that are not cancelled."""
        return self.extension("watching").watchers

    async def observe_pathway(self, trace_id: str) -> Pathway:
        """Return a Pathway that receives every Signal on a trace from now on, whatever its addressee.

        Unlike the Pathway of a TASK it closes on FINAL only: see `ObservedPathway`. While any is open, this
        Dendrite receives everything that is sent in its namespace.

        Raises:
            LifecycleError: The Dendrite is not running.
            MalformedSignalError: ``trace_id`` is not a valid trace id.
            SynapseError: The Synapse refused the subscription.
        """
        return await self.extension("watching").observe_pathway(trace_id)

    # `on` for each SignalType, except TASK_OFFER: `on_task_offer` lets a handler bid.
    on_task = OnType(SignalType.TASK)
    on_agent_output = OnType(SignalType.AGENT_OUTPUT)
    on_final = OnType(SignalType.FINAL)
    on_error = OnType(SignalType.ERROR)
    on_bid = OnType(SignalType.BID)
    on_task_awarded = OnType(SignalType.TASK_AWARDED)
    on_task_declined = OnType(SignalType.TASK_DECLINED)
    on_thought_delta = OnType(SignalType.THOUGHT_DELTA)
    on_plan = OnType(SignalType.PLAN)
    on_tool_call = OnType(SignalType.TOOL_CALL)
    on_tool_result = OnType(SignalType.TOOL_RESULT)
    on_memory_append = OnType(SignalType.MEMORY_APPEND)
    on_escalation = OnType(SignalType.ESCALATION)
    on_consensus = OnType(SignalType.CONSENSUS)
    on_context_sync = OnType(SignalType.CONTEXT_SYNC)
    on_critique = OnType(SignalType.CRITIQUE)
    on_audit = OnType(SignalType.AUDIT)
    on_clarification = OnType(SignalType.CLARIFICATION)
    on_clarification_answer = OnType(SignalType.CLARIFICATION_ANSWER)
    on_permission = OnType(SignalType.PERMISSION)
    on_permission_decision = OnType(SignalType.PERMISSION_DECISION)
    on_recall = OnType(SignalType.RECALL)
    on_recalled = OnType(SignalType.RECALLED)
    on_imprint = OnType(SignalType.IMPRINT)
    on_imprinted = OnType(SignalType.IMPRINTED)
    on_register = OnType(SignalType.REGISTER)
    on_deregister = OnType(SignalType.DEREGISTER)
    on_heartbeat = OnType(SignalType.HEARTBEAT)
    on_discover = OnType(SignalType.DISCOVER)
    on_stop = OnType(SignalType.STOP)
    on_stopped = OnType(SignalType.STOPPED)

    # --- workflow: delegations ----------------------------------------------------------------------

    # Each ``emit_<type>`` makes one Signal, sends it to all listeners and returns it; the Pathways of this
    # Dendrite on the trace see it, too. An option that is None is not sent, except where it is required. They
    # raise what `emit` does, or MalformedSignalError when an argument breaks the protocol.

    async def emit_final(
        self, trace_id: str, result: Any, *, cost: Any = None, **options: Unpack[EmitOptions]
    ) -> Signal:
        """Emit the result of a whole workflow, which ends its trace. See `EmitOptions`."""
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.FINAL, trace_id, {"result": result}, options, cost=cost)

    async def emit_error(
        self,
        trace_id: str,
        code: str,
        message: str,
        *,
        recoverable: bool = False,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit an error with a stable code. It answers the TASK that is its parent, if one is."""
        payload = {"code": code, "message": message, "recoverable": recoverable}
        return await self.extension("workflow").emit_on_trace(SignalType.ERROR, trace_id, payload, options)

    async def emit_plan(
        self,
        trace_id: str,
        steps: Sequence[Any],
        *,
        rationale: str | None = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit the planned steps of a workflow."""
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.PLAN, trace_id, {"steps": list(steps)}, options, rationale=rationale)

    async def emit_tool_call(
        self,
        trace_id: str,
        tool: str,
        args: Mapping[str, Any],
        *,
        call_id: str | None = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit that a tool is called; ``call_id`` joins the call to its result."""
        payload = {"tool": tool, "args": dict(args)}
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.TOOL_CALL, trace_id, payload, options, call_id=call_id)

    async def emit_tool_result(
        self,
        trace_id: str,
        tool: str,
        result: Any = None,
        *,
        error: Any = None,
        call_id: str | None = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit what a tool returned, or the ``error`` it failed with.

        Raises:
            TypeError: Both are given; nothing was sent.
        """
        if result is not None and error is not None:
            raise TypeError(f"tool {tool!r} has a result or an error, not both")
        payload = {"tool": tool, **({"result": result} if error is None else {"error": error})}
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.TOOL_RESULT, trace_id, payload, options, call_id=call_id)

    async def emit_memory_append(
        self, trace_id: str, key: str, value: Any, **options: Unpack[EmitOptions]
    ) -> Signal:
        """Emit a note for the memory of the trace."""
        payload = {"key": key, "value": value}
        return await self.extension("workflow").emit_on_trace(
            SignalType.MEMORY_APPEND, trace_id, payload, options
        )

    async def emit_critique(
        self,
        trace_id: str,
        target_event_id: str,
        issues: Sequence[Any],
        verdict: Any,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit a judgement of an earlier Signal."""
        payload = {"target_event_id": target_event_id, "issues": list(issues), "verdict": verdict}
        return await self.extension("workflow").emit_on_trace(SignalType.CRITIQUE, trace_id, payload, options)

    async def emit_escalation(
        self,
        trace_id: str,
        reason: str,
        *,
        target: str | None = None,
        context: Any = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit that work is escalated, and why."""
        emit, payload = self.extension("workflow").emit_on_trace, {"reason": reason}
        return await emit(SignalType.ESCALATION, trace_id, payload, options, target=target, context=context)

    async def emit_consensus(
        self,
        trace_id: str,
        members: Sequence[str],
        verdict: Any,
        *,
        votes: Any = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit what a group of Neurons agreed on."""
        payload = {"members": list(members), "verdict": verdict}
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.CONSENSUS, trace_id, payload, options, votes=votes)

    async def emit_context_sync(
        self,
        trace_id: str,
        snapshot: Any,
        *,
        version: str | int | None = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit a snapshot of shared context."""
        emit = self.extension("workflow").emit_on_trace
        return await emit(SignalType.CONTEXT_SYNC, trace_id, {"snapshot": snapshot}, options, version=version)

    async def emit_audit(
        self,
        trace_id: str,
        kind: str,
        domain: str,
        outcome: str,
        *,
        attempt: int = 1,
        details: Mapping[str, Any] | None = None,
        **options: Unpack[EmitOptions],
    ) -> Signal:
        """Emit a record of a decision; ``details`` are further keys of its payload."""
        required = {"kind": kind, "domain": domain, "outcome": outcome, "attempt": attempt}
        payload = {**(details or {}), **required}
        return await self.extension("workflow").emit_on_trace(SignalType.AUDIT, trace_id, payload, options)

    async def answer_clarification(self, clarification: Signal, answer: Any) -> Signal:
        """Send CLARIFICATION_ANSWER to all listeners, and return it. No Neuron runs for it.

        Raises:
            MalformedSignalError: ``clarification`` is not a CLARIFICATION; nothing was sent.
            CosmoError: Any other error that `emit` raises.
        """
        return await self.extension("workflow").answer_clarification(clarification, answer)

    async def grant_permission(
        self, permission: Signal, *, reason: str | None = None, ttl_ms: int | None = None
    ) -> Signal:
        """Send PERMISSION_DECISION to all listeners, and return it. No Neuron runs for it.

        Args:
            permission: The PERMISSION that asks.
            reason: The reason for the decision.
            ttl_ms: Milliseconds for which the grant is valid; no limit if omitted.

        Raises:
            MalformedSignalError: ``permission`` is not a PERMISSION, or ``ttl_ms`` is negative; nothing was
                sent.
            CosmoError: Any other error that `emit` raises.
        """
        return await self.extension("workflow").decide_permission(permission, True, reason, ttl_ms)

    async def deny_permission(self, permission: Signal, *, reason: str | None = None) -> Signal:
        """Send PERMISSION_DECISION to all listeners, and return it. Raises as `grant_permission` does."""
        return await self.extension("workflow").decide_permission(permission, False, reason, None)

    async def respond_to_clarification(
        self, clarification: Signal, answer: Any, **task: Unpack[ResponseOptions]
    ) -> Pathway:
        """Answer a Neuron's question and dispatch its TASK again, on the same trace.

        CLARIFICATION_ANSWER goes to all listeners. To the list ``input["clarifications"]``, empty at
        first, ``{"question": …, "answer": …}`` is added; the rest of the input stays.

        Args:
            clarification: The CLARIFICATION that asks.
            answer: Anything JSON can carry.
            **task: See `ResponseOptions`.

        Returns:
            The Pathway of the new TASK; its Neuron may ask again, the same question up to ten times (P-8.9).

        Raises:
            MalformedSignalError: ``clarification`` is not a CLARIFICATION, or lacks what is needed to
                dispatch again; the message names the option that replaces it. Nothing was sent.
            NoRouteError: No live Neuron has this id; nothing was sent.
            CosmoError: Any other error that `dispatch` raises.
        """
        return await self.extension("workflow").respond_to_clarification(clarification, answer, task)

    async def respond_to_permission(
        self, permission: Signal, granted: bool, reason: str | None = None, **task: Unpack[ResponseOptions]
    ) -> Pathway:
        """Decide on a Neuron's request for permission, and dispatch its TASK again, on the same trace.

        PERMISSION_DECISION goes to all listeners. To the list ``input["permissions"]``, empty at first,
        ``{"action": …, "scope": …, "granted": …, "reason": …}`` is added; an omitted scope or reason is
        None. Otherwise it works as `respond_to_clarification` does.

        Args:
            permission: The PERMISSION that asks.
            granted: The decision.
            reason: The reason for the decision.
            **task: See `ResponseOptions`.
        """
        return await self.extension("workflow").respond_to_permission(permission, granted, reason, task)


def _check_parts(role: str, synapse: object) -> None:
    if role not in {"orchestrator", "worker"}:
        raise ValueError(f'role is "orchestrator" or "worker", not {role!r}')
    if not satisfies(synapse, Synapse):
        # A URL is not shown: it may contain a password.
        raise TypeError(
            f"synapse is a connected Synapse, not {type(synapse).__name__}: await connect_synapse(url)"
        )


def _ignore(neuron_id: str, dendrite_id: str) -> None:
    """Do nothing when an Engram departs: requests to it fail by their own time limit."""


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
