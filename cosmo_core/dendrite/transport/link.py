"""The one place where a Dendrite touches its Synapse: Signals out, Signals in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Literal

import attrs

from cosmo_core.contracts.delivery import (
    FrameHandler,
    Guarantees,
    HeldFrame,
    Subscription,
    UndeliveredHandler,
)
from cosmo_core.contracts.dendrite import DendriteInfo, Role
from cosmo_core.contracts.synapse import Synapse, ThreadPublisher
from cosmo_core.dendrite.transport.middleware import Chain
from cosmo_core.errors import LifecycleError, MalformedSignalError, RejectedError, RoleError
from cosmo_core.protocol.signal import Signal, decode, encode, shorten_deadline
from cosmo_core.protocol.signal_type import ORCHESTRATION_TYPES, SignalType
from cosmo_core.protocol.subjects import Subjects

if TYPE_CHECKING:
    from cosmo_core.plugins import Contribution, Dropped, PluginManager, SignalObserver

Receiver = Callable[[Signal], Awaitable[None] | None]
Refuse = Callable[[Signal, str], Awaitable[None]]
Leave = Callable[[bytes], Awaitable[None]]

logger = logging.getLogger("cosmo_core.dendrite")


@attrs.define
class _Way:
    """Where a Signal goes, and whether it has left: what cannot be taken back cannot be refused."""

    subject: str
    shared: bool
    since: float
    leave: Leave | None = None
    left: bool = False


class Link:
    """Encodes, guards and publishes what leaves; decodes and hands over what arrives.

    Attributes:
        subjects: The subjects of the Dendrite's namespace.
        malformed: How many frames arrived that were no Signals.
        tasks: What the subject of every TASK begins with; the id of its Neuron is the rest.
        passing: What is on its way in through middleware, by id.
    """

    def __init__(self, synapse: Synapse, namespace: str, role: Role) -> None:
        self.subjects = Subjects(namespace)
        self.malformed = 0
        self._undeliverable: UndeliveredHandler | None = None
        self.passing: dict[str, Signal] = {}
        self._synapse = synapse
        self.tasks = self.subjects.neuron(SignalType.TASK, "")
        self._forbidden = ORCHESTRATION_TYPES if role == "worker" else frozenset[SignalType]()
        self._outbound: Chain[_Way] | None = None
        self._inbound: Chain[Receiver] | None = None
        self._observers: list[Contribution[SignalObserver]] = []
        self._failed_observers: set[int] = set()
        self._subscriptions: list[Subscription] = []
        self._closed = False

    def open(self, plugins: PluginManager, dendrite: DendriteInfo, undeliverable: UndeliveredHandler) -> None:
        """Compile the middleware and observers of the plugins. Nothing is looked up per Signal after that.

        Args:
            plugins: The hook plugins.
            dendrite: The Dendrite that the hooks are called for.
            undeliverable: Called with each Signal for the hosts of one id that the Synapse could not deliver.

        Raises:
            PluginError: A plugin's contribution cannot be used.
        """
        # Not at the top: a program that only makes Signals does not need the plugin machinery.
        from cosmo_core.dendrite.transport.middleware import compile_chain

        outbound = plugins.signal_middleware(dendrite, "outbound")
        inbound = plugins.signal_middleware(dendrite, "inbound")
        self._outbound = compile_chain(outbound, self._publish) if outbound else None
        self._inbound = compile_chain(inbound, _hand_over) if inbound else None
        self._observers = plugins.signal_observers(dendrite)
        self._undeliverable = undeliverable

    def is_observed(self) -> bool:
        """Tell whether a middleware or an observer sees outbound Signals."""
        return self._outbound is not None or bool(self._observers)

    @property
    def guarantees(self) -> Guarantees:
        """What the Synapse promises."""
        return self._synapse.guarantees

    # --- out ----------------------------------------------------------------------------------------

    def allows(self, type: SignalType) -> bool:
        """Tell whether this Dendrite's role lets it emit a type."""
        return type not in self._forbidden

    def check_role(self, type: SignalType) -> None:
        """Refuse what this Dendrite's role may not emit.

        Raises:
            RoleError: A worker may not orchestrate.
        """
        if type in self._forbidden:
            raise RoleError(
                f'a Dendrite with role="worker" may not emit {type.value}; use one with role="orchestrator"'
            )

    def send(self, subject: str, signal: Signal, promoted: bool = False) -> Awaitable[Dropped | None]:
        """Publish ``signal``; the awaitable's result says why, if a middleware dropped it.

        Args:
            subject: Where to.
            signal: What.
            promoted: It is what a host made of an output, as its TASK asked: no role forbids that.

        Raises:
            RoleError: The Dendrite's role forbids the type; nothing was sent.
            UnencodableError: JSON cannot carry the payload; nothing was sent.
            SynapseError: The Synapse is closed, or the frame is too large for it. Raised when awaited.
        """
        if signal.type in self._forbidden and not promoted:
            self.check_role(signal.type)
        if self._outbound is not None:
            return self._send_through(self._outbound, _Way(subject, shared=False, since=monotonic()), signal)
        if self._observers:
            self._observe("sent", signal)
        return self._synapse.publish(subject, encode(signal))

    def send_shared(self, subject: str, signal: Signal) -> Awaitable[Dropped | None]:
        """Publish what the hosts of one id share, as a TASK, as `send` does; the role was checked.

        If the Synapse cannot deliver it, the handler that `open` got is called.
        """
        if self._outbound is not None:
            return self._send_through(self._outbound, _Way(subject, shared=True, since=monotonic()), signal)
        if self._observers:
            self._observe("sent", signal)
        return self._synapse.publish(
            subject, encode(signal), undelivered=self._undeliverable, message_id=signal.id
        )

    async def send_or_raise(self, subject: str, signal: Signal) -> None:
        """Publish ``signal`` as `send` does.

        Raises:
            RejectedError: A middleware of this Dendrite dropped it.
        """
        dropped = await self.send(subject, signal)
        if dropped is not None:
            raise rejected(signal, dropped)

    def send_answer(
        self, subject: str, answer: Signal, leave: Leave, promoted: bool = False
    ) -> Awaitable[Dropped | None]:
        """Send as `send` does, but have ``leave`` publish the frame."""
        if answer.type in self._forbidden and not promoted:
            self.check_role(answer.type)
        if self._outbound is not None:
            way = _Way(subject, shared=False, since=monotonic(), leave=leave)
            return self._send_through(self._outbound, way, answer)
        if self._observers:
            self._observe("sent", answer)
        return leave(encode(answer))

    def send_frame(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> Awaitable[None]:
        """Publish a frame that is no news to anybody here: no middleware and no observer sees it."""
        return self._synapse.publish(subject, frame, undelivered=undelivered)

    def publish_from_thread(self, subject: str, signal: Signal) -> None:
        """Publish ``signal`` while the event loop is blocked, if the Synapse can; without middleware."""
        if isinstance(self._synapse, ThreadPublisher):
            self._synapse.publish_from_thread(subject, encode(signal))

    async def _send_through(self, outbound: Chain[_Way], way: _Way, signal: Signal) -> Dropped | None:
        try:
            result = await outbound(way, signal)
        except Exception:
            if not way.left:
                raise
            logger.exception("an outbound middleware failed after %s %s left", signal.type.value, signal.id)
            return None
        if way.left or isinstance(result, Signal):
            return None
        self._observe("dropped", signal, result.reason)
        return result

    async def _publish(self, way: _Way, signal: Signal) -> Signal:
        signal = shorten_deadline(signal, monotonic() - way.since)
        frame = encode(signal)
        if self._observers:
            self._observe("sent", signal)
        if way.shared:
            await self._synapse.publish(
                way.subject, frame, undelivered=self._undeliverable, message_id=signal.id
            )
        elif way.leave is not None:
            await way.leave(frame)
        else:
            await self._synapse.publish(way.subject, frame)
        way.left = True
        return signal

    # --- in -----------------------------------------------------------------------------------------

    async def listen(
        self,
        pattern: str,
        receive: Receiver,
        *,
        queue_group: str | None = None,
        refuse: Refuse | None = None,
    ) -> Subscription:
        """Call ``receive`` with every Signal that arrives, and ``refuse`` with what a middleware drops.

        Raises:
            LifecycleError: The Dendrite has stopped meanwhile.
            SynapseError: The Synapse would not listen.
        """
        inbound = self._inbound
        taken = receive if inbound is None else self._chained(inbound, receive, refuse)
        handler = self._direct(taken, self.subjects.type_of(pattern))
        subscription = await self._synapse.subscribe(pattern, handler, queue_group=queue_group)
        if self._closed:
            # Nobody would end it any more.
            await subscription.unsubscribe()
            raise LifecycleError(f"the Dendrite stopped before it could listen to {pattern}")
        self._subscriptions.append(subscription)
        return subscription

    def _direct(self, receive: Receiver, expected: SignalType | None) -> FrameHandler:
        def handle(frame: bytes) -> Awaitable[None] | None:
            try:
                signal = decode(frame)
            except MalformedSignalError as error:
                self._reject(error)
                return None
            if expected is not None and signal.type is not expected:
                self._reject(
                    MalformedSignalError("type", f"{signal.type.value} on a subject of {expected.value}")
                )
                return None
            # Not isinstance: it takes twice as long, for every Signal.
            if type(frame) is HeldFrame:
                signal = shorten_deadline(signal, frame.held_s)
            if self._observers:
                self._observe("received", signal)
            return receive(signal)

        return handle

    def _chained(self, inbound: Chain[Receiver], receive: Receiver, refuse: Refuse | None) -> Receiver:
        # One Signal at a time, first come first served: a slow middleware delays, it does not reorder.
        in_order = asyncio.Lock()

        async def run(signal: Signal) -> None:
            since = monotonic()
            works: list[Awaitable[None] | None] = []

            def take(passed: Signal) -> None:
                works.append(receive(shorten_deadline(passed, monotonic() - since)))

            self.passing[signal.id] = signal
            try:
                async with in_order:
                    reason = await self._pass(inbound, take, signal)
                    if reason is not None and refuse is not None and not works:
                        await refuse(signal, reason)
            finally:
                self.passing.pop(signal.id, None)
            # Out of line: a TASK may take long, and those after it shall not wait for that.
            for work in works:
                if work is not None:
                    await work

        return run

    async def _pass(self, inbound: Chain[Receiver], take: Receiver, signal: Signal) -> str | None:
        """Send a Signal through the inbound middleware; return why, if it was dropped."""
        try:
            result = await inbound(take, signal)
        except Exception:
            logger.exception("inbound middleware failed on %s %s", signal.type.value, signal.id)
            reason = "a middleware of the receiver failed"
        else:
            if isinstance(result, Signal):
                return None
            reason = result.reason
        self._observe("dropped", signal, reason)
        return reason

    def _reject(self, error: MalformedSignalError) -> None:
        self.malformed += 1
        # The 1st, 10th, 100th, ...: a flood of garbage must not become a flood of log lines.
        if str(self.malformed).strip("0") == "1":
            logger.warning("malformed frame ignored, %d so far; this one: %s", self.malformed, error)
        self._observe("malformed", None, str(error))

    # --- watching -----------------------------------------------------------------------------------

    def _observe(
        self,
        kind: Literal["sent", "received", "dropped", "malformed"],
        signal: Signal | None,
        reason: str | None = None,
    ) -> None:
        if not self._observers:
            return
        from cosmo_core.plugins import SignalEvent

        event = SignalEvent(kind=kind, signal=signal, reason=reason)
        for index, observer in enumerate(self._observers):
            try:
                observer.value(event)
            except Exception:
                if index not in self._failed_observers:
                    self._failed_observers.add(index)
                    logger.exception(
                        "an observer of %s failed; further failures are not logged", observer.plugin
                    )

    async def end(self, subscription: Subscription) -> None:
        """End one subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        await subscription.unsubscribe()

    async def close(self) -> None:
        """End every subscription, and allow no further one."""
        self._closed = True
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()


async def _hand_over(receive: Receiver, signal: Signal) -> Signal:
    receive(signal)
    return signal


def rejected(signal: Signal, dropped: Dropped) -> RejectedError:
    """Make the error for a Signal that an outbound middleware dropped."""
    return RejectedError(f"a middleware dropped {signal.type.value} {signal.id}: {dropped.reason}")
