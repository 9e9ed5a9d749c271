"""The hub's state of one peer: its subscriptions, its waiting messages, and the stream of commands to it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from cosmo_core import SynapseError, Undelivered
from cosmo_core.routing import Consumer, Delivery, Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.limits import (
    DELIVERY_BYTES,
    FREE_LENT_BYTES,
    MAX_BYTES,
    MAX_CALLBACKS,
    MAX_DEAD_REQUESTS,
    MAX_LENT_BYTES,
    MAX_SUBSCRIPTIONS,
    MAX_TOTAL_BYTES,
    MAX_UNACKNOWLEDGED,
    SUBSCRIPTION_TOKENS,
    WILDCARD_TOKENS,
)
from cosmo_synapse_zmq.stream import COMMAND_BYTES, Budget, ReliableStream, Send

COSTLY_S: Final = 0.0002
"""How many seconds of processor time a peer's turn may take on average, so that its short messages are
executed as they come: a command for thousands of receivers takes longer than hundreds of others."""

COST_TURNS: Final = 32
"""About how many turns are averaged to know what a peer costs."""

# RecursionError: a message may be nested too deeply.
MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, SynapseError, RecursionError)
"""What is raised for a message or a command that is invalid."""


class SessionOwner(Protocol):
    """What a session needs of its hub."""

    def publish(self, session: Session | None, command: wire.Publish) -> None:
        """Route a frame."""
        ...

    def end_session(self, session: Session) -> None:
        """End the session of a peer that leaves."""
        ...

    def flush_later(self, session: Session) -> None:
        """Flush the session's stream soon."""
        ...

    def retry_early(self) -> None:
        """Publish the early frames again."""
        ...

    def request_dead_letters(self, session: Session, request: int) -> None:
        """Answer a request for the dead letters, now or later."""
        ...

    def handle_hello(self, session: Session, hello: wire.Hello) -> None:
        """Handle a Hello that has waited for the turn of its peer."""
        ...

    def reserve_tokens(self, session: Session, count: int) -> bool:
        """Reserve space for the tokens of a pattern; return False if there is none."""
        ...

    def reject(self, error: Exception) -> None:
        """Count an invalid message or command."""
        ...

    def close_peer(self, session: Session, reason: str) -> None:
        """End the session, and close the connection of its peer."""
        ...


