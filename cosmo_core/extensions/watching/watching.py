"""Watching what passes on the bus: by type, and by trace."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from cosmo_core.dendrite.running import not_running
from cosmo_core.errors import LifecycleError, SynapseError
from cosmo_core.extensions.watching.observed_pathway import ObservedPathway
from cosmo_core.extensions.watching.on_type import Shortcuts
from cosmo_core.extensions.watching.shared_subscription import Tap
from cosmo_core.extensions.watching.watcher import Filter, Watcher
from cosmo_core.protocol.signal import Signal, check_trace_id
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.pathway import H, Pathway, SignalHandler
    from cosmo_core.dendrite.dispatch.pathway_registry import Followed
    from cosmo_core.dendrite.transport.link import Link

logger = logging.getLogger("cosmo_core.dendrite")


class Watch:
    """Brings Signals to those who watch, and listens to nothing that nobody watches.

    Args:
        link: The way to the bus.
        followed: Runs what goes on in the background.
        now: Monotonic seconds.
        buffer: How many Signals wait for a slow handler, and how many an observing Pathway keeps.
    """

    def __init__(self, link: Link, followed: Followed, now: Callable[[], float], *, buffer: int) -> None:
        self.keep = followed.keep
        self.within = followed.within
        self._link = link
        self._now = now
        self._buffer = buffer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._watchers: dict[SignalType, list[Watcher]] = {}
        self._taps: dict[SignalType, Tap] = {}
        # By trace, then by identity. Weak, so that a Pathway nobody holds is gone.
        self._observed: dict[str, dict[int, weakref.ref[ObservedPathway]]] = {}
        self._everything = Tap(
            link, [link.subjects.everything()], self._deliver, wanted=lambda: bool(self._observed), now=now
        )

    @property
    def watchers(self) -> list[Watcher]:
        """Those who watch a type."""
        return [watcher for watchers in self._watchers.values() for watcher in watchers]

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen for those who watch already."""
        self._loop = asyncio.get_running_loop()
        for tap in list(self._taps.values()):
            await tap.settle()

    def close(self) -> None:
        """Offer nothing more to anybody. Handlers may still see what waits for them.

        What is subscribed to ends with the link; a subscription still under way ends itself.
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

    # --- by type ------------------------------------------------------------------------------------

    def add(self, type: SignalType, handler: SignalHandler, filter: Filter) -> Watcher:
        """Call ``handler`` from the start on, or soon if the Dendrite runs. See `Dendrite.on`."""
        watcher = self._enter(type, handler, filter)
        if self._loop is not None:
            self._settle_soon(self._taps[type])
        return watcher

    async def watch(self, type: SignalType, handler: SignalHandler, filter: Filter) -> Watcher:
        """Call ``handler`` from now on. See `Dendrite.watch`."""
        self._check_running()
        watcher = self._enter(type, handler, filter)
        try:
            await self._taps[type].settle()
            self._check_running()
        except BaseException:
            watcher.cancel()
            raise
        return watcher

    def _enter(self, type: SignalType, handler: SignalHandler, filter: Filter) -> Watcher:
        if self._closed:
            raise LifecycleError(f"the Dendrite has stopped: nothing can watch {type.value} on it")
        watcher = Watcher(self, type, handler, filter, buffer=self._buffer)
        watchers = self._watchers.setdefault(type, [])
        watchers.append(watcher)
        if type not in self._taps:
            self._taps[type] = self._tap(type, watchers)
        return watcher

    def _tap(self, type: SignalType, watchers: list[Watcher]) -> Tap:
        def receive(signal: Signal) -> None:
            # A copy: a handler may add watchers, or cancel them.
            for watcher in tuple(watchers):
                watcher.offer(signal)

        subjects = self._link.subjects
        patterns = [subjects.everyone(type), subjects.addressed(type)]
        return Tap(self._link, patterns, receive, wanted=lambda: bool(watchers), now=self._now)

    def remove(self, watcher: Watcher) -> None:
        """Offer nothing more to ``watcher``."""
        watchers = self._watchers[watcher.type]
        if watcher not in watchers:
            return
        watchers.remove(watcher)
        if not watchers and self._loop is not None:
            self._settle_soon(self._taps[watcher.type])

    async def settled(self, type: SignalType) -> None:
        """Return when nothing of ``type`` arrives any more that nobody watches."""
        await self._taps[type].settle()

    def _settle_soon(self, tap: Tap) -> None:
        if not self._closed:
            self.keep(self._settle(tap))

    async def _settle(self, tap: Tap) -> None:
        try:
            await tap.settle()
        except SynapseError as error:
            logger.warning("%s cannot be watched: %s", tap.patterns[0], error)

    # --- by trace -----------------------------------------------------------------------------------

    async def observe(self, trace_id: str) -> ObservedPathway:
        """Return a Pathway that sees a whole trace. See `Dendrite.observe_pathway`."""
        self._check_running()
        pathway = ObservedPathway(self, check_trace_id(trace_id), self._buffer)
        self._observed.setdefault(trace_id, {})[id(pathway)] = weakref.ref(pathway)
        try:
            await self._everything.settle()
            self._check_running()
        except BaseException:
            pathway.close()
            raise
        return pathway

    def _deliver(self, signal: Signal) -> None:
        for ref in list(self._observed.get(signal.trace_id, {}).values()):
            if (pathway := ref()) is not None:
                pathway.deliver(signal)

    def forget(self, pathway: Pathway) -> None:
        """Deliver nothing more to ``pathway``; without the last one, stop listening to everything."""
        refs = self._observed.get(pathway.trace_id)
        if refs is None or refs.pop(id(pathway), None) is None:
            return
        if not refs:
            del self._observed[pathway.trace_id]
        if not self._observed and self._loop is not None and not self._loop.is_closed():
            # A Pathway nobody holds is gone wherever it is collected, maybe in another thread.
            self._loop.call_soon_threadsafe(self._settle_soon, self._everything)


class Watching(Shortcuts):
    """What a Dendrite lets its user watch. Who watches nothing pays nothing."""

    _watch: Watch

    def on(
        self,
        type: SignalType,
        *,
        neuron: str | None = None,
        capability: str | None = None,
        trace_id: str | None = None,
    ) -> Callable[[H], H]:
        """Call the decorated function, plain or async, with every Signal of a type in the namespace.

        Whoever sent it and to whom; this Dendrite's own are seen like anybody's, each once. See `Watcher`.
        Put in place before the start, it misses nothing; later, it begins to listen in the background: use
        `watch` where it matters when. Each type has a shortcut, such as ``@dendrite.on_final``.

        Args:
            type: The type to watch.
            neuron: Only what is directed to this Neuron, which answers to its TASKs are, too.
            capability: Only what is directed to this capability or names it in its payload.
            trace_id: Only what is on this trace.

        Raises:
            LifecycleError: The Dendrite has stopped.
            MalformedSignalError: ``neuron``, ``capability`` or ``trace_id`` is none.
        """
        filter = Filter(neuron, capability, trace_id)

        def register(handler: H) -> H:
            self._watch.add(type, handler, filter)
            return handler

        return register

    async def watch(
        self,
        type: SignalType,
        handler: SignalHandler,
        *,
        neuron: str | None = None,
        capability: str | None = None,
        trace_id: str | None = None,
    ) -> Watcher:
        """Do as `on` does; when this returns, ``handler`` misses nothing that is sent from now on.

        Returns:
            What ends it: ``watcher.cancel()``, or ``async with watcher``.

        Raises:
            LifecycleError: The Dendrite does not run.
            MalformedSignalError: ``neuron``, ``capability`` or ``trace_id`` is none.
            SynapseError: The Synapse would not listen.
        """
        return await self._watch.watch(type, handler, Filter(neuron, capability, trace_id))

    @property
    def watchers(self) -> list[Watcher]:
        """Those that `on` and `watch` made and that are not cancelled."""
        return self._watch.watchers

    async def observe_pathway(self, trace_id: str) -> Pathway:
        """Return a Pathway that sees every Signal on a trace from now on, whoever it is addressed to.

        Unlike the Pathway of a TASK it closes on FINAL only: see `ObservedPathway`. While any is open, this
        Dendrite receives everything that is sent in its namespace.

        Raises:
            LifecycleError: The Dendrite does not run.
            MalformedSignalError: ``trace_id`` is none.
            SynapseError: The Synapse would not listen.
        """
        return await self._watch.observe(trace_id)
