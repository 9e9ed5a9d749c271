"""The Router's laws one by one: who gets a frame, in which order, and what is said if nobody does."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.contracts.delivery import DeadLetter, Undelivered
from cosmo_core.routing import Letter, Member, Router


class Receiver:
    """A member that keeps what it gets, and is done with it at once if it is quick."""

    def __init__(
        self,
        router: Router,
        pattern: str = "work",
        group: str | None = "g",
        *,
        credit: int = 1,
        quick: bool = False,
        max_pending: int = 0,
    ) -> None:
        self.quick = quick
        self.got: list[bytes] = []
        self.numbers: list[int] = []
        self.member = Member(pattern, self.send, queue_group=group, credit=credit, max_pending=max_pending)
        router.add(self.member)

    def send(self, frame: bytes, number: int, since: float) -> bool:
        self.got.append(frame)
        self.numbers.append(number)
        return self.quick


class Teller:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, Undelivered]] = []

    def __call__(self, frame: bytes, why: Undelivered) -> None:
        self.told.append((frame, why))


def frames(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def settle_all(router: Router, receiver: Receiver) -> None:
    while receiver.member.lent:
        router.settle(receiver.member, next(iter(receiver.member.lent)))


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["work.a", "work.b", "work.c"]), max_size=60),
    st.booleans(),
)
def test_free_members_share_evenly_whatever_the_subjects(
    members: int, subjects: list[str], quick: bool
) -> None:
    router = Router(max_waiting=1)
    group = [Receiver(router, "work.*", credit=len(subjects) + 1, quick=quick) for _ in range(members)]
    for subject in subjects:
        assert router.publish(subject, b"") is None
    shares = [len(receiver.got) for receiver in group]
    assert sum(shares) == len(subjects)
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 4), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=40))
def test_a_slow_member_loses_the_oldest_and_each_is_counted(
    credit: int, max_pending: int, finished: list[int]
) -> None:
    router = Router(max_waiting=1)
    slow = Receiver(router, group=None, credit=credit, max_pending=max_pending)
    for number, count in enumerate(finished):
        router.publish("work", b"%d" % number)
        slow.member.finish(min(count, slow.member.in_flight))
    while slow.member.in_flight:
        slow.member.finish()
    assert len(slow.got) + slow.member.dropped == len(finished)
    assert slow.got == sorted(slow.got, key=int)


def test_what_is_too_much_is_dropped_from_the_oldest_on() -> None:
    router = Router(max_waiting=1)
    slow = Receiver(router, group=None, credit=1, max_pending=2)
    for frame in frames(6):
        router.publish("work", frame)
    assert slow.member.dropped == 3
    for _ in range(3):
        slow.member.finish()
    assert slow.got == [b"0", b"4", b"5"]


@given(st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_what_a_lost_member_had_comes_in_the_old_order(count: int, room: int, quick: bool) -> None:
    router = Router(max_waiting=1, max_deliveries=2)
    lost = Receiver(router, credit=count)
    for frame in frames(count):
        router.publish("work", frame)
    heir = Receiver(router, credit=room, quick=quick)
    router.lose(lost.member, "gone")
    assert heir.got == frames(count)[: None if quick else room]
    settle_all(router, heir)
    assert heir.got == frames(count)


def test_what_comes_again_goes_before_what_waits() -> None:
    router = Router(max_waiting=10, max_deliveries=2)
    lost, heir = Receiver(router, credit=2), Receiver(router, credit=1)
    for frame in frames(5):
        assert router.publish("work", frame) is None
    had = list(lost.got)
    router.lose(lost.member, "gone")
    settle_all(router, heir)
    rest = [frame for frame in frames(5) if frame not in had and frame != heir.got[0]]
    assert heir.got[1:] == [*had, *rest]


@given(st.sampled_from(["settle", "fail", "lose"]), st.integers(1, 10))
def test_with_one_delivery_nothing_comes_twice(how: str, count: int) -> None:
    teller = Teller()
    router = Router(max_waiting=20, max_deliveries=1)
    first, second = Receiver(router, credit=5), Receiver(router, credit=5)
    for frame in frames(count):
        router.publish("work", frame, teller)
    for number in list(first.member.lent):
        if how == "settle":
            router.settle(first.member, number)
        elif how == "fail":
            router.fail(first.member, number, "it failed")
    if how == "lose":
        router.lose(first.member, "gone")
    assert max(Counter(first.got + second.got).values()) == 1
    assert not router.dead
    assert teller.told == [(frame, "lost") for frame in first.got if how == "lose"]


def test_the_publisher_is_told_once_however_many_groups_have_no_room() -> None:
    teller = Teller()
    router = Router(max_waiting=1)
    for group in ("g", "h", "i"):
        Receiver(router, group=group)
    router.publish("work", b"1")
    router.publish("work", b"2", teller)
    assert teller.told == [(b"2", "overloaded")]


def test_whoever_was_told_of_a_loss_is_not_told_of_another() -> None:
    teller = Teller()
    router = Router(max_waiting=1)
    receivers = [Receiver(router, group=group) for group in ("g", "h")]
    router.publish("work", b"1", teller)
    for receiver in receivers:
        router.lose(receiver.member, "gone")
    assert teller.told == [(b"1", "lost")]


def test_a_letter_that_was_lost_once_and_then_given_back_is_lost() -> None:
    teller = Teller()
    router = Router(max_waiting=1, max_deliveries=3)
    first = Receiver(router)
    router.publish("work", b"1", teller)
    second = Receiver(router)
    router.lose(first.member, "gone")
    router.remove(second.member)
    router.give_back(second.member, second.numbers[0])
    assert teller.told == [(b"1", "lost")]


def test_what_nobody_looked_at_had_nobody() -> None:
    teller = Teller()
    router = Router(max_waiting=1, max_deliveries=3)
    only = Receiver(router)
    router.publish("work", b"1", teller)
    router.remove(only.member)
    router.give_back(only.member, only.numbers[0])
    assert teller.told == [(b"1", "no_consumers")]


@given(st.integers(2, 3), st.integers(1, 12), st.booleans(), st.booleans())
def test_dead_letters_are_the_newest_in_order_and_say_why(
    max_deliveries: int, count: int, lost: bool, tell: bool
) -> None:
    teller = Teller()
    router = Router(max_waiting=1, max_deliveries=max_deliveries, max_dead=5)
    only = Receiver(router, credit=count)
    for frame in frames(count):
        router.publish("work", frame, teller if tell else None)
    for delivery in range(1, max_deliveries + (not lost)):
        for number in list(only.member.lent):
            router.fail(only.member, number, f"failure {delivery} of {number}")
    if lost:
        router.lose(only.member, "gone")
    assert (
        list(router.dead)
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
    assert teller.told == [(frame, "failed") for frame in frames(count) if tell]
    assert router.unplaced == (0 if tell else count)
    assert len(only.got) == count * max_deliveries


def test_a_frame_that_is_waited_with_goes_to_who_joins() -> None:
    heard: list[bytes] = []

    def room(letter: Letter) -> None:
        heard.append(letter.frame)

    router = Router(max_waiting=2, room=room)
    Receiver(router)
    crowded = [letter for frame in frames(5) for letter in router.publish("work", frame) or ()]
    assert [letter.frame for letter in crowded] == [b"3", b"4"]
    assert not router.place(crowded[0])
    joined = Receiver(router, credit=3)
    assert joined.got == heard == [b"1", b"2"]
    assert all(router.place(letter) for letter in crowded)
    assert joined.got == [b"1", b"2", b"3"]
    assert router.waiting(crowded[1]) == 1


def test_the_last_member_of_a_group_may_go_while_a_frame_is_on_its_way_to_others() -> None:
    teller = Teller()
    router = Router(max_waiting=1)
    last: list[Receiver] = []

    def send(frame: bytes, number: int, since: float) -> bool:
        router.remove(last[0].member)
        return True

    router.add(Member("work", send, credit=1, max_pending=0))
    last.append(Receiver(router))
    assert router.publish("work", b"1", teller) is None
    assert last[0].got == []
    assert teller.told == [(b"1", "no_consumers")]


@pytest.mark.parametrize("member", ["wrong", "gone"])
def test_a_number_that_was_not_lent_means_nothing(member: str) -> None:
    router = Router(max_waiting=1, max_deliveries=2)
    holder, other = Receiver(router), Receiver(router)
    router.publish("work", b"1")
    holder, other = (holder, other) if holder.got else (other, holder)
    number = holder.numbers[0]
    if member == "gone":
        router.lose(other.member, "gone")
    for end in (router.settle, router.give_back):
        end(other.member, number)
    router.fail(other.member, number, "not mine")
    assert list(holder.member.lent) == [number]
    router.settle(holder.member, number)
    router.settle(holder.member, number)
    assert holder.member.in_flight == 0
