"""The router: delivers frames to consumers, queues them, redelivers them, and keeps dead letters."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count

import attrs

from cosmo_core.contracts.delivery import DeadLetter, Undelivered, UndeliveredHandler
from cosmo_core.routing.table import SubjectTable, Turn, matches

logger = logging.getLogger("cosmo_core.routing")


@attrs.define(eq=False)
class Delivery:
    """A frame for a queue group, until one of its consumers acknowledges it.

    Attributes:
        number: Identifies the delivery within its `Router`.
        subject: The subject it was published on.
        frame: The frame.
        group: The name of the queue group.
        undelivered: Called if no consumer acknowledges the frame; None if the publisher does not want to
            know.
        published_at: When it was published, in seconds on the clock of the Router's caller.
        attempts: How many times it was sent to a consumer.
    """

    number: int
    subject: str
    frame: bytes
    group: str
    undelivered: UndeliveredHandler | None
    published_at: float
    attempts: int = 0


Send = Callable[[bytes, int, float], bool]
"""Sends a frame to its receiver, with the number of its delivery (0 outside of queue groups) and the time
when it was published. Returns True if the receiver has already handled it. It never raises, and never
acknowledges the delivery before it returns."""


@attrs.define(eq=False)
class Consumer:
    """A subscription: at most ``prefetch`` frames in flight, and at most ``max_pending`` more in its buffer.

    When the buffer is full, the oldest frame is dropped and counted. Frames for a queue group are not
    buffered here: they wait in the `Router`'s queue of their group.

    Args:
        pattern: The pattern it subscribes to.
        send: Sends a frame to the receiver.
        queue_group: The queue group that it belongs to, if any.
        prefetch: How many frames may be in flight at once.
        max_pending: How many more may be buffered.

    Attributes:
        in_flight: How many frames were sent and are not handled yet.
        unacked: The unacknowledged deliveries among them, by number.
        dropped: How many frames were dropped.
        closed: Whether the consumer was removed and gets no more frames.
    """

    pattern: str
    send: Send
    queue_group: str | None = attrs.field(default=None, kw_only=True)
    prefetch: int = attrs.field(kw_only=True)
    _max_pending: int = attrs.field(kw_only=True)
    in_flight: int = attrs.field(default=0, init=False)
    unacked: dict[int, Delivery] = attrs.field(factory=dict, init=False)
    dropped: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)
    # None while there was nothing to buffer: an empty deque takes more memory than everything else here.
    _pending: deque[bytes] | None = attrs.field(default=None, init=False)
    # Its turn in its queue group, while it takes none because it had no capacity.
    _turn: Turn[Consumer] | None = attrs.field(default=None, init=False)

    @property
    def has_capacity(self) -> bool:
        """Whether one more frame may be sent."""
        return self.in_flight < self.prefetch

    # --- frames outside of queue groups -------------------------------------------------------------

    def push(self, frame: bytes) -> None:
        """Send a frame that needs no acknowledgement, or buffer it until there is capacity."""
        if self.in_flight >= self.prefetch:
            self.buffer(frame)
        elif not self.send(frame, 0, 0.0):
            self.in_flight += 1

    def buffer(self, frame: bytes) -> None:
        """Append a frame to the buffer; if the buffer is full, drop the oldest frame."""
        if self.closed:
            return
        if self._pending is None:
            self._pending = deque()
        self._pending.append(frame)
        if len(self._pending) > self._max_pending:
            self._pending.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("the handler of %s is too slow; its oldest frames are dropped", self.pattern)

    def complete(self, count: int = 1) -> None:
        """Record that ``count`` pushed frames were handled, and send buffered ones."""
        self.in_flight -= count
        while self._pending and self.has_capacity:
            if not self.send(self._pending.popleft(), 0, 0.0):
                self.in_flight += 1

    # --- deliveries of a queue group ----------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """Send a delivery; it is unacknowledged unless the receiver handles it at once."""
        if not self.send(delivery.frame, delivery.number, delivery.published_at):
            self.add_unacked(delivery)

    def add_unacked(self, delivery: Delivery) -> None:
        """Record that a delivery was sent and is unacknowledged."""
        delivery.attempts += 1
        self.unacked[delivery.number] = delivery
        self.in_flight += 1

    def pop_unacked(self, number: int) -> Delivery | None:
        """Remove and return an unacknowledged delivery; return None if there is none of this number."""
        delivery = self.unacked.pop(number, None)
        if delivery is not None:
            self.in_flight -= 1
            if self._turn is not None:
                self.take_turns()
        return delivery

    def may_take_turn(self, turn: Turn[Consumer]) -> bool:
        """Return whether it has capacity; if not, it takes no turns until it has."""
        if self.in_flight < self.prefetch:
            return True
        if not self.closed:
            self._turn = turn
        return False

    def take_turns(self) -> None:
        """Take turns in its queue group again, if it has capacity."""
        if self._turn is not None and self.has_capacity:
            self._turn.join()
            self._turn = None

    def close(self) -> None:
        """Send no more frames and clear the buffer. Unacknowledged deliveries stay unacknowledged."""
        self.closed = True
        self.prefetch = 0
        self._turn = self._pending = None


class Router:
    """Routes frames to `Consumer` objects.

    A frame goes to every consumer outside of queue groups. From each queue group it goes to one consumer with
    capacity, in turn. If no consumer of the group has capacity, the frame is queued, or ``undelivered`` is
    called if it was given. Deliveries that a consumer fails on, or that were unacknowledged when it was lost,
    go to another consumer, up to ``max_deliveries`` times in all. After that they are dead letters.

    Args:
        max_waiting: How many deliveries of one subject may be queued for a queue group.
        max_deliveries: How many times a delivery is sent. With 1, a failed delivery counts as acknowledged.
        max_dead: How many dead letters are kept, the newest.
        max_dead_bytes: How many bytes of frames they may have, or None for no limit.
        on_dequeued: Called with each delivery that has left its queue.

    Attributes:
        dead_letters: The dead letters, oldest first.
        discarded: How many deliveries were given up without an ``undelivered`` to call.
        queued: How many deliveries are queued.
        queued_bytes: How many bytes of frames they have.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        max_deliveries: int = 1,
        max_dead: int = 1000,
        max_dead_bytes: int | None = None,
        on_dequeued: Callable[[Delivery], None] = lambda delivery: None,
    ) -> None:
        self.dead_letters: deque[DeadLetter] = deque(maxlen=max_dead)
        self.discarded = 0
        self.queued = 0
        self.queued_bytes = 0
        self._max_dead_bytes = max_dead_bytes
        self._dead_bytes = 0
        self._table: SubjectTable[Consumer] = SubjectTable()
        # `publish` looks here first: calling the table would cost a call for every frame.
        self._cached_routes = self._table.cached
        self._max_waiting = max_waiting
        self._max_deliveries = max_deliveries
        self._on_dequeued = on_dequeued
        # By group, then by subject. A queue exists only while no consumer of its group has capacity.
        self._queues: dict[str, dict[str, deque[Delivery]]] = {}
        self._numbers = count(1)

    # --- consumers ----------------------------------------------------------------------------------

    def add_consumer(self, consumer: Consumer) -> None:
        """Route frames to ``consumer`` from now on.

        Raises:
            SynapseError: The pattern or the name of the queue group is malformed.
        """
        self._table.add(consumer.pattern, consumer, consumer.queue_group)
        self.fill(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Route no more frames to ``consumer``. It may still acknowledge its deliveries."""
        group, pattern = consumer.queue_group, consumer.pattern
        consumer.close()
        others = self._table.remove(pattern, consumer, group)
        if group is not None and not others:
            # Otherwise another consumer of the same pattern will get the same frames.
            for subject in self._waiting(group, pattern):
                self._drain(group, subject)

    def remove_lost_consumer(self, consumer: Consumer, reason: str) -> None:
        """Remove a consumer that is gone for good, and redeliver its unacknowledged deliveries.

        Args:
            consumer: The consumer.
            reason: Why it is gone, for dead letters.
        """
        self.remove_consumer(consumer)
        deliveries = list(consumer.unacked.values())
        for delivery in deliveries:
            consumer.pop_unacked(delivery.number)
        self._redeliver(deliveries, "lost", reason)

    def has_consumers(self, subject: str) -> bool:
        """Return whether any consumer matches ``subject``.

        Raises:
            SynapseError: The subject is malformed.
        """
        route = self._table.route(subject)
        return bool(route.targets or route.groups)

    # --- publishing ---------------------------------------------------------------------------------

    def publish(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None, now: float = 0.0
    ) -> list[Delivery] | None:
        """Route a frame; return the deliveries for which there is neither capacity nor space in the queue.

        The caller repeats `try_deliver` for these, or calls `enqueue`. With ``undelivered`` there are none:
        ``undelivered`` is called instead.

        Raises:
            SynapseError: The subject is malformed.
        """
        try:
            route = self._cached_routes[subject]
        except KeyError:
            route = self._table.route(subject)
        targets, groups = route.targets, route.groups
        for consumer in targets:
            # This is `Consumer.push`, inlined: every answer passes here, and this saves a call for each.
            if consumer.in_flight >= consumer.prefetch:
                consumer.buffer(frame)
            elif not consumer.send(frame, 0, 0.0):
                consumer.in_flight += 1
        if undelivered is not None and not groups and not targets:
            undelivered(frame, "no_consumers")
            return None
        blocked: list[Delivery] | None = None
        free: Consumer | None
        for group in groups:
            number = next(self._numbers)
            # This is `QueueGroup.pick_free`, inlined for the usual case.
            if (turn := group.turn) is not None and (free := turn.member).in_flight < free.prefetch:
                group.turn = turn.after
            else:
                free = group.pick_free(Consumer.may_take_turn)
            # Most handlers return at once. Then no Delivery has to be made.
            if free is not None and free.send(frame, number, now):
                continue
            if undelivered is not None and len(groups) > 1 and not isinstance(undelivered, _CallOnce):
                undelivered = _CallOnce(undelivered)
            delivery = Delivery(number, subject, frame, group.name, undelivered, now)
            if free is not None:
                free.add_unacked(delivery)
            # A group has no members if a frame was sent meanwhile to a consumer that removed the last one.
            elif not (self._try_enqueue(delivery) if group.size else self.try_deliver(delivery)):
                blocked = blocked or []
                blocked.append(delivery)
        return blocked

    def try_deliver(self, delivery: Delivery) -> bool:
        """Deliver to a consumer with capacity, or queue; return False if the queue is full."""
        group = self._table.group(delivery.subject, delivery.group)
        if group is None:
            self._discard(delivery, "no_consumers")
        elif (consumer := group.pick_free(Consumer.may_take_turn)) is not None:
            consumer.deliver(delivery)
        else:
            return self._try_enqueue(delivery)
        return True

    def enqueue(self, delivery: Delivery) -> None:
        """Queue a delivery even if its queue is full: the caller bounds how many there are."""
        self._queue_for(delivery).append(delivery)

    def _queue_for(self, delivery: Delivery) -> deque[Delivery]:
        """Count a delivery that is queued now, and return its queue."""
        self.queued += 1
        self.queued_bytes += len(delivery.frame)
        return self._queues.setdefault(delivery.group, {}).setdefault(delivery.subject, deque())

    @property
    def queues(self) -> int:
        """How many queues there are: one for each group and subject for which deliveries wait."""
        return sum(map(len, self._queues.values()))

    def queue_length(self, delivery: Delivery) -> int:
        """Return how many deliveries are in the queue of this one's group and subject."""
        return len(self._queues.get(delivery.group, {}).get(delivery.subject, ()))

    def queue_count(self, group: str) -> int:
        """Return on how many subjects deliveries are queued for a group."""
        return len(self._queues.get(group, ()))

    def discard_queued(self) -> None:
        """Give up the newest delivery of the newest queue; there must be one."""
        name, queues = next(reversed(self._queues.items()))
        delivery = self._dequeue(name, next(reversed(queues)), last=True)
        self._discard(delivery, "lost" if delivery.attempts else "overloaded")

    def _try_enqueue(self, delivery: Delivery) -> bool:
        if delivery.undelivered is not None:
            # Not queued: while a TASK waits here, no worker could send heartbeats for it.
            delivery.undelivered(delivery.frame, "overloaded")
        elif self.queue_length(delivery) < self._max_waiting:
            self.enqueue(delivery)
        else:
            return False
        return True

    # --- acknowledgement ----------------------------------------------------------------------------

    def ack(self, consumer: Consumer, number: int) -> None:
        """Record that ``consumer`` has handled a delivery, and send it queued ones."""
        if consumer.pop_unacked(number) is not None and self._queues:
            self.fill(consumer)

    def nack(self, consumer: Consumer, number: int, reason: str) -> None:
        """Record that ``consumer`` failed on a delivery, and redeliver it.

        Args:
            consumer: The consumer.
            number: The number of the delivery. An unknown number is ignored.
            reason: What went wrong, for the dead letter.
        """
        delivery = consumer.pop_unacked(number)
        if delivery is None:
            return
        if self._max_deliveries > 1:
            self._redeliver([delivery], "failed", reason)
        self.fill(consumer)

    def requeue(self, consumer: Consumer, number: int) -> None:
        """Redeliver a delivery that ``consumer`` did not start on; the attempt does not count."""
        delivery = consumer.pop_unacked(number)
        if delivery is not None:
            delivery.attempts -= 1
            self._deliver_first([delivery])
            self.fill(consumer)

    def _redeliver(self, deliveries: list[Delivery], cause: Undelivered, reason: str) -> None:
        again = []
        for delivery in deliveries:
            if delivery.attempts < self._max_deliveries:
                again.append(delivery)
            elif self._max_deliveries == 1:
                self._discard(delivery, cause)
            else:
                self._keep_dead_letter(delivery, reason)
                self._discard(delivery, "failed")
        self._deliver_first(again)

    def _keep_dead_letter(self, delivery: Delivery, reason: str) -> None:
        dead = self.dead_letters
        if len(dead) == dead.maxlen:
            self._dead_bytes -= len(dead.popleft().frame)
        dead.append(
            DeadLetter(
                subject=delivery.subject, frame=delivery.frame, deliveries=delivery.attempts, reason=reason
            )
        )
        self._dead_bytes += len(delivery.frame)
        while self._max_dead_bytes is not None and self._dead_bytes > self._max_dead_bytes:
            self._dead_bytes -= len(dead.popleft().frame)

    def _deliver_first(self, deliveries: list[Delivery]) -> None:
        # All are queued before the first is sent, so that none overtakes another.
        for delivery in reversed(deliveries):
            self._queue_for(delivery).appendleft(delivery)
        for key in dict.fromkeys((delivery.group, delivery.subject) for delivery in deliveries):
            self._drain(*key)

    # --- queues -------------------------------------------------------------------------------------

    def _drain(self, name: str, subject: str) -> None:
        """Send queued deliveries while there is capacity; discard them if the group has no consumer left."""
        while subject in self._queues.get(name, ()):
            group = self._table.group(subject, name)
            consumer = None if group is None else group.pick_free(Consumer.may_take_turn)
            if group is None:
                delivery = self._dequeue(name, subject)
                self._discard(delivery, "lost" if delivery.attempts else "no_consumers")
            elif consumer is not None:
                self._deliver_next(consumer, name, subject)
            else:
                return

    def fill(self, consumer: Consumer) -> None:
        """Send queued deliveries to one consumer while it has capacity.

        This must be called when its ``prefetch`` was increased.
        """
        consumer.take_turns()
        group = consumer.queue_group
        if group is None:
            return
        for subject in self._waiting(group, consumer.pattern):
            while consumer.has_capacity and subject in self._queues.get(group, ()):
                self._deliver_next(consumer, group, subject)
            if not consumer.has_capacity:
                return

    def _waiting(self, group: str, pattern: str) -> Iterator[str]:
        """Yield the subjects that match a pattern, and for which deliveries wait in a group."""
        # Looking at the beginning without wildcards first is much quicker.
        prefix = pattern.partition("*")[0].partition(">")[0]
        # A copy: a queue is removed when it is empty.
        for subject in list(self._queues.get(group, ())):
            if subject.startswith(prefix) and matches(pattern, subject):
                yield subject

    def _deliver_next(self, consumer: Consumer, group: str, subject: str) -> None:
        delivery = self._dequeue(group, subject)
        consumer.deliver(delivery)
        self._on_dequeued(delivery)

    def _dequeue(self, group: str, subject: str, *, last: bool = False) -> Delivery:
        queues = self._queues[group]
        delivery = queues[subject].pop() if last else queues[subject].popleft()
        self.queued -= 1
        self.queued_bytes -= len(delivery.frame)
        if not queues[subject]:
            del queues[subject]
            if not queues:
                del self._queues[group]
        return delivery

    def _discard(self, delivery: Delivery, cause: Undelivered) -> None:
        if delivery.undelivered is None:
            self.discarded += 1
        else:
            delivery.undelivered(delivery.frame, cause)
        self._on_dequeued(delivery)


class _CallOnce:
    """Calls the handler of a frame for several queue groups at most once."""

    def __init__(self, undelivered: UndeliveredHandler) -> None:
        self._undelivered: UndeliveredHandler | None = undelivered

    def __call__(self, frame: bytes, cause: Undelivered) -> None:
        undelivered, self._undelivered = self._undelivered, None
        if undelivered is not None:
            undelivered(frame, cause)
