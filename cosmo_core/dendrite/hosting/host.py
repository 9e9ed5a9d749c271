"""Hosting: takes the TASKs for the Axons attached here, and ends them when they are to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.dendrite.discovery.hosted_entity import Resident
from cosmo_core.dendrite.hosting.acknowledging import Acknowledging
from cosmo_core.dendrite.hosting.neuron_runner import Hosted, leaving
from cosmo_core.dendrite.reliability.work_heartbeat import PULSE_S
from cosmo_core.errors import LifecycleError
from cosmo_core.protocol.payloads import given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.engram import MemoryPort
    from cosmo_core.contracts.synapse import Subscription
    from cosmo_core.dendrite.hosting.reply_sender import Answers
    from cosmo_core.dendrite.hosting.seen_ids import RecentIds
    from cosmo_core.dendrite.hosting.stopped_traces import StoppedTraces
    from cosmo_core.dendrite.transport.link import Link
    from cosmo_core.plugins import NeuronWrapper

CLOSE_TIMEOUT_S: Final = 5.0
"""For how long a Neuron's ``aclose``, or its clean-up when it is stopped, may take."""

Undo = Callable[[str], Awaitable[dict[str, Any]]]

# No Neuron has this id.
_EVERYBODY: Final = "*"

logger = logging.getLogger("cosmo_core.dendrite")


