"""The rules of the Router, one by one: delivery, order, redelivery and `undelivered`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.contracts.delivery import DeadLetter, Undelivered
from cosmo_core.routing import Consumer, Delivery, QueueGroup, Route, Router, SubjectTable
from cosmo_core.routing.table import Turn, matches


class Receiver:
    """A consumer that records its frames. A quick one handles them at once."""

    def __init__(
        self,
        router: Router,
        pattern: str = "work",
        group: str | None = "g",
        *,
        prefetch: int = 1,
        quick: bool = False,
        max_pending: int = 0,
    ) -> None:
        self.quick = quick
        self.got: list[bytes] = []
        self.numbers: list[int] = []
        self.consumer = Consumer(
            pattern, self.send, queue_group=group, prefetch=prefetch, max_pending=max_pending
        )
        router.add_consumer(self.consumer)

    def send(self, frame: bytes, number: int, published_at: float) -> bool:
        self.got.append(frame)
        self.numbers.append(number)
        return self.quick


class UndeliveredLog:
    """An ``undelivered`` callback that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, Undelivered]] = []

    def __call__(self, frame: bytes, cause: Undelivered) -> None:
        self.calls.append((frame, cause))


def frames(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def ack_all(router: Router, receiver: Receiver) -> None:
    while receiver.consumer.unacked:
        router.ack(receiver.consumer, next(iter(receiver.consumer.unacked)))


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["work.a", "work.b", "work.c"]), max_size=60),
    st.booleans(),
)
def test_consumers_with_capacity_share_frames_evenly_across_subjects(
    members: int, subjects: list[str], quick: bool
) -> None:
    router = Router(max_waiting=1)
    group = [Receiver(router, "work.*", prefetch=len(subjects) + 1, quick=quick) for _ in range(members)]
    for subject in subjects:
        assert router.publish(subject, b"") is None
    shares = [len(receiver.got) for receiver in group]
    assert sum(shares) == len(subjects)
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 4), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=40))
def test_a_slow_consumer_drops_the_oldest_frames_and_counts_each(
    prefetch: int, max_pending: int, completed: list[int]
) -> None:
    router = Router(max_waiting=1)
    slow = Receiver(router, group=None, prefetch=prefetch, max_pending=max_pending)
    for number, count in enumerate(completed):
        router.publish("work", b"%d" % number)
        slow.consumer.complete(min(count, slow.consumer.in_flight))
    while slow.consumer.in_flight:
        slow.consumer.complete()
    assert len(slow.got) + slow.consumer.dropped == len(completed)
    assert slow.got == sorted(slow.got, key=int)


def test_a_full_buffer_drops_the_oldest_frames_first() -> None:
    router = Router(max_waiting=1)
    slow = Receiver(router, group=None, prefetch=1, max_pending=2)
    for frame in frames(6):
        router.publish("work", frame)
    assert slow.consumer.dropped == 3
    for _ in range(3):
        slow.consumer.complete()
    assert slow.got == [b"0", b"4", b"5"]


@given(st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_deliveries_of_a_lost_consumer_are_redelivered_in_order(
    count: int, capacity: int, quick: bool
) -> None:
    router = Router(max_waiting=1, max_deliveries=2)
    lost = Receiver(router, prefetch=count)
    for frame in frames(count):
        router.publish("work", frame)
    other = Receiver(router, prefetch=capacity, quick=quick)
    router.remove_lost_consumer(lost.consumer, "gone")
    assert other.got == frames(count)[: None if quick else capacity]
    ack_all(router, other)
    assert other.got == frames(count)


def test_redelivered_frames_go_before_queued_frames() -> None:
    router = Router(max_waiting=10, max_deliveries=2)
    lost, other = Receiver(router, prefetch=2), Receiver(router, prefetch=1)
    for frame in frames(5):
        assert router.publish("work", frame) is None
    had = list(lost.got)
    router.remove_lost_consumer(lost.consumer, "gone")
    ack_all(router, other)
    rest = [frame for frame in frames(5) if frame not in had and frame != other.got[0]]
    assert other.got[1:] == [*had, *rest]


@given(st.sampled_from(["ack", "nack", "lost"]), st.integers(1, 10))
def test_max_deliveries_of_one_never_delivers_a_frame_twice(how: str, count: int) -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=20, max_deliveries=1)
    first, second = Receiver(router, prefetch=5), Receiver(router, prefetch=5)
    for frame in frames(count):
        router.publish("work", frame, undelivered)
    for number in list(first.consumer.unacked):
        if how == "ack":
            router.ack(first.consumer, number)
        elif how == "nack":
            router.nack(first.consumer, number, "it failed")
    if how == "lost":
        router.remove_lost_consumer(first.consumer, "gone")
    assert max(Counter(first.got + second.got).values()) == 1
    assert not router.dead_letters
    assert undelivered.calls == [(frame, "lost") for frame in first.got if how == "lost"]


