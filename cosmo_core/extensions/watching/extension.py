"""The extension ``watching``: calls handlers with the Signals of a type, and observes whole traces."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.pathway import H, Pathway, PathwayOwner, SignalHandler, any_of
from cosmo_core.contracts.watcher import Filter, Watcher
from cosmo_core.dendrite.extension import Extension, Ports
from cosmo_core.dendrite.life_cycle import not_running
from cosmo_core.errors import LifecycleError, PathwayClosedError, SynapseError
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.signal import Signal, check_trace_id
from cosmo_core.protocol.signal_type import SignalType


class Watching(Extension):
    """Watches the Signals of one Dendrite's namespace, and subscribes to nothing that has no Watcher.

    `Dendrite.on`, `Dendrite.watch` and `Dendrite.observe_pathway` are the manual of the methods.
    """

    name = "watching"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        # For its Watchers and Pathways, whose owner it is.
        self.spawn = ports.pathways.spawn
        self.time_limit = ports.pathways.time_limit
        self.stop_task = ports.pathways.stop_task
        self.future = ports.pathways.future
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._watchers: dict[SignalType, list[Watcher]] = {}
        self._subscriptions: dict[SignalType, SharedSubscription] = {}
        # By trace, then by identity. Weak, so that an unreferenced Pathway is collected.
        self._observed: dict[str, dict[int, weakref.ref[ObservedPathway]]] = {}
        self._everything = SharedSubscription(
            ports, [ports.subjects.namespace_pattern()], self._deliver, wanted=lambda: bool(self._observed)
        )

    @property
    def watchers(self) -> list[Watcher]:
        """The active Watchers."""
        return [watcher for watchers in self._watchers.values() for watcher in watchers]

    # --- life ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Subscribe for the Watchers that exist already."""
        self._loop = asyncio.get_running_loop()
        for shared in list(self._subscriptions.values()):
            await shared.update()

    def close(self) -> None:
        """Pass on no more Signals. Those that wait for a handler still reach it.

        Subscriptions end with the link; one that is being made ends itself.
        """
        self._closed = True
        for watchers in self._watchers.values():
            watchers.clear()
        for ref in [ref for refs in self._observed.values() for ref in refs.values()]:
            if (pathway := ref()) is not None:
                pathway.close()

    def _check_running(self) -> None:
        if self._loop is None or self._closed:
            raise not_running()
        self.ports.check_dispatching()

    # --- by type ------------------------------------------------------------------------------------

    def on(self, type: SignalType, filter: Filter) -> Callable[[H], H]:
        """See `Dendrite.on`."""
        type = SignalType(type)

        def register(handler: H) -> H:
            if self._loop is not None:
                self.ports.life_cycle.check_thread()
            self._add_watcher(type, handler, filter)
            if self._loop is not None:
                self._update_soon(self._subscriptions[type])
            return handler

        return register

    async def watch(self, type: SignalType, handler: SignalHandler, filter: Filter) -> Watcher:
        """Call ``handler`` from now on. See `Dendrite.watch`."""
        self._check_running()
        watcher = self._add_watcher(type, handler, filter)
        try:
            await self._subscriptions[type].update()
            self._check_running()
        except BaseException:
            watcher.cancel()
            raise
        return watcher

    def _add_watcher(self, type: SignalType, handler: SignalHandler, filter: Filter) -> Watcher:
        if self._closed:
            raise LifecycleError(f"the Dendrite has stopped and cannot watch {type}")
        type = SignalType(type)
        if not callable(handler):
            raise TypeError(f"a handler is a function of a Signal, not {handler!r}")
        watcher = Watcher(self, type, handler, filter, buffer=self.ports.buffer)
        watchers = self._watchers.setdefault(type, [])
        watchers.append(watcher)
        if type not in self._subscriptions:
            self._subscriptions[type] = self._subscription(type, watchers)
        return watcher

    def _subscription(self, type: SignalType, watchers: list[Watcher]) -> SharedSubscription:
        def receive(signal: Signal) -> None:
            # A copy: a handler may add watchers, or cancel them.
            for watcher in tuple(watchers):
                watcher.offer(signal)

        subjects = self.ports.subjects
        patterns = [subjects.broadcast(type), subjects.addressed_pattern(type)]
        return SharedSubscription(self.ports, patterns, receive, wanted=lambda: bool(watchers))

    def remove_watcher(self, watcher: Watcher) -> None:
        """Pass no more Signals to ``watcher``."""
        watchers = self._watchers[watcher.type]
        if watcher not in watchers:
            return
        watchers.remove(watcher)
        if not watchers and self._loop is not None:
            self._update_soon(self._subscriptions[watcher.type])

    async def unsubscribed(self, type: SignalType) -> None:
        """Return when the subscriptions of ``type`` have ended, if it has no Watcher left."""
        await self._subscriptions[type].update()

    def _update_soon(self, shared: SharedSubscription) -> None:
        if not self._closed:
            # At once: a TASK that is dispatched next may be answered before the event loop turns.
            self.spawn(self._update(shared), at_once=True)

    async def _update(self, shared: SharedSubscription) -> None:
        try:
            await shared.update()
        except SynapseError as error:
            logger.warning("the subscription to %s failed: %s", shared.patterns[0], error)

    # --- by trace -----------------------------------------------------------------------------------

    async def observe_pathway(self, trace_id: str) -> ObservedPathway:
        """Return a Pathway that observes a whole trace; see `Dendrite.observe_pathway`."""
        self._check_running()
        pathway = ObservedPathway(self, check_trace_id(trace_id), self.ports.buffer)
        self._observed.setdefault(trace_id, {})[id(pathway)] = weakref.ref(pathway)
        try:
            await self._everything.update()
            self._check_running()
        except BaseException:
            pathway.close()
            raise
        return pathway

    def _deliver(self, signal: Signal) -> None:
        for ref in list(self._observed.get(signal.trace_id, {}).values()):
            if (pathway := ref()) is not None:
                pathway.deliver(signal)

    def remove(self, pathway: Pathway) -> None:
        """Deliver nothing more to ``pathway``; after the last one, end the subscription to all Signals."""
        refs = self._observed.get(pathway.trace_id)
        if refs is None or refs.pop(id(pathway), None) is None:
            return
        if not refs:
            del self._observed[pathway.trace_id]
        if not self._observed and self._loop is not None and not self._loop.is_closed():
            # The collector may run in any thread.
            self._loop.call_soon_threadsafe(self._update_soon, self._everything)


