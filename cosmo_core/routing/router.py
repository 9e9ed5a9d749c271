"""What becomes of a frame: handed over, waiting, given to another, told of, or a dead letter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from cosmo_core.contracts.delivery import DeadLetter
from cosmo_core.routing.member import Letter, Member
from cosmo_core.routing.table import QueueGroup, SubjectTable

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import Undelivered, UndeliveredHandler


class Router:
    """Routes frames to `Member` objects.

    A frame goes to every member outside of queue groups, and to one member of every group that has room, in
    turn. Where none has, it waits for the group, unless somebody is to be told. What a member is lost with,
    or fails on, goes to another one, up to ``max_deliveries`` in all; then it is a dead letter.

    Args:
        max_waiting: How many letters of one subject may wait for a queue group.
        max_deliveries: How many times a letter is handed over. With 1, one that fails is done with.
        max_dead: How many dead letters are kept, the newest.
        room: Called with a letter that waits no more.

    Attributes:
        dead: The dead letters, oldest first.
        unplaced: How many letters were given up and nobody was to be told.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        max_deliveries: int = 1,
        max_dead: int = 1000,
        room: Callable[[Letter], None] = lambda letter: None,
    ) -> None:
        self.dead: deque[DeadLetter] = deque(maxlen=max_dead)
        self.unplaced = 0
        self._table: SubjectTable[Member] = SubjectTable()
        # Looked up before the table is asked: that is a call, for every frame.
        self._known = self._table.known
        self._max_waiting = max_waiting
        self._max_deliveries = max_deliveries
        self._room = room
        # By group and subject. Where something waits, no member has room for it.
        self._waiting: dict[tuple[str, str], deque[Letter]] = {}
        self._numbers = count(1)

    # --- coming and going ---------------------------------------------------------------------------

    def add(self, member: Member) -> None:
        """Route to ``member`` from now on.

        Raises:
            SynapseError: Its pattern or its queue group is malformed.
        """
        self._table.add(member.pattern, member, member.queue_group)
        self._refill(member)

    def remove(self, member: Member) -> None:
        """Route to ``member`` no more. What it has in work it may still finish."""
        member.close()
        self._table.remove(member.pattern, member)
        for key in [key for key in self._waiting if key[0] == member.queue_group]:
            self._empty(*key)

    def lose(self, member: Member, reason: str) -> None:
        """Take ``member`` out, as it is gone for good, and give what it has in work to others."""
        self.remove(member)
        letters = list(member.lent.values())
        for letter in letters:
            member.take_back(letter.number)
        self._again(letters, "lost", reason)

    # --- a frame comes ------------------------------------------------------------------------------

    def publish(
        self, subject: str, frame: bytes, tell: UndeliveredHandler | None = None, now: float = 0.0
    ) -> list[Letter] | None:
        """Route a frame; return the letters for which there is no room, if any.

        Those are to be placed again with `place`, when there is, or made to `wait`. There are none where
        ``tell`` is given: it is told instead.

        Raises:
            SynapseError: The subject is malformed.
        """
        route = self._known.get(subject) or self._table.route(subject)
        targets, groups = route.targets, route.groups
        for member in targets:
            # `Member.offer`, without the call: every answer comes this way.
            if member.in_flight >= member.credit:
                member.keep(frame)
            elif not member.send(frame, 0, 0.0):
                member.in_flight += 1
        if tell is not None and not groups and not targets:
            tell(frame, "no_consumers")
            return None
        crowded = None
        for group in groups:
            number = next(self._numbers)
            member = next(group.turns)
            free = member if member.in_flight < member.credit else _with_room(group)
            # Most handlers are done at once, and then there is nothing to keep.
            if free is not None and free.send(frame, number, now):
                continue
            if tell is not None and len(groups) > 1:
                tell = _once(tell)
            letter = Letter(number, subject, frame, group.name, tell, now)
            if free is not None:
                free.hold(letter)
            elif not self.place(letter):
                crowded = [*(crowded or ()), letter]
        return crowded

    def reaches(self, subject: str) -> bool:
        """Tell whether anybody gets what is published on ``subject``.

        Raises:
            SynapseError: The subject is malformed.
        """
        route = self._table.route(subject)
        return bool(route.targets or route.groups)

    def place(self, letter: Letter) -> bool:
        """Hand a letter to a member with room, or let it wait; tell whether there was room for that."""
        group = self._group(letter.group, letter.subject)
        if group is None:
            self._give_up(letter, "no_consumers")
        elif (member := _with_room(group)) is not None:
            member.lend(letter)
        else:
            return self._queue(letter)
        return True

    def wait(self, letter: Letter) -> None:
        """Let a letter wait where there is no room for it: whoever calls bounds how many there are."""
        self._waiting.setdefault((letter.group, letter.subject), deque()).append(letter)

    def waiting(self, letter: Letter) -> int:
        """Return how many letters wait where this one does, or would."""
        return len(self._waiting.get((letter.group, letter.subject), ()))

    def _queue(self, letter: Letter) -> bool:
        if letter.tell is not None:
            # Whoever is to be told hears of it now: what waited here, nobody could give a sign of life for.
            letter.tell(letter.frame, "overloaded")
        elif self.waiting(letter) < self._max_waiting:
            self.wait(letter)
        else:
            return False
        return True

    def _group(self, name: str, subject: str) -> QueueGroup[Member] | None:
        return next((group for group in self._table.route(subject).groups if group.name == name), None)

    # --- a member is done ---------------------------------------------------------------------------

    def settle(self, member: Member, number: int) -> None:
        """Take note that a member is done with a letter, and hand it what waits."""
        if member.take_back(number) is not None and self._waiting:
            self._refill(member)

    def fail(self, member: Member, number: int, reason: str) -> None:
        """Take note that a member could not be done with a letter, and give it to the next."""
        letter = member.take_back(number)
        if letter is None:
            return
        if self._max_deliveries > 1:
            self._again([letter], "failed", reason)
        self._refill(member)

    def give_back(self, member: Member, number: int) -> None:
        """Give a letter that a member never looked at to another one."""
        letter = member.take_back(number)
        if letter is not None:
            letter.deliveries -= 1
            self._place_first([letter])
            self._refill(member)

    def _again(self, letters: list[Letter], why: Undelivered, reason: str) -> None:
        again = []
        for letter in letters:
            if letter.deliveries < self._max_deliveries:
                again.append(letter)
            elif self._max_deliveries == 1:
                self._give_up(letter, why)
            else:
                self.dead.append(
                    DeadLetter(
                        subject=letter.subject,
                        frame=letter.frame,
                        deliveries=letter.deliveries,
                        reason=reason,
                    )
                )
                self._give_up(letter, "failed")
        self._place_first(again)

    def _place_first(self, letters: list[Letter]) -> None:
        # All wait before the first is handed over, so that none overtakes another.
        for letter in reversed(letters):
            self._waiting.setdefault((letter.group, letter.subject), deque()).appendleft(letter)
        for key in dict.fromkeys((letter.group, letter.subject) for letter in letters):
            self._empty(*key)

    def _empty(self, name: str, subject: str) -> None:
        """Hand over what waits, as far as there is room; give it up if no member is left."""
        while (name, subject) in self._waiting:
            group = self._group(name, subject)
            member = None if group is None else _with_room(group)
            if group is None:
                letter = self._next(name, subject)
                self._give_up(letter, "lost" if letter.deliveries else "no_consumers")
            elif member is not None:
                self._hand_next(member, name, subject)
            else:
                return

    def _hand_next(self, member: Member, group: str, subject: str) -> None:
        letter = self._next(group, subject)
        member.lend(letter)
        self._room(letter)

    def _next(self, group: str, subject: str) -> Letter:
        waiting = self._waiting[group, subject]
        letter = waiting.popleft()
        if not waiting:
            del self._waiting[group, subject]
        return letter

    def _give_up(self, letter: Letter, why: Undelivered) -> None:
        if letter.tell is None:
            self.unplaced += 1
        else:
            letter.tell(letter.frame, why)
        self._room(letter)

    def _refill(self, member: Member) -> None:
        for group, subject in [key for key in self._waiting if key[0] == member.queue_group]:
            while member.has_room and (group, subject) in self._waiting:
                route = self._group(group, subject)
                if route is None or member not in route.members:
                    break
                self._hand_next(member, group, subject)


def _with_room(group: QueueGroup[Member]) -> Member | None:
    """Return the member whose turn it is, or the next one that has room."""
    for _ in group.members:
        member = group.pick()
        if member.in_flight < member.credit:
            return member
    return None


def _once(tell: UndeliveredHandler) -> UndeliveredHandler:
    """Return what tells of a frame that is for several groups, but once."""
    told = False

    def tell_once(frame: bytes, why: Undelivered) -> None:
        nonlocal told
        if not told:
            told = True
            tell(frame, why)

    return tell_once