class Host:
    """Runs TASKs on the Axons attached to one Dendrite.

    Args:
        link: The way to the bus.
        answers: The way back to those who asked.
        recent: The TASK ids seen lately; one of them is not run again.
        stopped: The traces that were stopped lately.
        undo: Undoes what a stopped trace wrote, and says what STOPPED tells of it.
        name: What tells this Dendrite from others.
    """

    def __init__(
        self,
        link: Link,
        answers: Answers,
        recent: RecentIds,
        stopped: StoppedTraces,
        *,
        undo: Undo,
        name: str,
    ) -> None:
        self._link = link
        self._answers = answers
        self._recent = recent
        self._name = name
        self._stopped = stopped
        self._undo = undo
        self._hosted: dict[str, Hosted] = {}
        self._intake: dict[str, list[Subscription]] = {}
        self._taking: set[str] = set()
        self._leaving = False
        # Axons come at the same time.
        self._turn = asyncio.Lock()

    def __iter__(self) -> Iterator[Axon]:
        return (hosted.axon for hosted in self._hosted.values())

    def residents(self) -> list[Resident]:
        """Return the Neurons attached here, as they are announced."""
        return [self.resident(hosted.axon) for hosted in self._hosted.values()]

    def resident(self, axon: Axon) -> Resident:
        """Return a Neuron, as it is announced."""
        registration = given(role="neuron", capabilities=list(axon.capabilities), version=axon.version)
        return Resident(axon.neuron_id, axon.directed, registration, {"pulse_s": PULSE_S}, self)

    def serves(self, neuron_id: str) -> bool:
        """Tell whether a Neuron attached here has been served."""
        return neuron_id in self._intake

    def load(self, neuron_id: str) -> int:
        """Return how many TASKs run or wait on a Neuron hosted here; none on one that has left."""
        hosted = self._hosted.get(neuron_id)
        return 0 if hosted is None else hosted.load

    def has_room(self, neuron_id: str) -> bool:
        """Tell whether a Neuron hosted here takes work, and would not refuse one more TASK."""
        hosted = self._hosted.get(neuron_id)
        if hosted is None or neuron_id not in self._taking:
            return False
        return hosted.load < hosted.axon.max_concurrency + hosted.axon.max_backlog

    def tasks(self) -> list[Signal]:
        """Return the TASKs that run or wait here. Any thread may ask."""
        return [task for hosted in list(self._hosted.values()) for task in hosted.tasks]

    def neuron_of(self, work: asyncio.Task[Any]) -> str | None:
        """Return the id of the Neuron that an asyncio task runs, if it is hosted here. Any thread may ask."""
        return next((id for id, hosted in list(self._hosted.items()) if hosted.runs_as(work)), None)

    # --- coming and going ---------------------------------------------------------------------------

    def attach(self, axon: Axon, wrappers: Sequence[NeuronWrapper], memory: MemoryPort) -> None:
        """Have ``axon`` ready to be served, its Neuron inside ``wrappers``, and ``memory`` inside that.

        Raises:
            ValueError: A Neuron of this id is attached already.
        """
        if axon.neuron_id in self._hosted:
            raise ValueError(f"a Neuron {axon.neuron_id!r} is attached to this Dendrite already")
        served = axon.wrapped(wrappers, memory) if wrappers or axon.engrams else axon
        self._hosted[axon.neuron_id] = Hosted(
            served, axon.neuron_fn, self._answers, self._recent, self._stopped
        )

    async def start(self) -> None:
        """Listen for the TASKs of everything attached so far, and for STOPs."""
        for neuron_id in self._hosted:
            await self.serve(neuron_id)

    async def serve(self, neuron_id: str) -> None:
        """Listen for the TASKs of a Neuron that is attached, and for STOPs of them.

        Raises:
            LifecycleError: The Dendrite stops meanwhile.
            SynapseError: The Synapse would not listen.
        """
        subjects, hosted = self._link.subjects, self._hosted[neuron_id]
        async with self._turn:
            await self._attend()
            # Nobody else asks when a TASK is done than who gives it to another worker if this one is lost.
            outbox = self._answers.outbox
            tasks = partial(
                self._link.listen,
                subjects.neuron(SignalType.TASK, neuron_id),
                hosted.accept if outbox is None else Acknowledging(hosted, outbox).accept,
                queue_group=neuron_id,
                refuse=self._answers.reject,
            )
            await self._take_in(neuron_id, subjects.neuron(SignalType.STOP, neuron_id), tasks)
            self._taking.add(neuron_id)

    async def attend(self) -> None:
        """Listen for STOPs of whole traces, also where no Neuron is hosted.

        Raises:
            LifecycleError: The Dendrite stops meanwhile.
            SynapseError: The Synapse would not listen.
        """
        async with self._turn:
            await self._attend()

    async def _attend(self) -> None:
        if _EVERYBODY not in self._intake:
            # Other implementations of the protocol address a Neuron on everybody's subject.
            everyone = self._link.subjects.everyone
            addressed = partial(self._link.listen, everyone(SignalType.TASK), self._accept_addressed)
            await self._take_in(_EVERYBODY, everyone(SignalType.STOP), addressed)

    async def _take_in(
        self, name: str, stop_subject: str, listen: Callable[[], Awaitable[Subscription]]
    ) -> None:
        """Listen for STOPs first, then for TASKs; for both, or neither."""
        intake = [await self._link.listen(stop_subject, self._stop)]
        try:
            intake.insert(0, await listen())
            self._check_staying()
        except BaseException:
            for subscription in intake:
                await self._link.end(subscription)
            raise
        self._intake[name] = intake

    def _check_staying(self) -> None:
        if self._leaving:
            raise LifecycleError("the Dendrite stops: it serves no further Neuron")

    def forget(self, neuron_id: str) -> None:
        """Undo `attach` of a Neuron that could not be served."""
        del self._hosted[neuron_id]

    def retire(self, neuron_id: str) -> Axon:
        """Let a Neuron win no more work, and return its Axon.

        Raises:
            KeyError: No Neuron of this id is served, or it leaves already.
        """
        self._taking.remove(neuron_id)
        return self._hosted[neuron_id].axon

    async def detach(self, neuron_id: str, grace_s: float) -> None:
        """Take no more TASKs for a Neuron that retired, let what runs finish as by `drain`, and close it."""
        hosted = self._hosted[neuron_id]
        tasks, stops = self._intake.pop(neuron_id)
        async with contextlib.AsyncExitStack() as stack:
            # What is pushed last happens first, even when who waits for it is cancelled.
            stack.push_async_callback(_close, hosted)
            stack.callback(self._hosted.pop, neuron_id)
            stack.push_async_callback(self._link.end, stops)
            stack.push_async_callback(self._drain, [hosted], grace_s)
            stack.callback(hosted.leave)
            await self._link.end(tasks)

    async def stop_intake(self) -> None:
        """Take no more TASKs."""
        self._leaving = True
        self._taking.clear()
        # A copy: an Axon may be leaving already.
        for tasks, *_ in list(self._intake.values()):
            await self._link.end(tasks)
        for hosted in self._hosted.values():
            hosted.leave()

    async def drain(self, grace_s: float) -> None:
        """Let what runs or waits finish; after ``grace_s`` seconds, cancel it and answer with ERROR."""
        await self._drain(list(self._hosted.values()), grace_s)

    async def _drain(self, ending: Sequence[Hosted], grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                while running := self._running(ending):
                    await asyncio.wait(running)
        except TimeoutError:
            count = sum(hosted.load for hosted in ending)
            logger.warning("%d TASKs did not finish within %s s and are cancelled", count, grace_s)
        finally:
            # Also when who waits for it is cancelled: nothing may run on a host that is gone.
            for hosted in ending:
                hosted.stop(lambda _: True, answers_too=True)
            if self._leaving and self._answers.outbox is not None:
                self._answers.outbox.give_up()
            if running := self._running(ending):
                await asyncio.wait(running, timeout=CLOSE_TIMEOUT_S)

    def _running(self, ending: Sequence[Hosted]) -> list[asyncio.Task[None]]:
        return [*(work for hosted in ending for work in hosted.works), *self._answers.pending]

    async def close_neurons(self) -> None:
        """Let every Neuron release what it holds."""
        for hosted in list(self._hosted.values()):
            await _close(hosted)

    # --- a Signal arrives ---------------------------------------------------------------------------

    def _accept_addressed(self, task: Signal) -> Awaitable[None] | None:
        hosted = self._hosted.get(task.directed.id or "") if task.directed is not None else None
        return None if hosted is None else hosted.accept(task)

    def take(self, neuron_id: str, task: Signal) -> None:
        """Run a TASK that came on another way; it is refused as any other, in the background."""
        if neuron_id in self._taking:
            refusal = self._hosted[neuron_id].accept(task)
        else:
            refusal = self._answers.send(task, leaving(task, neuron_id))
        if refusal is not None:
            self._answers.keep(_wait_for(refusal))

    def _stop(self, stop: Signal) -> None:
        if stop.id in self._recent:
            return
        self._recent.add(stop.id)
        if stop.parent_id is not None:
            # A bus may bring the TASK after its STOP: then it counts as run already. That one which ran
            # already is stopped makes it no duplicate.
            if stop.parent_id not in self._recent:
                self._recent.add(stop.parent_id)
        else:
            self._stopped.add(stop)
        ending = [work for hosted in self._hosted.values() for work in hosted.stop(partial(_concerns, stop))]
        if stop.parent_id is None:
            self._answers.keep(self._acknowledge(stop, ending))

    async def _acknowledge(self, stop: Signal, ending: Sequence[asyncio.Task[None]]) -> None:
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_TIMEOUT_S)
        ended = sum(work.done() for work in ending)
        undone = await self._undo(stop.trace_id) if stop.payload["rollback"] else {"rolled_back": 0}
        await self._answers.reply(stop, SignalType.STOPPED, {"cancelled": ended, **undone}, self._name)


async def _wait_for(refusal: Awaitable[None]) -> None:
    await refusal


def _concerns(stop: Signal, task: Signal) -> bool:
    if stop.parent_id is not None:
        return stop.parent_id == task.id
    return stop.trace_id == task.trace_id


async def _close(hosted: Hosted) -> None:
    aclose = getattr(hosted.neuron, "aclose", None)
    if aclose is None:
        return
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await aclose()
    except Exception:
        logger.exception("Neuron %r did not close cleanly", hosted.axon.neuron_id)
