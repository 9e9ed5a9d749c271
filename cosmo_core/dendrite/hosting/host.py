"""The host of a Dendrite's Axons: subscribes to their TASKs and STOPs, and drains and closes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.boundary import logged_failures, logger
from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.task_context import current_task
from cosmo_core.dendrite.discovery.announcer import SLICE, HostedEntity
from cosmo_core.dendrite.hosting.neuron_runner import NeuronRunner, cancelled_error, shutting_down_error
from cosmo_core.dendrite.hosting.reply_sender import ReplySender
from cosmo_core.dendrite.hosting.stopped_work import StoppedWork
from cosmo_core.dendrite.life_cycle import StopTime
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import LifecycleError
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import NeuronWrapper

PULSE_S: Final = 1.0
"""Seconds between two work heartbeats of a host (P-4.14)."""

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds that a Neuron's ``aclose``, or its clean-up when its trace is stopped, may take."""

StopTrace = Callable[[Signal], Awaitable[dict[str, Any]]]
"""Handles the STOP of a whole trace beyond its TASKs; returns its part of the STOPPED payload."""

# Not a token, so no Neuron has this id.
_BROADCAST: Final = "*"


class Host:
    """Runs TASKs on the Axons attached to one Dendrite.

    Args:
        link: The link to the Synapse.
        replies: Sends the replies.
        seen: The ids of recent TASKs; a repeated one has no effect.
        stopped: The recently stopped traces and TASKs.
        stop_trace: Called for every STOP of a whole trace.
        name: The id of this Dendrite.
    """

    def __init__(
        self,
        link: Link,
        replies: ReplySender,
        seen: SeenIds,
        stopped: StoppedWork,
        stop_trace: StopTrace,
        name: str,
    ) -> None:
        self._link = link
        self._replies = replies
        self._seen = seen
        self._stopped = stopped
        self._stop_trace = stop_trace
        self._name = name
        self._runners: dict[str, NeuronRunner] = {}
        # Made once, because every announcement needs all of them.
        self._entities: dict[str, HostedEntity] = {}
        self._subscriptions: dict[str, list[Subscription]] = {}
        # The ids of the Neurons that accept new work.
        self._accepting: set[str] = set()
        self._stopping = False
        # Axons may be added concurrently.
        self._lock = asyncio.Lock()

    def __iter__(self) -> Iterator[Axon]:
        return (runner.axon for runner in self._runners.values())

    def entities(self) -> list[HostedEntity]:
        """Return the announcements of the attached Neurons."""
        return list(self._entities.values())

    def entity(self, axon: Axon) -> HostedEntity:
        """Return the announcement of a Neuron."""
        registration = without_none(role="neuron", capabilities=list(axon.capabilities), version=axon.version)
        meta = {"pulse_s": PULSE_S}
        return HostedEntity(axon.neuron_id, axon.directed, registration, meta, self, axon.details)

    def serves(self, neuron_id: str) -> bool:
        """Tell whether an attached Neuron is served."""
        return neuron_id in self._subscriptions

    def load(self, neuron_id: str) -> int:
        """Return the number of TASKs that run or wait on a Neuron; 0 if it is not attached."""
        runner = self._runners.get(neuron_id)
        return 0 if runner is None else runner.load

    def accepts(self, neuron_id: str) -> bool:
        """Tell whether a Neuron is served and is not being detached."""
        return neuron_id in self._accepting

    def can_accept(self, neuron_id: str) -> bool:
        """Tell whether a hosted Neuron would accept one more TASK."""
        runner = self._runners.get(neuron_id)
        if runner is None or neuron_id not in self._accepting:
            return False
        return runner.load < runner.axon.max_concurrency + runner.axon.max_backlog

    def tasks(self) -> Iterator[Signal]:
        """Iterate over the TASKs that run or wait on all Neurons. Thread-safe."""
        # Most of many Neurons are idle.
        return chain.from_iterable(runner.tasks for runner in list(self._runners.values()) if runner.load)

    def neuron_of(self, work: asyncio.Task[Any]) -> str | None:
        """Return the id of the hosted Neuron that an asyncio task runs, if it runs one. Thread-safe."""
        return next((id for id, runner in list(self._runners.items()) if runner.runs_in(work)), None)

    # --- attaching and detaching --------------------------------------------------------------------

    def attach(self, axon: Axon, wrappers: Sequence[NeuronWrapper]) -> None:
        """Prepare ``axon`` to be served, its Neuron inside ``wrappers``; the first is the outermost.

        Raises:
            ValueError: A Neuron of this id is attached already.
        """
        if axon.neuron_id in self._runners:
            raise ValueError(f"a Neuron {axon.neuron_id!r} is attached to this Dendrite already")
        served = axon.wrapped(wrappers) if wrappers else axon
        self._entities[axon.neuron_id] = self.entity(served)
        self._runners[axon.neuron_id] = NeuronRunner(
            served, axon.neuron_fn, self._replies, self._seen, self._stopped
        )

    async def start(self) -> None:
        """Serve every Neuron attached so far."""
        for count, neuron_id in enumerate(self._runners, 1):
            await self.serve(neuron_id)
            if count % SLICE == 0:
                await asyncio.sleep(0)

    async def serve(self, neuron_id: str) -> None:
        """Subscribe to the TASKs of an attached Neuron, and to STOPs of them.

        Raises:
            LifecycleError: The Dendrite is stopping.
            SynapseError: The Synapse refused a subscription.
        """
        subjects, runner = self._link.subjects, self._runners[neuron_id]
        async with self._lock:
            await self._listen_for_stops()
            # Only a Synapse that gives the TASKs of a lost worker to another one needs acknowledgements.
            accept = runner.accept_acknowledged if self._replies.redelivers else runner.accept
            tasks = partial(
                self._link.listen,
                subjects.neuron(SignalType.TASK, neuron_id),
                accept,
                queue_group=neuron_id,
                refuse=self._replies.reject,
            )
            await self._subscribe(neuron_id, subjects.neuron(SignalType.STOP, neuron_id), tasks)
            self._accepting.add(neuron_id)

    async def listen_for_stops(self) -> None:
        """Subscribe to STOPs of whole traces, also where no Neuron is hosted.

        Raises:
            LifecycleError: The Dendrite is stopping.
            SynapseError: The Synapse refused a subscription.
        """
        async with self._lock:
            await self._listen_for_stops()

    async def _listen_for_stops(self) -> None:
        if _BROADCAST not in self._subscriptions:
            # Other implementations of the protocol address a Neuron on the broadcast subject.
            broadcast = self._link.subjects.broadcast
            addressed = partial(
                self._link.listen,
                broadcast(SignalType.TASK),
                self._accept_addressed,
                refuse=self._refuse_addressed,
            )
            await self._subscribe(_BROADCAST, broadcast(SignalType.STOP), addressed)

    async def _subscribe(
        self, name: str, stop_subject: str, listen: Callable[[], Awaitable[Subscription]]
    ) -> None:
        """Subscribe to STOPs first, then to TASKs, or to neither."""
        stops, tasks = await self._link.listen_all(
            partial(self._link.listen, stop_subject, self._stop), listen
        )
        if self._stopping:
            await self._link.unsubscribe(stops, tasks)
            raise LifecycleError("the Dendrite is stopping and cannot serve another Neuron")
        self._subscriptions[name] = [tasks, stops]

    def undo_attach(self, neuron_id: str) -> None:
        """Remove a Neuron that could not be served."""
        del self._runners[neuron_id], self._entities[neuron_id]

    def retire(self, neuron_id: str) -> Axon:
        """Make a Neuron accept no more offered work, and return its Axon.

        Raises:
            KeyError: No Neuron of this id is served, or it is being detached already.
        """
        self._accepting.remove(neuron_id)
        return self._runners[neuron_id].axon

    def runs_caller(self) -> bool:
        """Tell whether the caller runs for a TASK that is hosted here."""
        task = current_task()
        return task is not None and any(runner.runs_task(task.id) for runner in self._runners.values())

    async def detach(self, neuron_id: str, time: StopTime) -> None:
        """End the subscriptions of a retired Neuron, let its TASKs finish as `drain` does, and close it."""
        runner = self._runners[neuron_id]
        tasks, stops = self._subscriptions.pop(neuron_id)
        async with contextlib.AsyncExitStack() as stack:
            # Executed in reverse order, even when the caller is cancelled.
            stack.push_async_callback(_close, runner, time.left)
            stack.callback(self._leave, neuron_id)
            stack.push_async_callback(time.run, "subscriptions", self._link.unsubscribe, stops)
            stack.push_async_callback(self._drain, [runner], time)
            stack.callback(runner.refuse_all)
            await time.run("subscriptions", self._link.unsubscribe, tasks)

    def _leave(self, neuron_id: str) -> None:
        # A Neuron that detached itself still has to answer: a stop waits for that.
        del self._entities[neuron_id]
        for work in self._runners.pop(neuron_id).running():
            self._replies.spawn(_ended(work))

    async def stop_accepting(self) -> None:
        """Accept no more TASKs."""
        self._stopping = True
        self._accepting.clear()
        try:
            await self._link.unsubscribe(*(tasks for tasks, *_ in self._subscriptions.values()))
        finally:
            for runner in self._runners.values():
                runner.refuse_all()

    async def drain(self, time: StopTime) -> None:
        """Let the running and waiting TASKs finish; cancel them after the grace period.

        A TASK whose Neuron calls this is neither waited for nor cancelled.
        """
        await self._drain(list(self._runners.values()), time)

    async def _drain(self, ending: Sequence[NeuronRunner], time: StopTime) -> None:
        caller = current_task()
        own = None if caller is None else caller.id
        try:
            async with asyncio.timeout_at(time.grace_ends):
                while running := self._running(ending, own):
                    await asyncio.wait(running)
        except TimeoutError:
            count = sum(runner.load for runner in ending)
            logger.warning("%d TASKs did not finish within %s s and are cancelled", count, time.grace_s)
        finally:
            # Also when the caller is cancelled: no work may outlive its host.
            for runner in ending:
                runner.stop(lambda task: task.id != own, cancel_replies=True)
            if self._stopping:
                self._replies.stop_redelivery()
            if running := self._running(ending, own):
                await asyncio.wait(running, timeout=time.left(share=0.5))

    def _running(self, ending: Sequence[NeuronRunner], own: str | None = None) -> list[asyncio.Task[None]]:
        return [*(work for runner in ending for work in runner.running(own)), *self._replies.pending]

    async def close_neurons(self, time: StopTime) -> None:
        """Let every Neuron release its resources, all at once."""
        # The last step of a stop, so it may take all of the time that is left.
        closing = (_close(runner, partial(time.left, share=1.0)) for runner in self._runners.values())
        await asyncio.gather(*closing)

    # --- received Signals ---------------------------------------------------------------------------

    def _accept_addressed(self, task: Signal) -> Awaitable[None] | None:
        runner = self._addressed(task)
        return None if runner is None else runner.accept(task)

    async def _refuse_addressed(self, task: Signal, reason: str) -> None:
        if self._addressed(task) is not None:
            await self._replies.reject(task, reason)

    def _addressed(self, task: Signal) -> NeuronRunner | None:
        return self._runners.get(task.directed.id or "") if task.directed is not None else None

    def run(self, neuron_id: str, task: Signal) -> None:
        """Run a TASK that did not arrive on its Neuron's subject; a refusal is sent in the background."""
        refusal: Awaitable[None] | None
        if neuron_id not in self._accepting:
            refusal = self._replies.send(task, shutting_down_error(task, neuron_id))
        elif self._stopped.covers_cause(task):
            # The work was offered before its trace was stopped, and awarded afterwards.
            refusal = self._replies.send(task, cancelled_error(task, self._runners[neuron_id].axon))
        else:
            refusal = self._runners[neuron_id].accept(task)
        if refusal is not None:
            self._replies.spawn(_await(refusal))

    def _stop(self, stop: Signal) -> None:
        if not self._stopped.add(stop):
            return
        if stop.parent_id is not None:
            for runner in self._runners.values():
                runner.stop_task(stop.parent_id)
            return
        trace_id = stop.trace_id
        ending = [
            work
            for runner in self._runners.values()
            for work in runner.stop(lambda task: task.trace_id == trace_id)
        ]
        self._replies.spawn(self._confirm(stop, ending))

    async def _confirm(self, stop: Signal, ending: Sequence[asyncio.Task[None]]) -> None:
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_TIMEOUT_S)
        ended = sum(work.done() for work in ending)
        details = await self._stop_trace(stop)
        payload = {"rolled_back": 0, **details, "cancelled": ended}
        await self._replies.reply(stop, SignalType.STOPPED, payload, self._name)


async def _await(refusal: Awaitable[None]) -> None:
    await refusal


async def _ended(work: asyncio.Task[None]) -> None:
    await asyncio.wait([work])


async def _close(runner: NeuronRunner, left: Callable[[], float]) -> None:
    aclose = getattr(runner.neuron, "aclose", None)
    if aclose is None:
        return
    with logged_failures("Neuron %r did not close cleanly", runner.axon.neuron_id):
        async with asyncio.timeout(min(CLOSE_TIMEOUT_S, left())):
            await aclose()