def test_undelivered_is_called_once_for_several_groups_without_capacity() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1)
    for group in ("g", "h", "i"):
        Receiver(router, group=group)
    router.publish("work", b"1")
    router.publish("work", b"2", undelivered)
    assert undelivered.calls == [(b"2", "overloaded")]


def test_undelivered_is_called_once_for_several_lost_consumers() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1)
    receivers = [Receiver(router, group=group) for group in ("g", "h")]
    router.publish("work", b"1", undelivered)
    for receiver in receivers:
        router.remove_lost_consumer(receiver.consumer, "gone")
    assert undelivered.calls == [(b"1", "lost")]


def test_a_delivery_that_was_lost_and_then_requeued_is_lost() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1, max_deliveries=3)
    first = Receiver(router)
    router.publish("work", b"1", undelivered)
    second = Receiver(router)
    router.remove_lost_consumer(first.consumer, "gone")
    router.remove_consumer(second.consumer)
    router.requeue(second.consumer, second.numbers[0])
    assert undelivered.calls == [(b"1", "lost")]


def test_a_requeued_delivery_without_consumers_has_had_no_consumers() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1, max_deliveries=3)
    only = Receiver(router)
    router.publish("work", b"1", undelivered)
    router.remove_consumer(only.consumer)
    router.requeue(only.consumer, only.numbers[0])
    assert undelivered.calls == [(b"1", "no_consumers")]


@given(st.integers(2, 3), st.integers(1, 12), st.booleans(), st.booleans())
def test_dead_letters_are_the_newest_in_order_with_their_reasons(
    max_deliveries: int, count: int, lost: bool, callback: bool
) -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1, max_deliveries=max_deliveries, max_dead=5)
    only = Receiver(router, prefetch=count)
    for frame in frames(count):
        router.publish("work", frame, undelivered if callback else None)
    for delivery in range(1, max_deliveries + (not lost)):
        for number in list(only.consumer.unacked):
            router.nack(only.consumer, number, f"failure {delivery} of {number}")
    if lost:
        router.remove_lost_consumer(only.consumer, "gone")
    assert (
        list(router.dead_letters)
        == [
            DeadLetter(
                subject="work",
                frame=b"%d" % number,
                deliveries=max_deliveries,
                reason="gone" if lost else f"failure {max_deliveries} of {number + 1}",
            )
            for number in range(count)
        ][-5:]
    )
    assert undelivered.calls == [(frame, "failed") for frame in frames(count) if callback]
    assert router.discarded == (0 if callback else count)
    assert len(only.got) == count * max_deliveries


def test_queued_frames_go_to_a_consumer_that_joins() -> None:
    dequeued: list[bytes] = []

    def on_dequeued(delivery: Delivery) -> None:
        dequeued.append(delivery.frame)

    router = Router(max_waiting=2, on_dequeued=on_dequeued)
    Receiver(router)
    blocked = [delivery for frame in frames(5) for delivery in router.publish("work", frame) or ()]
    assert [delivery.frame for delivery in blocked] == [b"3", b"4"]
    assert not router.try_deliver(blocked[0])
    joined = Receiver(router, prefetch=3)
    assert joined.got == dequeued == [b"1", b"2"]
    assert all(router.try_deliver(delivery) for delivery in blocked)
    assert joined.got == [b"1", b"2", b"3"]
    assert router.queue_length(blocked[1]) == 1


def test_the_last_consumer_of_a_group_may_be_removed_during_a_publish() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1)
    last: list[Receiver] = []

    def send(frame: bytes, number: int, published_at: float) -> bool:
        router.remove_consumer(last[0].consumer)
        return True

    router.add_consumer(Consumer("work", send, prefetch=1, max_pending=0))
    last.append(Receiver(router))
    assert router.publish("work", b"1", undelivered) is None
    assert last[0].got == []
    assert undelivered.calls == [(b"1", "no_consumers")]


@pytest.mark.parametrize("consumer", ["wrong", "lost"])
def test_a_number_that_is_not_unacknowledged_is_ignored(consumer: str) -> None:
    router = Router(max_waiting=1, max_deliveries=2)
    holder, other = Receiver(router), Receiver(router)
    router.publish("work", b"1")
    holder, other = (holder, other) if holder.got else (other, holder)
    number = holder.numbers[0]
    if consumer == "lost":
        router.remove_lost_consumer(other.consumer, "gone")
    for acknowledge in (router.ack, router.requeue):
        acknowledge(other.consumer, number)
    router.nack(other.consumer, number, "not mine")
    assert list(holder.consumer.unacked) == [number]
    router.ack(holder.consumer, number)
    router.ack(holder.consumer, number)
    assert holder.consumer.in_flight == 0


