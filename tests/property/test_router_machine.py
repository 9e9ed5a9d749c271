"""A state machine drives a Router, and keeps a ledger: where every letter is, and what may become of it.

Which of several free members gets a letter is the Router's choice; the ledger notes it, and judges it.
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
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.routing import Letter, Member, Router

# What each pattern matches, written out: matching has properties of its own.
MATCHES: Final = {"a.x": {"a.x"}, "a.>": {"a.x", "a.y"}, "*": {"b"}, ">": {"a.x", "a.y", "b"}}
SUBJECTS: Final = ("a.x", "a.y", "b")
GROUPS: Final = ("g", "h")
MAX_DEAD: Final = 3
MAX_PEERS: Final = 8

PICKS: Final = st.integers(0, 20)
FEW: Final = st.integers(1, 3)
NAMES: Final = st.sampled_from(("g", "g", "h", None))
QUICK: Final = st.sampled_from((False, False, True))
KINDS: Final = st.tuples(st.sampled_from(sorted(MATCHES)), NAMES, FEW, st.integers(0, 2), QUICK)
ENDS: Final = st.sampled_from(("settle", "settle", "fail", "give_back"))
ACTIONS: Final = st.sampled_from(("", "publish", "tell", "remove", "settle", "fail", "give_back"))

Kind = tuple[str, str | None, int, int, bool]


@attrs.define(eq=False)
class Peer:
    """A member, and what the ledger knows of it."""

    member: Member = attrs.field(init=False)
    quick: bool
    max_pending: int
    # Outside of groups: what it is to get still, how much it works on, and how much it is never to get.
    due: deque[bytes] = attrs.field(factory=deque)
    out: int = 0
    dropped: int = 0
    # How many sends to it are under way, and how many ever began while another was.
    sending: int = 0
    nested: int = 0

    def matches(self, subject: str) -> bool:
        return not self.member.closed and subject in MATCHES[self.member.pattern]


@attrs.define(eq=False)
class Entry:
    """A letter in the ledger."""

    subject: str
    frame: bytes
    group: str
    tell: bool
    at: Peer | None = None
    handed: int = 0
    under_way: bool = False
    # It was lent or waited with once: `max_waiting` does not count it.
    extra: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.subject

    reason: str = ""


class RouterMachine(RuleBasedStateMachine):
    """Members come and go; letters are published, settled, failed and given back, also from within."""

    @initialize(max_deliveries=FEW, max_waiting=FEW, kinds=st.lists(KINDS, max_size=4))
    def begin(self, max_deliveries: int, max_waiting: int, kinds: list[Kind]) -> None:
        self.max_deliveries, self.max_waiting = max_deliveries, max_waiting
        limits = {"max_waiting": max_waiting, "max_deliveries": max_deliveries, "max_dead": MAX_DEAD}
        self.router = Router(**limits, room=self.room)
        self.peers: list[Peer] = []
        self.published = self.unplaced = self.hushed = 0
        self.open: dict[tuple[bytes, str], Entry] = {}
        self.lent: dict[int, Entry] = {}
        self.crowded: list[Letter] = []
        self.told: set[bytes] = set()
        self.dead: deque[tuple[str, bytes, int, str]] = deque(maxlen=MAX_DEAD)
        self.script: deque[tuple[str, int]] = deque()
        self.waiting: dict[tuple[str, str], list[Letter]] = {}
        self.begin_step()
        for kind in kinds:
            self.add(kind)

    def begin_step(self) -> None:
        self.reentered = False
        self.roomy: set[int] = set()
        self.sent, self.lost = list[Entry](), list[Entry]()
        self.lent_before = set(self.lent)

    # --- what the Router calls ----------------------------------------------------------------------

    def send(self, peer: Peer, frame: bytes, number: int, since: float) -> bool:
        assert not peer.member.closed, "handed to one that is gone"
        assert peer.member.in_flight < peer.member.credit, "handed to one without room"
        assert since == (float(frame) if number else 0.0)
        entry = self.hand(peer, frame, number) if number else None
        assert entry is not None or peer.due.popleft() == frame, "out of order"
        peer.nested += peer.sending > 0
        peer.sending += 1
        self.hushed += entry is None
        self.reenter()
        self.hushed -= entry is None
        peer.sending -= 1
        if entry is None:
            peer.out += not peer.quick
        elif peer.quick:
            del self.open[entry.frame, entry.group]
        else:
            entry.at, entry.extra, entry.under_way = peer, True, False
            self.lent[number] = entry
        return peer.quick

    def hand(self, peer: Peer, frame: bytes, number: int) -> Entry:
        entry = self.open[frame, peer.member.queue_group or "none"]
        assert entry.at is None, "handed over while it is with another"
        assert not entry.under_way
        assert peer.matches(entry.subject)
        entry.handed += 1
        assert entry.handed <= self.max_deliveries, "handed over too often"
        entry.under_way = True
        self.sent.append(entry)
        return entry

    def tell(self, frame: bytes, why: Undelivered) -> None:
        assert frame not in self.told, "told twice"
        self.told.add(frame)
        known = [entry for group in GROUPS if (entry := self.open.get((frame, group))) is not None]
        entries = [entry for entry in known if entry.tell and self.may_end(entry, why)]
        assert entries or (why == "no_consumers" and not known)
        # With two groups it may be either; then the other one shows it in the end.
        if len(known) == 1 or why in {"lost", "failed"}:
            self.give_up(entries[0])
        self.reenter()

    def room(self, letter: Letter) -> None:
        self.roomy.add(letter.number)
        entry = self.open.get((letter.frame, letter.group))
        if self.router.unplaced > self.unplaced:
            self.unplaced += 1
            assert entry is not None
            assert not entry.tell, "counted, and not told"
            assert any(self.may_end(entry, why) for why in get_args(Undelivered) if why != "overloaded")
            self.give_up(entry)
        elif entry is not None and entry.frame in self.told and self.is_nowhere(entry):
            # The publisher was told for the sake of another group.
            self.give_up(entry)
        self.reenter()

    def members(self, entry: Entry) -> list[Peer]:
        matching = [peer for peer in self.peers if peer.matches(entry.subject)]
        return [peer for peer in matching if peer.member.queue_group == entry.group]

    def is_full(self, entry: Entry) -> bool:
        return all(peer.member.in_flight >= peer.member.credit for peer in self.members(entry))

    def is_nowhere(self, entry: Entry) -> bool:
        queue = self.router._waiting.get(entry.key, ())
        return entry.at is None and not entry.under_way and all(entry.frame != at.frame for at in queue)

    def may_end(self, entry: Entry, why: Undelivered) -> bool:
        if not self.is_nowhere(entry):
            return False
        last = entry.handed == self.max_deliveries > 1
        match why:
            case "overloaded":
                return bool(self.members(entry)) and self.is_full(entry)
            case "no_consumers":
                return not entry.handed and not self.members(entry)
            case "lost":
                none_may = self.max_deliveries == 1 or not self.members(entry)
                return entry.handed > 0 and not last and none_may
            case "failed":
                return last

    def give_up(self, entry: Entry) -> None:
        del self.open[entry.frame, entry.group]
        if entry.handed == self.max_deliveries > 1:
            self.dead.append((entry.subject, entry.frame, entry.handed, entry.reason))

    # --- what is done, also from within -------------------------------------------------------------

    def reenter(self) -> None:
        """Do what the script says next, in the middle of what the Router does."""
        action, pick = self.script.popleft() if self.script else ("", 0)
        if action in {"publish", "tell"} and not self.hushed:
            # Not while a frame is on its way to members outside of groups: that would be another order.
            self.do_publish(SUBJECTS[pick % 3], action == "tell")
        elif action == "remove" and self.peers:
            self.do_remove(self.peers[pick % len(self.peers)])
        elif action in {"settle", "fail", "give_back"} and self.lent:
            number = list(self.lent)[pick % len(self.lent)]
            self.end_one(action, self.lent[number].at, number)
        else:
            return
        self.reentered = True

    def do_publish(self, subject: str, tell: bool) -> None:
        self.published += 1
        frame = b"%d" % self.published
        peers = [peer for peer in self.peers if peer.matches(subject)]
        for group in {group for peer in peers if (group := peer.member.queue_group)}:
            self.open[frame, group] = Entry(subject, frame, group, tell)
        for peer in (plain := [peer for peer in peers if peer.member.queue_group is None]):
            peer.due.append(frame)
        crowded = self.router.publish(subject, frame, self.tell if tell else None, float(frame)) or []
        for peer in plain:
            if len(peer.due) > peer.max_pending:
                peer.due.popleft()
                peer.dropped += 1
        self.crowded += crowded
        assert not tell or not crowded, "nobody waits who is to be told"
        if len(plain) == len(peers):
            assert (frame in self.told) == (tell and not peers)
        assert self.reentered or all(self.router.waiting(letter) >= self.max_waiting for letter in crowded)

    def do_remove(self, peer: Peer) -> None:
        peer.due.clear()
        self.router.remove(peer.member)

    def end_one(self, action: str, peer: Peer | None, number: int) -> None:
        assert peer is not None
        entry = self.lent.get(number)
        if entry is not None and entry.at is peer:
            del self.lent[number]
            entry.at, entry.reason = None, f"{action} {number}"
            entry.handed -= action == "give_back"
            self.lost = [entry]
            if action == "settle" or (action == "fail" and self.max_deliveries == 1):
                del self.open[entry.frame, entry.group]
        getattr(self.router, action)(peer.member, number, *([f"fail {number}"] if action == "fail" else []))

    @rule(kind=KINDS)
    def add(self, kind: Kind) -> None:
        if len(self.peers) < MAX_PEERS:
            pattern, group, credit, max_pending, quick = kind
            peer = Peer(quick, max_pending)
            send = partial(self.send, peer)
            peer.member = Member(pattern, send, queue_group=group, credit=credit, max_pending=max_pending)
            self.peers.append(peer)
            self.router.add(peer.member)

    @rule(pick=PICKS)
    def remove(self, pick: int) -> None:
        for peer in self.peers[pick : pick + 1]:
            self.do_remove(peer)

    @rule(pick=PICKS)
    def lose(self, pick: int) -> None:
        # The one with the most in work, but for a few: that is where it matters.
        peers = sorted(self.peers, key=lambda peer: -len(peer.member.lent))
        if peers:
            peer = peers[max(0, pick - 12) % len(peers)]
            self.lost = [entry for entry in self.lent.values() if entry.at is peer]
            self.lent = {number: entry for number, entry in self.lent.items() if entry.at is not peer}
            for entry in self.lost:
                entry.at, entry.reason = None, f"lost with {pick}"
            self.peers.remove(peer)
            peer.due.clear()
            self.router.lose(peer.member, f"lost with {pick}")

    @rule(subject=st.sampled_from(SUBJECTS), tell=st.booleans(), count=st.integers(1, 6))
    def publish(self, subject: str, tell: bool, count: int) -> None:
        for _ in range(count):
            self.do_publish(subject, tell)

    @rule(action=ENDS, pick=PICKS)
    def end(self, action: str, pick: int) -> None:
        if self.lent:
            number = list(self.lent)[pick % len(self.lent)]
            self.end_one(action, self.lent[number].at, number)

    @rule(action=ENDS, pick=PICKS, number=st.integers(0, 50))
    def end_any(self, action: str, pick: int, number: int) -> None:
        for peer in self.peers[pick : pick + 1]:
            self.end_one(action, peer, number)

    @rule(pick=PICKS, count=FEW)
    def finish(self, pick: int, count: int) -> None:
        if busy := [peer for peer in self.peers if peer.out]:
            peer = busy[pick % len(busy)]
            count = min(count, peer.out)
            peer.out -= count
            peer.member.finish(count)

    @rule(pick=PICKS)
    def place(self, pick: int) -> None:
        letter = self.crowded.pop(pick % len(self.crowded)) if self.crowded else None
        if letter is not None and not self.router.place(letter):
            assert self.router.waiting(letter) >= self.max_waiting
            self.crowded.append(letter)

    @rule(pick=PICKS)
    def wait(self, pick: int) -> None:
        for letter in self.crowded[pick : pick + 1]:
            entry = self.open[letter.frame, letter.group]
            if self.members(entry) and self.is_full(entry):
                self.crowded.remove(letter)
                entry.extra = True
                self.router.wait(letter)

    @rule(script=st.lists(st.tuples(ACTIONS, PICKS), min_size=1, max_size=4))
    def plan(self, script: list[tuple[str, int]]) -> None:
        self.script = deque(script)

    # --- what must hold -----------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        waiting = {key: list(queue) for key, queue in self.router._waiting.items()}
        for key, queue in waiting.items():
            self.check_queue(queue, self.waiting.get(key, []))
        gone = {letter.number for letter in chain.from_iterable(self.waiting.values())}
        gone -= {letter.number for letter in chain.from_iterable(waiting.values())}
        assert gone <= self.roomy, "nobody heard that there is room"
        self.check_places(waiting)
        if not self.reentered:
            self.check_lost(waiting)
        for peer in self.peers:
            self.check_peer(peer)
        assert self.router.unplaced == self.unplaced
        assert [attrs.astuple(dead) for dead in self.router.dead] == list(self.dead)
        self.waiting = waiting
        self.begin_step()

    def check_queue(self, queue: list[Letter], before: list[Letter]) -> None:
        entries = [self.open[letter.frame, letter.group] for letter in queue]
        assert entries, "an empty queue is kept"
        assert self.members(entries[0]), "waits for nobody"
        assert self.is_full(entries[0]), "waits though there is room"
        assert sum(not entry.extra for entry in entries) <= self.max_waiting
        again = [
            letter.number in self.lent_before or entry in self.sent
            for letter, entry in zip(queue, entries, strict=True)
        ]
        stayed = [letter for letter, back in zip(queue, again, strict=True) if letter in before and not back]
        assert stayed == before[len(before) - len(stayed) :], "one overtook another"
        ranks = [
            0 if back else 1 if letter in stayed else 2 for letter, back in zip(queue, again, strict=True)
        ]
        assert ranks == sorted(ranks), "what comes again goes first, and what is new last"

    def check_places(self, waiting: dict[tuple[str, str], list[Letter]]) -> None:
        queued = chain.from_iterable(waiting.values())
        placed: list[Entry | Letter] = [*self.lent.values(), *self.crowded, *queued]
        # The publisher was told of these already, for the sake of another group.
        for entry in [entry for entry in self.open.values() if entry.frame in self.told]:
            if self.is_nowhere(entry):
                self.give_up(entry)
        assert sorted((each.frame, each.group) for each in placed) == sorted(self.open)

    def check_lost(self, waiting: dict[tuple[str, str], list[Letter]]) -> None:
        for key in {entry.key for entry in self.lost}:
            sent = [entry for entry in self.sent if entry.key == key]
            queue = [self.open[letter.frame, letter.group] for letter in waiting.get(key, ())]
            again = [entry for entry in self.lost if entry in sent or entry in queue]
            assert [*sent, *queue][: len(again)] == again, "what comes again comes first, in the old order"

    def check_peer(self, peer: Peer) -> None:
        member = peer.member
        if member.queue_group is None:
            assert member.in_flight == peer.out
            assert member._pending == peer.due
            assert member.closed or member.dropped == peer.dropped
        else:
            assert set(member.lent) == {number for number, entry in self.lent.items() if entry.at is peer}
            assert member.in_flight == len(member.lent)
            assert all(
                letter.deliveries == self.lent[number].handed for number, letter in member.lent.items()
            )
        # A send that publishes may come back to the member that it is on its way to.
        assert member.closed or member.in_flight <= member.credit + peer.nested


@pytest.mark.timeout(3600)
def test_every_letter_is_in_one_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "cosmo_core.contracts.synapse")
    examples = int(os.environ.get("COSMO_EXAMPLES", "200"))
    patient = settings(deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(RouterMachine, settings=settings(patient, max_examples=examples))
