"""The link of a Dendrite to its Synapse: encodes and publishes Signals, subscribes and decodes frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.boundary import logger, must_pass
from cosmo_core.contracts.delivery import (
    DONE,
    FrameHandler,
    Guarantees,
    HeldFrame,
    Subscription,
    UndeliveredHandler,
)
from cosmo_core.contracts.eager_tasks import eager_tasks
from cosmo_core.contracts.options import Role
from cosmo_core.contracts.synapse import AnswerStore, Synapse, ThreadPublisher
from cosmo_core.contracts.task_context import outside_task
from cosmo_core.dendrite.life_cycle import not_running
from cosmo_core.dendrite.transport import task_log
from cosmo_core.errors import LifecycleError, MalformedSignalError, RejectedError, RoleError
from cosmo_core.protocol.signal import Signal, decode, encode, shorten_deadline
from cosmo_core.protocol.signal_type import ORCHESTRATION_TYPES, SignalType
from cosmo_core.protocol.subjects import Subjects

if TYPE_CHECKING:
    from cosmo_core.dendrite.transport.middleware import Chain, Pending
    from cosmo_core.plugins import Contribution, Dropped, PluginManager, SignalObserver
    from cosmo_core.plugins.shapes import DendriteInfo

Receiver = Callable[[Signal], Awaitable[None] | None]
"""Receives a Signal. If it returns an awaitable, the delivery is acknowledged when that completes."""

Refuse = Callable[[Signal, str], Awaitable[None]]
"""Handles a Signal that a middleware dropped, and the reason."""

Publish = Callable[[bytes], Awaitable[None]]
"""Publishes an encoded Signal."""


class _Route(msgspec.Struct):
    """The route of one Signal through the outbound middleware.

    Attributes:
        subject: The subject to publish on.
        shared: Whether the hosts of one id share it, as in `Link.send_shared`.
        since: The time at which it entered the middleware, in monotonic seconds.
        publish: Publishes the frame in place of the Synapse.
        published: Whether it was published; after that, an error of a middleware cannot reject it.
    """

    subject: str
    shared: bool
    since: float
    publish: Publish | None = None
    published: bool = False


class Link:
    """Publishes and receives the Signals of one Dendrite, through its middleware and observers.

    Attributes:
        subjects: The subjects of the Dendrite's namespace.
        malformed: The number of received frames that were not valid Signals.
        tasks: The prefix of the subject of every TASK; the id of its Neuron follows.
        in_middleware: The deliveries that are in inbound middleware now, and that a drop is answered for, by
            identity: one Signal may be in several deliveries.
    """

    def __init__(self, synapse: Synapse, namespace: str, role: Role) -> None:
        self.subjects = Subjects(namespace)
        self.malformed = 0
        self._undeliverable: UndeliveredHandler | None = None
        self.in_middleware: dict[int, Signal] = {}
        self._synapse = synapse
        stores = synapse.guarantees.durable and satisfies(synapse, AnswerStore)
        self._answers = cast("AnswerStore", synapse) if stores else None
        self.tasks = self.subjects.neuron(SignalType.TASK, "")
        self._forbidden = ORCHESTRATION_TYPES if role == "worker" else frozenset[SignalType]()
        # Until `open`, every Signal is refused: it would pass no middleware.
        self._outbound: Chain[_Route] | None = _refuse
        self._inbound: Chain[Receiver] | None = None
        self._observers: list[Contribution[SignalObserver]] = []
        self._failed_observers: set[int] = set()
        # By identity: ending one costs the same however many there are.
        self._subscriptions: dict[int, Subscription] = {}
        self._closed = False

    def open(self, plugins: PluginManager, dendrite: DendriteInfo, undeliverable: UndeliveredHandler) -> None:
        """Compile the middleware and observers of the plugins, so that no Signal needs a lookup.

        Args:
            plugins: The hook plugins.
            dendrite: The Dendrite that the hooks are called for.
            undeliverable: Called with each Signal for the hosts of one id that the Synapse could not deliver.

        Raises:
            PluginError: A plugin's contribution cannot be used.
        """
        # Imported late: a program that only makes Signals does not need the plugin system.
        from cosmo_core.dendrite.transport.middleware import compile_chain
        from cosmo_core.plugins import Contribution

        outbound = plugins.signal_middleware(dendrite, "outbound")
        inbound = plugins.signal_middleware(dendrite, "inbound")
        self._outbound = compile_chain(outbound, self._publish, "outbound") if outbound else None
        self._inbound = compile_chain(inbound, _deliver, "inbound") if inbound else None
        self._observers = plugins.signal_observers(dendrite)
        if task_log.is_enabled():
            self._observers.append(Contribution(task_log.logger.name, None, None, 0, task_log.log_event))
        self._undeliverable = undeliverable

    def is_observed(self) -> bool:
        """Tell whether a middleware or an observer sees outbound Signals."""
        return self._outbound is not None or bool(self._observers)

    @property
    def guarantees(self) -> Guarantees:
        """What the Synapse promises."""
        return self._synapse.guarantees

    # --- sending ------------------------------------------------------------------------------------

    def allows(self, type: SignalType) -> bool:
        """Tell whether this Dendrite's role lets it emit a type."""
        return type not in self._forbidden

    def check_role(self, type: SignalType) -> None:
        """Refuse a type that this Dendrite's role may not emit.

        Raises:
            RoleError: The Dendrite is a worker, and the type is an orchestration type.
        """
        if type in self._forbidden:
            raise RoleError(
                f'a Dendrite with role="worker" may not emit {type.value}; use one with role="orchestrator"'
            )

    async def send(
        self, subject: str, signal: Signal, skip_role_check: bool = False, publish: Publish | None = None
    ) -> Dropped | None:
        """Publish ``signal``; return the reason if a middleware dropped it. Raises as `begin_send` does."""
        sending = self.begin_send(subject, signal, skip_role_check, publish)
        return None if sending is None else await sending

    def begin_send(
        self, subject: str, signal: Signal, skip_role_check: bool = False, publish: Publish | None = None
    ) -> Awaitable[Dropped | None] | None:
        """Publish ``signal`` as `send` does; None if that is done, and otherwise what completes it.

        Args:
            subject: The subject to publish on.
            signal: The Signal.
            skip_role_check: Send it whatever the role: a host makes FINAL from an output if the TASK asks
                for it.
            publish: Publishes the frame in place of the Synapse.

        Raises:
            RoleError: The Dendrite's role forbids the type; nothing was sent.
            UnencodableError: JSON cannot carry the payload; nothing was sent.
            SynapseError: The Synapse is closed, or the frame is too large for it.
        """
        if signal.type in self._forbidden and not skip_role_check:
            self.check_role(signal.type)
        if self._outbound is not None:
            route = _Route(subject, shared=False, since=monotonic(), publish=publish)
            return self._begin_through(self._outbound, route, signal)
        if self._observers:
            self._observe("sent", signal)
        frame = encode(signal)
        sending = self._synapse.publish(subject, frame) if publish is None else publish(frame)
        return None if sending is DONE else sending

    async def send_shared(self, subject: str, signal: Signal) -> Dropped | None:
        """Publish a Signal that the hosts of one id share, such as a TASK; the caller has checked the role.

        If the Synapse cannot deliver it, the handler that `open` got is called.
        """
        sending = self.begin_send_shared(subject, signal)
        return None if sending is None else await sending

    def begin_send_shared(self, subject: str, signal: Signal) -> Awaitable[Dropped | None] | None:
        """Publish as `send_shared` does; None if that is done, and otherwise what completes it."""
        if self._outbound is not None:
            route = _Route(subject, shared=True, since=monotonic())
            return self._begin_through(self._outbound, route, signal)
        if self._observers:
            self._observe("sent", signal)
        sending = self._synapse.publish(
            subject, encode(signal), undelivered=self._undeliverable, message_id=signal.id
        )
        return None if sending is DONE else sending

    async def send_or_raise(self, subject: str, signal: Signal) -> None:
        """Publish ``signal`` as `send` does.

        Raises:
            RejectedError: A middleware of this Dendrite dropped it.
        """
        dropped = await self.send(subject, signal)
        if dropped is not None:
            raise rejected(signal, dropped)

    @property
    def stores_answers(self) -> bool:
        """Whether the Synapse stores answers until their receiver has read them."""
        return self._answers is not None

    def send_frame(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> Awaitable[None]:
        """Publish a frame again, past middleware and observers, which have seen its Signal."""
        return self._synapse.publish(subject, frame, undelivered=undelivered)

    def send_answer(
        self, subject: str, frame: bytes, answer_id: str, undelivered: UndeliveredHandler
    ) -> Awaitable[None]:
        """Store an encoded answer; on a Synapse without a store, send it as `send_frame` does."""
        if self._answers is None:
            return self.send_frame(subject, frame, undelivered)
        return self._answers.store_answer(subject, frame, answer_id)

    def publish_from_thread(self, subject: str, signal: Signal) -> None:
        """Publish ``signal`` from a thread, without middleware; do nothing if the Synapse cannot do that."""
        if satisfies(self._synapse, ThreadPublisher):
            self._synapse.publish_from_thread(subject, encode(signal))

    def _begin_through(
        self, outbound: Chain[_Route], route: _Route, signal: Signal
    ) -> Awaitable[Dropped | None] | None:
        """Send a Signal through the outbound middleware; None if that is done and did not drop it."""
        try:
            result = outbound(route, signal)
        except Exception as error:  # noqa: BLE001 - raised if the Signal was not published
            self._check_unpublished(route, signal, error)
            return None
        if isinstance(result, Signal):
            return None
        return self._finish_through(route, signal, result)

    async def _finish_through(
        self, route: _Route, signal: Signal, result: Signal | Dropped | Pending
    ) -> Dropped | None:
        try:
            passed = await result if isinstance(result, Coroutine) else result
        except Exception as error:  # noqa: BLE001 - raised if the Signal was not published
            self._check_unpublished(route, signal, error)
            return None
        if route.published or isinstance(passed, Signal):
            return None
        self._observe("dropped", signal, passed.reason)
        return passed

    def _check_unpublished(self, route: _Route, signal: Signal, error: Exception) -> None:
        """Raise what an outbound middleware raised, or log it if the Signal was published."""
        if not route.published:
            raise error
        reason = "an outbound middleware failed after %s %s was published"
        logger.error(reason, signal.type.value, signal.id, exc_info=error)

    def _publish(self, route: _Route, signal: Signal) -> Signal | Pending:
        signal = shorten_deadline(signal, monotonic() - route.since)
        frame = encode(signal)
        if self._observers:
            self._observe("sent", signal)
        if route.shared:
            sending = self._synapse.publish(
                route.subject, frame, undelivered=self._undeliverable, message_id=signal.id
            )
        elif route.publish is not None:
            sending = route.publish(frame)
        else:
            sending = self._synapse.publish(route.subject, frame)
        if sending is DONE:
            route.published = True
            return signal
        return self._finish_publish(route, signal, sending)

    async def _finish_publish(self, route: _Route, signal: Signal, sending: Awaitable[None]) -> Signal:
        await sending
        route.published = True
        return signal

    # --- receiving ----------------------------------------------------------------------------------

    async def listen(
        self,
        pattern: str,
        receive: Receiver,
        *,
        queue_group: str | None = None,
        refuse: Refuse | None = None,
        answers: bool = False,
    ) -> Subscription:
        """Subscribe: call ``receive`` with each Signal, and ``refuse`` with each that a middleware drops.

        Args:
            pattern: The pattern of subjects.
            receive: Receives the Signals.
            queue_group: The queue group to join.
            refuse: Handles a Signal that a middleware dropped.
            answers: Whether this is an inbox, to which stored answers are delivered; on a Synapse that
                stores them, ``queue_group`` is not joined.

        Raises:
            LifecycleError: The Dendrite was not started, or stopped before it was subscribed.
            SynapseError: The Synapse refused the subscription.
        """
        if self._outbound is _refuse:
            raise not_running()
        inbound = self._inbound
        deliver = receive if inbound is None else self._with_middleware(inbound, receive, refuse)
        handler = self._frame_handler(deliver, self.subjects.type_of(pattern))
        if answers and self._answers is not None:
            subscription = await self._answers.subscribe_answers(pattern, handler)
        else:
            subscription = await self._synapse.subscribe(pattern, handler, queue_group=queue_group)
        if self._closed:
            # `close` has ended the others already.
            await subscription.unsubscribe()
            raise LifecycleError(f"the Dendrite stopped before it was subscribed to {pattern}")
        self._subscriptions[id(subscription)] = subscription
        return subscription

    async def listen_all(self, *sources: Callable[[], Awaitable[Subscription]]) -> list[Subscription]:
        """Call functions that each subscribe, in order; if one fails or is cancelled, undo those before."""
        async with contextlib.AsyncExitStack() as undo:
            subscriptions = []
            for subscribe in sources:
                subscriptions.append(await subscribe())
                undo.push_async_callback(self.unsubscribe, subscriptions[-1])
            undo.pop_all()
            return subscriptions

    def _frame_handler(self, receive: Receiver, expected: SignalType | None) -> FrameHandler:
        def handle(frame: bytes) -> Awaitable[None] | None:
            try:
                signal = decode(frame)
            except MalformedSignalError as error:
                self._ignore_malformed(error)
                return None
            if expected is not None and signal.type is not expected:
                self._ignore_malformed(
                    MalformedSignalError("type", f"{signal.type.value} on a subject of {expected.value}")
                )
                return None
            # Not isinstance: it takes twice as long, for every Signal.
            if type(frame) is HeldFrame:
                signal = shorten_deadline(signal, frame.held_s)
            if self._observers:
                outside_task(partial(self._observe, "received"), signal)
            return receive(signal)

        return handle

    def _with_middleware(
        self, inbound: Chain[Receiver], receive: Receiver, refuse: Refuse | None
    ) -> Receiver:
        # One Signal at a time, in order of arrival: a slow middleware delays Signals, but keeps their order.
        in_order = asyncio.Lock()
        start = eager_tasks().start

        async def run(signal: Signal) -> None:
            since = monotonic()
            works: list[Awaitable[None] | None] = []

            def deliver(passed: Signal) -> None:
                works.append(receive(shorten_deadline(passed, monotonic() - since)))

            if refuse is not None:
                self.in_middleware[id(signal)] = signal
            try:
                await in_order.acquire()
                try:
                    result = inbound(deliver, signal)
                    if not isinstance(result, Signal):
                        result = await result if isinstance(result, Coroutine) else result
                    if not isinstance(result, Signal):
                        self._observe("dropped", signal, result.reason)
                        if refuse is not None and not works:
                            await refuse(signal, result.reason)
                finally:
                    in_order.release()
            finally:
                self.in_middleware.pop(id(signal), None)
            # Outside the lock: a TASK may take long, and must not delay those after it.
            for work in works:
                if work is not None:
                    await work

        def handle(signal: Signal) -> Awaitable[None] | None:
            running = outside_task(start, run(signal))
            return None if running.done() and running.exception() is None else running

        return handle

    def _ignore_malformed(self, error: MalformedSignalError) -> None:
        self.malformed += 1
        # The 1st, 10th, 100th and so on are logged, so that a flood of frames does not flood the log.
        if str(self.malformed).strip("0") == "1":
            logger.warning("malformed frame ignored, %d so far; this one: %s", self.malformed, error)
        self._observe("malformed", None, str(error))

    # --- observers and the end ----------------------------------------------------------------------

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
            except BaseException as error:
                if must_pass(error):
                    raise
                if index not in self._failed_observers:
                    self._failed_observers.add(index)
                    logger.exception(
                        "an observer of %s failed; further failures are not logged", observer.plugin
                    )

    async def unsubscribe(self, *subscriptions: Subscription) -> None:
        """End subscriptions, all at once, because each may wait for the bus. A failure is logged."""
        for subscription in subscriptions:
            self._subscriptions.pop(id(subscription), None)
        if len(subscriptions) == 1:
            # As when a Pathway with back-pressure ends: without an asyncio task.
            await _end(subscriptions[0])
        else:
            await asyncio.gather(*map(_end, subscriptions))

    async def close(self) -> None:
        """End every subscription, and allow no new one."""
        self._closed = True
        await self.unsubscribe(*reversed(self._subscriptions.values()))


async def _end(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except BaseException as error:
        if must_pass(error):
            raise
        logger.warning("a subscription could not be ended: %s", error)


def _refuse(route: _Route, signal: Signal) -> Signal:
    raise not_running()


def _deliver(receive: Receiver, signal: Signal) -> Signal:
    receive(signal)
    return signal


def rejected(signal: Signal, dropped: Dropped) -> RejectedError:
    """Make the error for a Signal that an outbound middleware dropped."""
    return RejectedError(f"a middleware dropped {signal.type.value} {signal.id}: {dropped.reason}")