def test_removing_one_of_many_equal_consumers_looks_at_no_waiting_subject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = Router(max_waiting=10)
    members = [Receiver(router, "w.>") for _ in range(50)]
    reports = UndeliveredLog()
    for number in range(50):
        router.publish("w.busy", b"%d" % number)
    for number in range(200):
        router.publish(f"w.{number}", b"waits")
    routed: list[str] = []
    resolve = router._table.route

    def route(subject: str) -> Route[Consumer]:
        routed.append(subject)
        return resolve(subject)

    monkeypatch.setattr(router._table, "route", route)
    for member in members[1:]:
        router.remove_consumer(member.consumer)
    assert routed == []
    assert router.queues == 200
    # The last one gets them, and with it they end.
    router.nack(members[0].consumer, members[0].numbers[0], "failed")
    router.remove_consumer(members[0].consumer)
    assert router.queues == 0
    assert reports.calls == []
    assert router.discarded == 199


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Consumer]:
    """The consumers at which a Router looked for capacity, beyond the one whose turn it was."""
    looked: list[Consumer] = []
    may_take_turn = Consumer.may_take_turn

    def look(consumer: Consumer, turn: Turn[Consumer]) -> bool:
        looked.append(consumer)
        return may_take_turn(consumer, turn)

    monkeypatch.setattr(Consumer, "may_take_turn", look)
    return looked


@pytest.mark.parametrize("free", [0, 1])
def test_members_without_capacity_are_looked_at_once(looked_at: list[Consumer], free: int) -> None:
    router = Router(max_waiting=1000)
    full = [Receiver(router) for _ in range(100)]
    quick = [Receiver(router, quick=True) for _ in range(free)]
    for _ in range(500):
        router.publish("work", b"")
    assert [looked_at.count(receiver.consumer) for receiver in full] == 100 * [1]
    assert len(looked_at) == 100 + free
    assert all(len(receiver.got) == 1 for receiver in full)
    assert [len(receiver.got) for receiver in quick] == free * [400]


def test_a_member_takes_turns_again_when_it_has_capacity(looked_at: list[Consumer]) -> None:
    router = Router(max_waiting=1000)
    members = [Receiver(router, quick=False) for _ in range(3)]
    for _ in range(3):
        router.publish("work", b"first")
    undelivered = UndeliveredLog()
    router.publish("work", b"none is free", undelivered)
    assert undelivered.calls == [(b"none is free", "overloaded")]
    for receiver in (members[2], members[0]):
        ack_all(router, receiver)
    looked_at.clear()
    for _ in range(2):
        router.publish("work", b"again")
    assert [receiver.got.count(b"again") for receiver in members] == [1, 0, 1]
    assert looked_at == []


def test_a_consumer_whose_prefetch_was_increased_takes_turns_again() -> None:
    router = Router(max_waiting=1000)
    gated, other = Receiver(router, prefetch=5), Receiver(router, prefetch=5)
    gated.consumer.prefetch = 0
    for _ in range(2):
        router.publish("work", b"")
    assert (len(gated.got), len(other.got)) == (0, 2)
    gated.consumer.prefetch = 5
    router.fill(gated.consumer)
    for _ in range(4):
        router.publish("work", b"")
    assert (len(gated.got), len(other.got)) == (2, 4)


@given(st.lists(st.sampled_from(["work", "*", ">"]), min_size=1, max_size=8), st.integers(1, 40))
def test_the_members_of_a_group_share_frames_evenly_though_their_patterns_differ(
    patterns: list[str], frames: int
) -> None:
    router = Router(max_waiting=1)
    group = [Receiver(router, pattern, quick=True) for pattern in patterns]
    for _ in range(frames * len(group)):
        router.publish("work", b"")
    assert [len(receiver.got) for receiver in group] == len(group) * [frames]


def test_a_change_of_a_group_that_has_other_members_resolves_no_route_again() -> None:
    router = Router(max_waiting=1)
    first = Receiver(router, "w.>", quick=True)
    router.publish("w.a", b"1")
    route = router._table.route("w.a")
    second = Receiver(router, "w.>", quick=True)
    assert router._table.route("w.a") is route
    assert set(route.groups[0].members) == {first.consumer, second.consumer}
    router.publish("w.a", b"2")
    router.publish("w.a", b"3")
    assert sorted(map(len, (first.got, second.got))) == [1, 2]
    router.remove_consumer(first.consumer)
    assert router._table.route("w.a") is route
    router.publish("w.a", b"4")
    assert second.got[-1] == b"4"
    router.remove_consumer(second.consumer)
    assert router._table.route("w.a").groups == ()