class Session:
    """The hub's state of one peer.

    Args:
        session_id: Identifies the session.
        owner: The hub.
        router: The hub's router.
        send: Sends a message to the peer.
        budget: What all sessions share.

    Attributes:
        stream: The commands to the peer.
        paused: The subjects on which the peer must not publish now, and how many frames it published on each
            since then.
        reconnecting: Whether another hub knew the peer before.
        inbox: The encoded messages of the peer that wait for its turn.
        inbox_bytes: Bytes of these messages.
        is_waiting: Whether the session waits for its turn.
        tokens: How many tokens the patterns of its subscriptions have.
        dead_requests: How many of its requests for the dead letters are open.
        lent: How many bytes of frames of queue groups it works on.
        owed: How many bytes of commands that must not be dropped are unacknowledged, at most.
        stalled_beats: For how many heartbeats it has acknowledged nothing.
        cost_s: How many seconds of processor time its latest turns took on average.
        ended: Whether it has ended. Then nothing is executed and sent any more.
    """

    def __init__(
        self, session_id: bytes, owner: SessionOwner, router: Router, send: Send, budget: Budget
    ) -> None:
        self.id = session_id
        self.stream = ReliableStream(wire.HubData, send, self._schedule_flush, budget)
        self.paused: dict[str, int] = {}
        self.reconnecting = False
        self.inbox: deque[bytes | memoryview] = deque()
        self.inbox_bytes = 0
        self.is_waiting = False
        self.tokens = 0
        self.dead_requests = 0
        self.lent = 0
        self.owed = 0
        self.stalled_beats = 0
        # More than a peer may cost whose messages are executed as they come: it has a few turns first.
        self.cost_s = 1.25 * COSTLY_S
        self.ended = False
        self._owner = owner
        self._router = router
        self._budget = budget
        self._commands: deque[wire.PeerCommand] = deque()
        self._consumers: dict[int, Consumer] = {}
        # How many subscriptions there are to each pattern.
        self._patterns: Counter[str] = Counter()
        # The subscriptions that get no deliveries now because of `MAX_LENT_BYTES`, with their prefetch.
        self._gated: dict[int, int] = {}
        self._dropped: dict[int, int] = {}
        self._reported: dict[int, int] = {}
        self._callbacks: dict[int, Callable[[bytes, Undelivered], None]] = {}
        self._acknowledged = 0

    def _schedule_flush(self) -> None:
        self._owner.flush_later(self)

    # --- messages of the peer -----------------------------------------------------------------------

    def execute_all(self, message: wire.PeerData, size: int = 0) -> None:
        """Execute all commands of a message of ``size`` bytes, unless it came before."""
        if self.stream.accept(message.number, message.received, size):
            for command in message.commands:
                self._execute_or_reject(command)
                if self.ended:
                    break

    def put(self, raw: bytes | memoryview) -> None:
        """Keep an encoded message until the peer's turn."""
        self.inbox.append(raw)
        self._count_waiting(len(raw))

    def count_cost(self, took_s: float) -> None:
        """Count how long a turn took."""
        self.cost_s += (took_s - self.cost_s) / COST_TURNS

    def _count_waiting(self, size: int) -> None:
        self.inbox_bytes += size
        self._budget.waiting += size

    def run(self, quantum: int) -> None:
        """Execute up to ``quantum`` waiting commands."""
        for _ in range(quantum):
            if not self._commands:
                if not self.inbox:
                    break
                raw = self.inbox.popleft()
                self._count_waiting(-len(raw))
                self._take(raw)
            if self._commands:
                self._execute_or_reject(self._commands.popleft())

    def _take(self, raw: bytes | memoryview) -> None:
        try:
            message = wire.decode_for_hub(raw)
        except MALFORMED as error:
            self._owner.reject(error)
            return
        if isinstance(message, wire.Hello):
            self._owner.handle_hello(self, message)
        elif isinstance(message, wire.PeerData) and self.stream.accept(
            message.number, message.received, len(raw)
        ):
            self._commands.extend(message.commands)

    @property
    def has_waiting(self) -> bool:
        """Whether commands or messages wait for the peer's turn."""
        return bool(self._commands or self.inbox)

    def _execute_or_reject(self, command: wire.PeerCommand) -> None:
        try:
            self.execute(command)
        except MALFORMED as error:
            self._owner.reject(error)

    # --- commands of the peer -----------------------------------------------------------------------

    def execute(self, command: wire.PeerCommand) -> None:
        """Execute a command of the peer.

        Raises:
            SynapseError: The command is invalid.
        """
        match command:
            case wire.Publish():
                self._owner.publish(self, command)
            case wire.Subscribe():
                self._subscribe(command)
            case wire.GetDeadLetters():
                if self.dead_requests >= MAX_DEAD_REQUESTS:
                    self._owner.close_peer(
                        self, f"it asked for the dead letters {MAX_DEAD_REQUESTS} times at once"
                    )
                else:
                    self.dead_requests += 1
                    self._owner.request_dead_letters(self, command.request)
            case wire.Leave():
                self._owner.end_session(self)
            case _ if (consumer := self._consumers.get(command.sub)) is not None:
                self._execute_for(consumer, command)
            case _:
                # The subscription has ended meanwhile.
                pass

    def _execute_for(
        self,
        consumer: Consumer,
        command: wire.Ack | wire.Unsubscribe | wire.Nack | wire.Requeue,
    ) -> None:
        match command:
            case wire.Ack():
                popped = map(consumer.pop_unacked, command.numbers)
                freed = [_size(delivery) for delivery in popped if delivery is not None]
                if freed:
                    self._give_back(sum(freed))
                    self._router.fill(consumer)
            case wire.Nack():
                self._give_back(_size(consumer.unacked.get(command.number)))
                self._router.nack(consumer, command.number, command.reason[: wire.MAX_REASON])
            case wire.Requeue():
                self._give_back(_size(consumer.unacked.get(command.number)))
                self._router.requeue(consumer, command.number)
            case wire.Unsubscribe():
                if not consumer.closed:
                    self._release_tokens(consumer)
                self._router.remove_consumer(consumer)
                self._write(wire.Unsubscribed(command.sub))
        if consumer.closed and not consumer.unacked:
            # A closed consumer is kept until its deliveries are acknowledged.
            self._consumers.pop(command.sub, None)
            self._gated.pop(command.sub, None)
            self._dropped.pop(command.sub, None)
            self._reported.pop(command.sub, None)

    def _subscribe(self, request: wire.Subscribe) -> None:
        if (
            request.sub in self._consumers
            or len(self._consumers) >= MAX_SUBSCRIPTIONS
            or not 1 <= request.prefetch <= wire.MAX_PREFETCH
        ):
            reason = (
                f"at most {MAX_SUBSCRIPTIONS} subscriptions are allowed,"
                f" each with its own number and a prefetch of 1 to {wire.MAX_PREFETCH}"
            )
            self._write(wire.SubscribeRejected(request.sub, reason))
            return
        count = self._tokens(request.pattern)
        if not self._owner.reserve_tokens(self, count):
            reason = "the hub has too many subscriptions; this program has many of them"
            self._write(wire.SubscribeRejected(request.sub, reason))
            return
        self.tokens += count
        self._patterns[request.pattern] += 1
        consumer = Consumer(
            request.pattern,
            self._sender(request.sub),
            queue_group=request.queue_group,
            prefetch=request.prefetch,
            max_pending=0,
        )
        try:
            # Confirmed before the first frame is delivered.
            self._write(wire.Subscribed(request.sub))
            self._consumers[request.sub] = consumer
            self._router.add_consumer(consumer)
        except SynapseError as error:
            del self._consumers[request.sub]
            self._release_tokens(consumer)
            self._write(wire.SubscribeRejected(request.sub, str(error)))
        else:
            if request.again:
                self._owner.retry_early()

    def _tokens(self, pattern: str) -> int:
        """Return how many tokens the next subscription to a pattern counts for."""
        tokens = SUBSCRIPTION_TOKENS + pattern.count(".") + 1
        if "*" in pattern or ">" in pattern or self._patterns[pattern]:
            tokens += WILDCARD_TOKENS
        return tokens

    def _release_tokens(self, consumer: Consumer) -> None:
        self._patterns[consumer.pattern] -= 1
        count = self._tokens(consumer.pattern)
        if not self._patterns[consumer.pattern]:
            del self._patterns[consumer.pattern]
        self.tokens -= count
        self._owner.reserve_tokens(self, -count)

    def _sender(self, sub: int) -> Callable[[bytes, int, float], bool]:
        stream, dropped, budget = self.stream, self._dropped, self._budget

        def send(frame: bytes, number: int, published_at: float) -> bool:
            size = len(frame)
            if number:
                held_ms = int((time.monotonic() - published_at) * 1000)
                self._write(wire.Deliver(sub, frame, number, held_ms), size)
                self.lent += size + DELIVERY_BYTES
                budget.lent += size + DELIVERY_BYTES
                if budget.lent > MAX_LENT_BYTES and self.lent > FREE_LENT_BYTES:
                    self._gate()
                return False
            if (
                stream.unacknowledged < MAX_UNACKNOWLEDGED
                and stream.unacknowledged_bytes < MAX_BYTES
                and (budget.unacknowledged < MAX_TOTAL_BYTES or stream.unacknowledged_bytes < budget.free)
            ):
                stream.write(wire.Deliver(sub, frame, 0, 0), size)
            else:
                dropped[sub] = dropped.get(sub, 0) + 1
            return True

        return send

    # --- what members of queue groups work on -------------------------------------------------------

    def _give_back(self, size: int) -> None:
        self.lent -= size
        self._budget.lent -= size
        self.open_gate()

    def _gate(self) -> None:
        """Get no more deliveries until some are acknowledged."""
        for sub, consumer in self._consumers.items():
            if consumer.queue_group is not None and consumer.prefetch:
                self._gated[sub] = consumer.prefetch
                consumer.prefetch = 0

    def open_gate(self) -> None:
        """Get deliveries again if there is space for them."""
        if not self._gated or (self._budget.lent > MAX_LENT_BYTES and self.lent > FREE_LENT_BYTES):
            return
        gated, self._gated = self._gated, {}
        for sub, prefetch in gated.items():
            consumer = self._consumers.get(sub)
            if consumer is not None and not consumer.closed:
                consumer.prefetch = prefetch
                self._router.fill(consumer)

    # --- commands to the peer -----------------------------------------------------------------------

    def send_dead_letters(self, request: int) -> None:
        """Answer a request for the dead letters."""
        self.dead_requests -= 1
        for dead in self._router.dead_letters:
            item = wire.DeadLetterItem(request, dead.subject, dead.frame, dead.deliveries, dead.reason)
            self._write(item, len(dead.frame))
        self._write(wire.DeadLetterItem(request, None, b"", 0, ""))

    def callback(self, number: int) -> Callable[[bytes, Undelivered], None] | None:
        """Return the function that reports an undeliverable frame to the peer's callback; None for 0."""
        if not number:
            return None
        callback = self._callbacks.get(number)
        if callback is None:
            if len(self._callbacks) >= MAX_CALLBACKS:
                self._callbacks.clear()
            callback = self._callbacks[number] = self._make_callback(number)
        return callback

    def _make_callback(self, number: int) -> Callable[[bytes, Undelivered], None]:
        def report(frame: bytes, cause: Undelivered) -> None:
            if not self.ended:
                self._write(wire.Undeliverable(number, frame, cause), len(frame))

        return report

    def _write(self, command: wire.HubCommand, size: int = 0) -> None:
        """Send a command that must not be dropped; ``size`` is the number of bytes of its frame."""
        self.stream.write(command, size)
        size += COMMAND_BYTES
        self.owed += size
        self._budget.owed += size

    def recount_owed(self) -> None:
        """Subtract what was acknowledged from ``owed``."""
        paid = max(0, self.owed - self.stream.unacknowledged_bytes)
        self.owed -= paid
        self._budget.owed -= paid

    def pause(self, subject: str) -> None:
        """Make the peer stop publishing on a subject."""
        self.paused[subject] = 0
        self._write(wire.PauseSubject(subject))

    def resume(self, subject: str) -> None:
        """Let the peer publish on a subject again."""
        self.paused.pop(subject, None)
        self._write(wire.ResumeSubject(subject))

    def send_heartbeat(self) -> None:
        """Send a heartbeat, and the numbers of dropped frames that have changed."""
        if self.stream.unacknowledged and self.stream.acknowledged == self._acknowledged:
            self.stalled_beats += 1
        else:
            self.stalled_beats = 0
        self._acknowledged = self.stream.acknowledged
        self.recount_owed()
        for sub, total in self._dropped.items():
            if total != self._reported.get(sub):
                self._reported[sub] = total
                self._write(wire.Dropped(sub, total))
        self.stream.send_heartbeat()

    @property
    def excess(self) -> str | None:
        """Why the peer must be closed, if it leaves too much unacknowledged."""
        stream = self.stream
        if stream.unacknowledged > 2 * MAX_UNACKNOWLEDGED or stream.unacknowledged_bytes > 2 * MAX_BYTES:
            return (
                f"it leaves {stream.unacknowledged} commands with {stream.unacknowledged_bytes} bytes"
                " unacknowledged"
            )
        return None

    def end(self) -> None:
        """Execute and send nothing more, and give back what it took of the budget; `leave` does the rest."""
        self.ended = True
        self.stream.end()
        self._callbacks.clear()
        self.inbox.clear()
        self._count_waiting(-self.inbox_bytes)
        self._budget.owed -= self.owed
        self.owed = 0
        self._commands.clear()
        self._budget.lent -= self.lent
        self.lent = 0
        self._owner.reserve_tokens(self, -self.tokens)
        self.tokens = 0
        self._gated.clear()
        # So that they get nothing more, and no delivery goes from one to another of them.
        for consumer in self._consumers.values():
            consumer.close()

    def leave(self, reason: str) -> Iterator[None]:
        """Remove the subscriptions, and redeliver the unacknowledged deliveries to others, step by step."""
        consumers = list(self._consumers.values())
        self._consumers.clear()
        # All are removed first, so that the order of their deliveries stays.
        for consumer in consumers:
            self._router.remove_consumer(consumer)
            yield
        for consumer in consumers:
            self._router.remove_lost_consumer(consumer, reason)
            yield


def _size(delivery: Delivery | None) -> int:
    return 0 if delivery is None else len(delivery.frame) + DELIVERY_BYTES