# --- observed Pathways ------------------------------------------------------------------------------


class ObservedPathway(Pathway):
    """Receives every Signal on a trace from the moment it opens, whatever its sender and addressee.

    It follows a workflow rather than one TASK, so only FINAL closes it (P-11.7): an ERROR ends the TASK that
    it answers, and the workflow may go on. Close it, or use it as ``async with``, where no FINAL will come.
    Its ``task_id`` and ``neuron`` are empty.
    """

    __slots__ = ()

    def __init__(self, owner: PathwayOwner, trace_id: str, buffer: int = 1024) -> None:
        super().__init__(owner, trace_id, "", "", buffer)
        # It has no TASK of its own that could be stopped.
        self.keep_running()

    def _is_last(self, type: SignalType) -> bool:
        return False

    def _may_come_after_answer(self, type: SignalType) -> bool:
        # A trace has many TASKs; a Signal that is delivered twice is filtered before.
        return True

    def _is_new(self, delta: Signal) -> bool:
        return True

    def _ends_with(self, type: SignalType) -> bool:
        return type is SignalType.FINAL

    @property
    def _name(self) -> str:
        return self.trace_id

    def _timeout_error(self, types: frozenset[SignalType], timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"no {any_of(types)} arrived on {self.trace_id} within {timeout_s} s")

    def _closed_error(self, types: frozenset[SignalType]) -> PathwayClosedError:
        return PathwayClosedError(f"the Pathway that observes {self.trace_id} closed before {any_of(types)}")

    def __repr__(self) -> str:
        return f"<ObservedPathway {'closed' if self.closed else 'open'} on {self.trace_id}>"


# --- subscriptions ----------------------------------------------------------------------------------


class SharedSubscription:
    """A subscription that exists while it is wanted, and passes each Signal on once.

    Args:
        ports: The ports of the extension.
        patterns: The patterns; one subscription, and so one decode, for each.
        receive: Receives the Signals.
        wanted: Tells whether the Signals are wanted at present.
    """

    def __init__(
        self,
        ports: Ports,
        patterns: Sequence[str],
        receive: Callable[[Signal], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._ports = ports
        self.patterns = patterns
        self._receive = receive
        self._wanted = wanted
        self._seen = self._new_window()
        self._lock = asyncio.Lock()
        self._subscriptions: list[Subscription] = []

    def _new_window(self) -> SeenIds:
        return SeenIds(self._ports.clock.now)

    async def update(self) -> None:
        """Subscribe if Signals are wanted now, otherwise unsubscribe; return when that is done.

        It checks again after every step, so the latest wish counts.

        Raises:
            SynapseError: The Synapse refused the subscription.
        """
        async with self._lock:
            while True:
                listening = len(self._subscriptions)
                if self._wanted():
                    if listening == len(self.patterns):
                        return
                    subscription = await self._ports.listen(self.patterns[listening], self._receive_once)
                    self._subscriptions.append(subscription)
                elif listening:
                    await self._ports.unsubscribe(self._subscriptions.pop())
                else:
                    self._seen = self._new_window()
                    return

    def _receive_once(self, signal: Signal) -> None:
        # A bus may deliver a frame twice.
        if self._seen.add(signal.id):
            self._receive(signal)
