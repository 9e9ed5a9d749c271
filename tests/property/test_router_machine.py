"""A state machine drives a Router and compares it with a model of every delivery.

The Router chooses among consumers with capacity; the model records the choice and checks that it is allowed.
A long run: ``COSMO_EXAMPLES=10000 pytest tests/property/test_router_machine.py``.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from functools import partial
from itertools import chain
from typing import Final, get_args

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.routing import Consumer, Delivery, Router

# What each pattern matches, written out: `test_routing.py` tests the matching.
MATCHES: Final = {"a.x": {"a.x"}, "a.>": {"a.x", "a.y"}, "*": {"b"}, ">": {"a.x", "a.y", "b"}}
SUBJECTS: Final = ("a.x", "a.y", "b")
GROUPS: Final = ("g", "h")
MAX_DEAD: Final = 3
MAX_CLIENTS: Final = 8

PICKS: Final = st.integers(0, 20)
FEW: Final = st.integers(1, 3)
NAMES: Final = st.sampled_from(("g", "g", "h", None))
QUICK: Final = st.sampled_from((False, False, True))
KINDS: Final = st.tuples(st.sampled_from(sorted(MATCHES)), NAMES, FEW, st.integers(0, 2), QUICK)
ENDS: Final = st.sampled_from(("ack", "ack", "nack", "requeue"))
ACTIONS: Final = st.sampled_from(("", "publish", "publish_with_callback", "remove", "ack", "nack", "requeue"))

Kind = tuple[str, str | None, int, int, bool]


@attrs.define(eq=False)
class Client:
    """A consumer, and what the model knows about it."""

    consumer: Consumer = attrs.field(init=False)
    quick: bool
    max_pending: int
    # Outside of groups: the frames it must still get, how many are in flight, and how many were dropped.
    expected: deque[bytes] = attrs.field(factory=deque)
    in_flight: int = 0
    dropped: int = 0
    # Its prefetch, while it gets no deliveries.
    gated: int = 0
    # How many sends to it are running, and how many ever started while another was running.
    sending: int = 0
    nested: int = 0

    def matches(self, subject: str) -> bool:
        return not self.consumer.closed and subject in MATCHES[self.consumer.pattern]


@attrs.define(eq=False)
class Entry:
    """The model of one delivery."""

    subject: str
    frame: bytes
    group: str
    has_callback: bool
    client: Client | None = None
    attempts: int = 0
    being_sent: bool = False
    # It was sent, or queued beyond the limit: `max_waiting` does not count it.
    uncounted: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.subject

    reason: str = ""


class RouterMachine(RuleBasedStateMachine):
    """Consumers come and go; frames are published, acked, nacked and requeued, also from callbacks."""

    @initialize(max_deliveries=FEW, max_waiting=FEW, kinds=st.lists(KINDS, max_size=4))
    def begin(self, max_deliveries: int, max_waiting: int, kinds: list[Kind]) -> None:
        self.max_deliveries, self.max_waiting = max_deliveries, max_waiting
        limits = {"max_waiting": max_waiting, "max_deliveries": max_deliveries, "max_dead": MAX_DEAD}
        self.router = Router(**limits, on_dequeued=self.on_dequeued)
        self.clients: list[Client] = []
        self.published = self.discarded = self.publishing_blocked = 0
        self.open: dict[tuple[bytes, str], Entry] = {}
        self.unacked: dict[int, Entry] = {}
        self.blocked: list[Delivery] = []
        self.undelivered_frames: set[bytes] = set()
        self.dead: deque[tuple[str, bytes, int, str]] = deque(maxlen=MAX_DEAD)
        self.script: deque[tuple[str, int]] = deque()
        # The newest delivery of the newest queue, while it is discarded.
        self.discarding: Entry | None = None
        self.queues: dict[tuple[str, str], list[Delivery]] = {}
        self.begin_step()
        for kind in kinds:
            self.add(kind)

    def begin_step(self) -> None:
        self.reentered = False
        self.dequeued: set[int] = set()
        self.sent, self.lost = list[Entry](), list[Entry]()
        self.unacked_before = set(self.unacked)

    # --- what the Router calls ----------------------------------------------------------------------

    def send(self, client: Client, frame: bytes, number: int, published_at: float) -> bool:
        assert not client.consumer.closed, "sent to a removed consumer"
        assert client.consumer.in_flight < client.consumer.prefetch, "sent to a consumer without capacity"
        assert published_at == (float(frame) if number else 0.0)
        entry = self.record_send(client, frame, number) if number else None
        assert entry is not None or client.expected.popleft() == frame, "out of order"
        client.nested += client.sending > 0
        client.sending += 1
        self.publishing_blocked += entry is None
        self.reenter()
        self.publishing_blocked -= entry is None
        client.sending -= 1
        if entry is None:
            client.in_flight += not client.quick
        elif client.quick:
            del self.open[entry.frame, entry.group]
        else:
            entry.client, entry.uncounted, entry.being_sent = client, True, False
            self.unacked[number] = entry
        return client.quick

    def record_send(self, client: Client, frame: bytes, number: int) -> Entry:
        entry = self.open[frame, client.consumer.queue_group or "none"]
        assert entry.client is None, "sent while it is unacknowledged"
        assert not entry.being_sent
        assert client.matches(entry.subject)
        entry.attempts += 1
        assert entry.attempts <= self.max_deliveries, "sent too often"
        entry.being_sent = True
        self.sent.append(entry)
        return entry

    def on_undelivered(self, frame: bytes, cause: Undelivered) -> None:
        assert frame not in self.undelivered_frames, "called twice"
        self.undelivered_frames.add(frame)
        known = [entry for group in GROUPS if (entry := self.open.get((frame, group))) is not None]
        entries = [entry for entry in known if entry.has_callback and self.may_end(entry, cause)]
        assert entries or (cause == "no_consumers" and not known)
        # With two groups the call may be for either; `check_places` finds the other one.
        if len(known) == 1 or cause in {"lost", "failed"}:
            self.end_delivery(entries[0])
        self.reenter()

    def on_dequeued(self, delivery: Delivery) -> None:
        self.dequeued.add(delivery.number)
        entry = self.open.get((delivery.frame, delivery.group))
        if self.router.discarded > self.discarded:
            self.discarded += 1
            assert entry is not None
            assert not entry.has_callback, "counted as discarded, though there is a callback"
            causes = set(get_args(Undelivered)) - ({"overloaded"} if entry is not self.discarding else set())
            assert any(self.may_end(entry, cause) for cause in causes)
            self.end_delivery(entry)
        elif entry is not None and entry.frame in self.undelivered_frames and self.is_nowhere(entry):
            # The callback was called for the other group.
            self.end_delivery(entry)
        self.reenter()

    def consumers(self, entry: Entry) -> list[Client]:
        matching = [client for client in self.clients if client.matches(entry.subject)]
        return [client for client in matching if client.consumer.queue_group == entry.group]

    def is_full(self, entry: Entry) -> bool:
        return all(client.consumer.in_flight >= client.consumer.prefetch for client in self.consumers(entry))

    def is_nowhere(self, entry: Entry) -> bool:
        group, subject = entry.key
        queue = self.router._queues.get(group, {}).get(subject, ())
        return (
            entry.client is None
            and not entry.being_sent
            and all(entry.frame != queued.frame for queued in queue)
        )

    def may_end(self, entry: Entry, cause: Undelivered) -> bool:
        if not self.is_nowhere(entry):
            return False
        if entry is self.discarding:
            return cause == ("lost" if entry.attempts else "overloaded")
        last = entry.attempts == self.max_deliveries > 1
        match cause:
            case "overloaded":
                return bool(self.consumers(entry)) and self.is_full(entry)
            case "no_consumers":
                return not entry.attempts and not self.consumers(entry)
            case "lost":
                no_retry = self.max_deliveries == 1 or not self.consumers(entry)
                return entry.attempts > 0 and not last and no_retry
            case "failed":
                return last

    def end_delivery(self, entry: Entry) -> None:
        del self.open[entry.frame, entry.group]
        if entry.attempts == self.max_deliveries > 1:
            self.dead.append((entry.subject, entry.frame, entry.attempts, entry.reason))

    # --- actions, also from callbacks -------------------------------------------------------------

    def reenter(self) -> None:
        """Perform the next action of the script, while the Router is in the middle of another."""
        action, pick = self.script.popleft() if self.script else ("", 0)
        if action in {"publish", "publish_with_callback"} and not self.publishing_blocked:
            # Not while a frame is sent to consumers outside of groups: that would change the order.
            self.do_publish(SUBJECTS[pick % 3], action == "publish_with_callback")
        elif action == "remove" and self.clients:
            self.do_remove(self.clients[pick % len(self.clients)])
        elif action in {"ack", "nack", "requeue"} and self.unacked:
            number = list(self.unacked)[pick % len(self.unacked)]
            self.acknowledge(action, self.unacked[number].client, number)
        else:
            return
        self.reentered = True

    def do_publish(self, subject: str, callback: bool) -> None:
        self.published += 1
        frame = b"%d" % self.published
        clients = [client for client in self.clients if client.matches(subject)]
        for group in {group for client in clients if (group := client.consumer.queue_group)}:
            self.open[frame, group] = Entry(subject, frame, group, callback)
        for client in (plain := [client for client in clients if client.consumer.queue_group is None]):
            client.expected.append(frame)
        blocked = (
            self.router.publish(subject, frame, self.on_undelivered if callback else None, float(frame)) or []
        )
        for client in plain:
            if len(client.expected) > client.max_pending:
                client.expected.popleft()
                client.dropped += 1
        self.blocked += blocked
        assert not callback or not blocked, "a publisher with a callback must not wait"
        if len(plain) == len(clients):
            assert (frame in self.undelivered_frames) == (callback and not clients)
        assert self.reentered or all(
            self.router.queue_length(delivery) >= self.max_waiting for delivery in blocked
        )

    def do_remove(self, client: Client) -> None:
        client.expected.clear()
        self.router.remove_consumer(client.consumer)

    def acknowledge(self, action: str, client: Client | None, number: int) -> None:
        assert client is not None
        entry = self.unacked.get(number)
        if entry is not None and entry.client is client:
            del self.unacked[number]
            entry.client, entry.reason = None, f"{action} {number}"
            entry.attempts -= action == "requeue"
            self.lost = [entry]
            if action == "ack" or (action == "nack" and self.max_deliveries == 1):
                del self.open[entry.frame, entry.group]
        getattr(self.router, action)(
            client.consumer, number, *([f"nack {number}"] if action == "nack" else [])
        )

    @rule(kind=KINDS)
    def add(self, kind: Kind) -> None:
        if len(self.clients) < MAX_CLIENTS:
            pattern, group, prefetch, max_pending, quick = kind
            client = Client(quick, max_pending)
            send = partial(self.send, client)
            client.consumer = Consumer(
                pattern, send, queue_group=group, prefetch=prefetch, max_pending=max_pending
            )
            self.clients.append(client)
            self.router.add_consumer(client.consumer)

    @rule(pick=PICKS)
    def remove(self, pick: int) -> None:
        for client in self.clients[pick : pick + 1]:
            self.do_remove(client)

    @rule(pick=PICKS)
    def lose(self, pick: int) -> None:
        # Usually the one with the most unacknowledged deliveries: it tests the most.
        clients = sorted(self.clients, key=lambda client: -len(client.consumer.unacked))
        if clients:
            client = clients[max(0, pick - 12) % len(clients)]
            self.lost = [entry for entry in self.unacked.values() if entry.client is client]
            self.unacked = {
                number: entry for number, entry in self.unacked.items() if entry.client is not client
            }
            for entry in self.lost:
                entry.client, entry.reason = None, f"lost with {pick}"
            self.clients.remove(client)
            client.expected.clear()
            self.router.remove_lost_consumer(client.consumer, f"lost with {pick}")

    @rule(subject=st.sampled_from(SUBJECTS), callback=st.booleans(), count=st.integers(1, 6))
    def publish(self, subject: str, callback: bool, count: int) -> None:
        for _ in range(count):
            self.do_publish(subject, callback)

    @rule(action=ENDS, pick=PICKS)
    def end(self, action: str, pick: int) -> None:
        if self.unacked:
            number = list(self.unacked)[pick % len(self.unacked)]
            self.acknowledge(action, self.unacked[number].client, number)

    @rule(action=ENDS, pick=PICKS, number=st.integers(0, 50))
    def end_any(self, action: str, pick: int, number: int) -> None:
        for client in self.clients[pick : pick + 1]:
            self.acknowledge(action, client, number)

    @rule(pick=PICKS, count=FEW)
    def complete(self, pick: int, count: int) -> None:
        if busy := [client for client in self.clients if client.in_flight]:
            client = busy[pick % len(busy)]
            count = min(count, client.in_flight)
            client.in_flight -= count
            client.consumer.complete(count)

    @rule(pick=PICKS)
    def open_or_close_gate(self, pick: int) -> None:
        for client in self.clients[pick : pick + 1]:
            consumer = client.consumer
            if consumer.queue_group is not None and not consumer.closed:
                client.gated, consumer.prefetch = consumer.prefetch, client.gated
                self.router.fill(consumer)

    @rule(pick=PICKS)
    def retry_blocked(self, pick: int) -> None:
        delivery = self.blocked.pop(pick % len(self.blocked)) if self.blocked else None
        if delivery is not None and not self.router.try_deliver(delivery):
            assert self.router.queue_length(delivery) >= self.max_waiting
            self.blocked.append(delivery)

    @rule(pick=PICKS)
    def enqueue_blocked(self, pick: int) -> None:
        for delivery in self.blocked[pick : pick + 1]:
            entry = self.open[delivery.frame, delivery.group]
            if self.consumers(entry) and self.is_full(entry):
                self.blocked.remove(delivery)
                entry.uncounted = True
                self.router.enqueue(delivery)

    @rule()
    def discard_queued(self) -> None:
        if self.router.queued:
            *_, newest = (queue[-1] for queues in self.router._queues.values() for queue in queues.values())
            self.discarding = self.open[newest.frame, newest.group]
            self.router.discard_queued()
            self.discarding = None
            assert newest.number in self.dequeued
            assert (newest.frame, newest.group) not in self.open
            self.queues[newest.group, newest.subject].remove(newest)

    @rule(script=st.lists(st.tuples(ACTIONS, PICKS), min_size=1, max_size=4))
    def plan(self, script: list[tuple[str, int]]) -> None:
        self.script = deque(script)

    # --- invariants -----------------------------------------------------------------------------

    @invariant()
    def the_router_agrees_with_the_model(self) -> None:
        waiting = {
            (group, subject): list(queue)
            for group, queues in self.router._queues.items()
            for subject, queue in queues.items()
        }
        assert self.router.queued_bytes == sum(
            len(delivery.frame) for delivery in chain.from_iterable(waiting.values())
        )
        assert self.router.queued == sum(map(len, waiting.values()))
        assert self.router.queues == len(waiting)
        assert all(
            self.router.queue_count(group) == sum(name == group for name, _ in waiting) for group in GROUPS
        )
        for key, queue in waiting.items():
            self.check_queue(queue, self.queues.get(key, []))
        gone = {delivery.number for delivery in chain.from_iterable(self.queues.values())}
        gone -= {delivery.number for delivery in chain.from_iterable(waiting.values())}
        assert gone <= self.dequeued, "on_dequeued was not called"
        self.check_places(waiting)
        if not self.reentered:
            self.check_lost(waiting)
        for client in self.clients:
            self.check_client(client)
        assert self.router.discarded == self.discarded
        assert [msgspec.structs.astuple(dead) for dead in self.router.dead_letters] == list(self.dead)
        self.queues = waiting
        self.begin_step()

    def check_queue(self, queue: list[Delivery], before: list[Delivery]) -> None:
        entries = [self.open[delivery.frame, delivery.group] for delivery in queue]
        assert entries, "an empty queue was not removed"
        assert self.consumers(entries[0]), "queued without a consumer"
        assert self.is_full(entries[0]), "queued though there is capacity"
        assert sum(not entry.uncounted for entry in entries) <= self.max_waiting
        again = [
            delivery.number in self.unacked_before or entry in self.sent
            for delivery, entry in zip(queue, entries, strict=True)
        ]
        stayed = [
            delivery for delivery, back in zip(queue, again, strict=True) if delivery in before and not back
        ]
        assert stayed == before[len(before) - len(stayed) :], "a delivery overtook another"
        ranks = [
            0 if back else 1 if delivery in stayed else 2 for delivery, back in zip(queue, again, strict=True)
        ]
        assert ranks == sorted(ranks), "redelivered frames go first, new frames last"

    def check_places(self, waiting: dict[tuple[str, str], list[Delivery]]) -> None:
        queued = chain.from_iterable(waiting.values())
        placed: list[Entry | Delivery] = [*self.unacked.values(), *self.blocked, *queued]
        # The callback was already called for these, for the other group.
        for entry in [entry for entry in self.open.values() if entry.frame in self.undelivered_frames]:
            if self.is_nowhere(entry):
                self.end_delivery(entry)
        assert sorted((each.frame, each.group) for each in placed) == sorted(self.open)

    def check_lost(self, waiting: dict[tuple[str, str], list[Delivery]]) -> None:
        for key in {entry.key for entry in self.lost}:
            sent = [entry for entry in self.sent if entry.key == key]
            queue = [self.open[delivery.frame, delivery.group] for delivery in waiting.get(key, ())]
            again = [entry for entry in self.lost if entry in sent or entry in queue]
            assert [*sent, *queue][: len(again)] == again, "redelivered frames go first, in order"

    def check_client(self, client: Client) -> None:
        consumer = client.consumer
        if consumer.queue_group is None:
            assert consumer.in_flight == client.in_flight
            assert (consumer._pending or deque()) == client.expected
            assert consumer.closed or consumer.dropped == client.dropped
        else:
            assert set(consumer.unacked) == {
                number for number, entry in self.unacked.items() if entry.client is client
            }
            assert consumer.in_flight == len(consumer.unacked)
            assert all(
                delivery.attempts == self.unacked[number].attempts
                for number, delivery in consumer.unacked.items()
            )
        # A send that publishes may reach the same consumer again.
        prefetch = max(consumer.prefetch, client.gated)
        assert consumer.closed or consumer.in_flight <= prefetch + client.nested


@pytest.mark.timeout(3600)
def test_every_delivery_is_in_one_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "cosmo_core.routing")
    examples = int(os.environ.get("COSMO_EXAMPLES", "200"))
    patient = settings(deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(RouterMachine, settings=settings(patient, max_examples=examples))
