"""Hosting: takes the TASKs for the Axons attached here, runs each once, and sends what answers it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.axon import Axon, error_reply
from cosmo_core.errors import FrameTooLargeError, SynapseError, UnencodableError
from cosmo_core.ids import is_token
from cosmo_core.signal import Signal
from cosmo_core.signal_type import AXON_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.dendrite.link import Link
    from cosmo_core.dendrite.recent import RecentIds
    from cosmo_core.neuron import NeuronFn
    from cosmo_core.plugin import ErrorInfo, NeuronWrapper
    from cosmo_core.synapse import Subscription

ErrorInfoHook = Callable[[Exception, Signal], "ErrorInfo | None"]

CLOSE_TIMEOUT_S: Final = 5.0
"""For how long a Neuron's ``aclose`` may take."""

logger = logging.getLogger("cosmo_core.dendrite")


class _Hosted:
    """One Axon, the TASKs that run on it, and those that wait."""

    __slots__ = ("axon", "backlog", "neuron", "running")

    def __init__(self, axon: Axon, neuron: NeuronFn) -> None:
        self.axon = axon
        # The Neuron itself, outside of any wrapper: it is the one to close.
        self.neuron = neuron
        self.running: dict[str, tuple[asyncio.Task[None], str]] = {}
        self.backlog: deque[Signal] = deque()