def test_a_group_without_members_has_none_to_pick() -> None:
    group: QueueGroup[int] = QueueGroup("g")
    with pytest.raises(LookupError, match="no member of the queue group g"):
        group.pick()
    for member in (1000, 2000, 3000):
        group.add(member)
        group.add(member)
    assert [group.pick() for _ in range(4)] == [1000, 2000, 3000, 1000]
    group.remove(2000)
    group.remove(2000)
    assert [group.pick() for _ in range(3)] == [3000, 1000, 3000]


def test_a_consumer_with_another_pattern_keeps_the_frames_that_it_matches() -> None:
    router = Router(max_waiting=10)
    wide, narrow = Receiver(router, "w.>"), Receiver(router, "w.a")
    for number in range(2):
        router.publish("w.a", b"%d" % number)
    for subject in ("w.a", "w.b", "w.c"):
        router.publish(subject, subject.encode())
    router.remove_consumer(wide.consumer)
    assert (router.queues, router.discarded) == (1, 2)
    ack_all(router, narrow)
    assert narrow.got[-1] == b"w.a"


def test_an_acknowledgement_does_not_look_at_the_queues_of_other_groups() -> None:
    router = Router(max_waiting=10)
    hostile, honest = Receiver(router, "w.>", "hostile"), Receiver(router, "work", "honest", prefetch=2)
    router.publish("w.busy", b"")
    for number in range(100):
        router.publish(f"w.{number}", b"waits")
    looked_at: list[str] = []

    class Group(dict[str, object]):
        def __iter__(self) -> Iterator[str]:
            looked_at.append("hostile")
            return super().__iter__()

    router._queues["hostile"] = Group(router._queues["hostile"])  # type: ignore[assignment]
    router.publish("work", b"x")
    ack_all(router, honest)
    assert looked_at == []
    assert len(hostile.got) == 1


def test_dead_letters_are_limited_in_bytes() -> None:
    router = Router(max_waiting=10, max_deliveries=2, max_dead=4, max_dead_bytes=100)
    worker = Receiver(router)
    for size in (10, 50, 30, 20, 1, 1, 200):
        router.publish("work", bytes(size))
        for _ in range(2):
            router.nack(worker.consumer, worker.numbers[-1], "failed")
        kept = [len(dead.frame) for dead in router.dead_letters]
        assert sum(kept) <= 100
        assert len(kept) <= 4
        assert size in kept or size > 100
    assert (len(router.dead_letters), router._dead_bytes) == (0, 0)


@given(st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4), st.booleans(), st.data())
def test_matches_agrees_with_the_table(tokens: list[str], rest: bool, data: st.DataObject) -> None:
    pattern = ".".join([*tokens, ">"] if rest else tokens)
    subject = ".".join(data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5)))
    table: SubjectTable[str] = SubjectTable()
    table.add(pattern, "target")
    assert matches(pattern, subject) == bool(table.route(subject).targets)


def test_routes_with_many_targets_are_cached_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_core.routing.table.MAX_CACHED_TARGETS", 100)
    table: SubjectTable[int] = SubjectTable()
    for target in range(30):
        table.add(">", target)
    for number in range(20):
        assert len(table.route(f"a.{number}").targets) == 30
        assert sum(len(route.targets) for route in table.cached.values()) <= 100


def test_queued_deliveries_are_counted_and_the_newest_is_discarded() -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=10, max_deliveries=3)
    worker = Receiver(router, "w.>", prefetch=1)
    router.publish("w.a", b"in flight", undelivered)
    for subject, frame in (("w.a", b"1"), ("w.b", b"22"), ("w.a", b"333")):
        assert router.publish(subject, frame) is None
    assert (router.queued, router.queued_bytes, router.queues) == (3, 6, 2)
    assert (router.queue_count("g"), router.queue_count("h")) == (2, 0)
    router.discard_queued()
    assert (router.queued, router.queued_bytes, router.discarded) == (2, 4, 1)
    other = Receiver(router, "w.>", prefetch=2)
    assert other.got == [b"1", b"333"]
    router.remove_lost_consumer(worker.consumer, "gone")
    assert undelivered.calls == []
    router.discard_queued()
    assert undelivered.calls == [(b"in flight", "lost")]
    assert (router.queued, router.queued_bytes, router.queues) == (0, 0, 0)


def test_a_frame_for_thousands_of_full_groups_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    undelivered = UndeliveredLog()
    router = Router(max_waiting=1)
    looked_up: list[str] = []
    for number in range(3000):
        Receiver(router, group=f"g{number}")
    router.publish("work", b"1")
    resolve = router._table.route

    def look_up(subject: str) -> Route[Consumer]:
        looked_up.append(subject)
        return resolve(subject)

    monkeypatch.setattr(router._table, "route", look_up)
    router.publish("work", b"2", undelivered)
    assert undelivered.calls == [(b"2", "overloaded")]
    # A look for each group among all would take the square of their number.
    assert looked_up == []