class Host:
    """Runs TASKs on the Axons attached to one Dendrite.

    Args:
        link: The way to the bus.
        recent: The TASK ids seen lately; one of them is not run again.
        error_info: Asks the plugins what an exception means.
        expose_errors: Whether the text of an unexpected exception may travel.
    """

    def __init__(
        self, link: Link, recent: RecentIds, *, error_info: ErrorInfoHook, expose_errors: bool
    ) -> None:
        self.duplicates = 0
        self._link = link
        self._recent = recent
        self._error_info = error_info
        self._expose_errors = expose_errors
        self._hosted: dict[str, _Hosted] = {}
        self._intake: list[Subscription] = []
        # Answers to TASKs that were stopped before they ran; no more than fit into the backlogs.
        self._answering: set[asyncio.Task[None]] = set()

    def attach(self, axon: Axon, wrappers: Sequence[NeuronWrapper]) -> None:
        """Serve ``axon``, its Neuron inside ``wrappers``, from the start on.

        Raises:
            ValueError: A Neuron of this id is attached already.
        """
        if axon.neuron_id in self._hosted:
            raise ValueError(f"a Neuron {axon.neuron_id!r} is attached to this Dendrite already")
        served = axon.wrapped(wrappers) if wrappers else axon
        self._hosted[axon.neuron_id] = _Hosted(served, axon.neuron_fn)

    def __iter__(self) -> Iterator[Axon]:
        return (hosted.axon for hosted in self._hosted.values())

    async def start(self) -> None:
        """Listen for TASKs and STOPs."""
        subjects = self._link.subjects
        # Asked for once: up to Python 3.11 every question is a system call.
        self._loop = asyncio.get_running_loop()
        for neuron_id, hosted in self._hosted.items():
            intake = await self._link.listen(
                subjects.neuron(SignalType.TASK, neuron_id),
                partial(self._accept, hosted),
                queue_group=neuron_id,
                refuse=self._refuse_dropped,
            )
            self._intake.append(intake)
            await self._link.listen(subjects.neuron(SignalType.STOP, neuron_id), self._stop)
        if self._hosted:
            # Other implementations of the protocol address a Neuron on everybody's subject.
            intake = await self._link.listen(subjects.everyone(SignalType.TASK), self._accept_addressed)
            self._intake.append(intake)
            await self._link.listen(subjects.everyone(SignalType.STOP), self._stop)

    async def stop_intake(self) -> None:
        """Take no more TASKs."""
        while self._intake:
            await self._intake.pop().unsubscribe()

    async def drain(self, grace_s: float) -> None:
        """Let what runs or waits finish; after ``grace_s`` seconds, cancel it and answer with ERROR."""
        try:
            async with asyncio.timeout(grace_s):
                while running := self._running():
                    await asyncio.wait(running)
        except TimeoutError:
            logger.warning(
                "%d TASKs did not finish within %s s and are cancelled", len(self._running()), grace_s
            )
        for hosted in self._hosted.values():
            waiting, hosted.backlog = hosted.backlog, deque()
            for task in waiting:
                await self._send(task, _cancelled(task, hosted.axon))
        running = self._running()
        for work in running:
            _cancel(work)
        if running:
            await asyncio.wait(running, timeout=CLOSE_TIMEOUT_S)

    async def close_neurons(self) -> None:
        """Let every Neuron release what it holds."""
        for neuron_id, hosted in self._hosted.items():
            aclose = getattr(hosted.neuron, "aclose", None)
            if aclose is None:
                continue
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await aclose()
            except Exception:
                logger.exception("Neuron %r did not close cleanly", neuron_id)

    def _running(self) -> list[asyncio.Task[None]]:
        works = [work for hosted in self._hosted.values() for work, _ in hosted.running.values()]
        return [*works, *self._answering]

    # --- a TASK arrives -----------------------------------------------------------------------------

    def _accept(self, hosted: _Hosted, task: Signal) -> Awaitable[None] | None:
        if not self._recent.add(task.id):
            self.duplicates += 1
            return None
        if len(hosted.running) < hosted.axon.max_concurrency:
            self._begin(hosted, task)
            return None
        if len(hosted.backlog) < hosted.axon.max_backlog:
            hosted.backlog.append(task)
            return None
        # Awaited by the Synapse, so a flood of refusals is held back by its in-flight limit.
        return self._overloaded(hosted, task)

    def _accept_addressed(self, task: Signal) -> Awaitable[None] | None:
        hosted = self._hosted.get(task.directed.id or "") if task.directed is not None else None
        return None if hosted is None else self._accept(hosted, task)

    def _begin(self, hosted: _Hosted, task: Signal) -> None:
        work = self._loop.create_task(self._run(hosted, task), name=hosted.axon.neuron_id)
        hosted.running[task.id] = (work, task.trace_id)

    async def _run(self, hosted: _Hosted, task: Signal) -> None:
        try:
            try:
                answer = await hosted.axon.answer(task, self)
            except asyncio.CancelledError:
                # The TASK ends here, and so does its cancellation: whoever watches is told.
                answer = _cancelled(task, hosted.axon)
            await self._send(task, answer)
        finally:
            del hosted.running[task.id]
            if hosted.backlog:
                self._begin(hosted, hosted.backlog.popleft())

    # --- what answers it ----------------------------------------------------------------------------

    async def emit(self, task: Signal, signal: Signal) -> None:
        """Send a Signal of an Axon to whoever asked for ``task``."""
        if signal.type not in AXON_TYPES:
            raise ValueError(f"an Axon may not produce {signal.type.value}")
        await self._link.send(self._reply_subject(task, signal.type), signal)

    def error_payload(self, error: Exception, task: Signal) -> dict[str, Any]:
        """Return what may be told of an exception: what a plugin says of it, or little more than its type."""
        info = self._error_info(error, task)
        if info is not None:
            return {"code": info.code, "message": info.message, "recoverable": info.recoverable}
        name = type(error).__name__
        text = (
            f"{name}: {error}" if self._expose_errors else f"{name}; the worker's log has it under {task.id}"
        )
        return {"code": "NEURON_ERROR", "message": text, "recoverable": False}

    def _reply_subject(self, task: Signal, type: SignalType) -> str:
        inbox = task.meta.get("reply_to")
        if inbox is not None and is_token(inbox):
            return self._link.subjects.inbox(type, inbox)
        return self._link.subjects.everyone(type)

    async def _send(self, task: Signal, answer: Signal) -> None:
        try:
            dropped = await self._link.send(self._reply_subject(task, answer.type), answer)
            if dropped is not None and answer.type is not SignalType.ERROR:
                await self._send(task, _rejected(task, f"a middleware dropped the answer: {dropped.reason}"))
        except (UnencodableError, FrameTooLargeError) as error:
            await self._send(task, error_reply(task, "OUTPUT_INVALID", str(error), recoverable=False))
        except SynapseError:
            logger.exception("the answer to %s could not be sent", task.id)
        except Exception:
            logger.exception("an outbound middleware failed on the answer to %s", task.id)
            if answer.type is not SignalType.ERROR:
                await self._send(task, _rejected(task, "a middleware of the worker failed on the answer"))

    async def _overloaded(self, hosted: _Hosted, task: Signal) -> None:
        axon = hosted.axon
        message = (
            f"Neuron {axon.neuron_id!r} runs {axon.max_concurrency} TASKs and has {axon.max_backlog} waiting;"
            " try again later, host it more often, or raise its limits"
        )
        await self._send(task, error_reply(task, "OVERLOADED", message, recoverable=True))

    async def _refuse_dropped(self, task: Signal, reason: str) -> None:
        await self._send(task, _rejected(task, reason))

    # --- a STOP arrives -----------------------------------------------------------------------------

    def _stop(self, stop: Signal) -> None:
        if stop.parent_id is not None:
            # A bus may bring the TASK after its STOP: then it counts as run already.
            self._recent.add(stop.parent_id)
        for hosted in self._hosted.values():
            for task_id, (work, trace_id) in hosted.running.items():
                if _stops(stop, task_id, trace_id):
                    _cancel(work)
            for task in [task for task in hosted.backlog if _stops(stop, task.id, task.trace_id)]:
                hosted.backlog.remove(task)
                # Not awaited by the Synapse: held back behind answers, the next STOP would come too late.
                answering = asyncio.get_running_loop().create_task(
                    self._send(task, _cancelled(task, hosted.axon))
                )
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)


def _stops(stop: Signal, task_id: str, trace_id: str) -> bool:
    if stop.parent_id is not None:
        return stop.parent_id == task_id
    return stop.trace_id == trace_id


def _cancel(work: asyncio.Task[None]) -> None:
    # Not at once: work that is cancelled before its first step never runs, not even to clean up.
    asyncio.get_running_loop().call_soon(work.cancel)


def _cancelled(task: Signal, axon: Axon) -> Signal:
    message = f"Neuron {axon.neuron_id!r} was stopped before it answered"
    return error_reply(task, "CANCELLED", message, recoverable=True)


def _rejected(task: Signal, reason: str) -> Signal:
    return error_reply(task, "REJECTED", reason, recoverable=False)
