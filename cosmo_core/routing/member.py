"""One subscription as routing sees it: how much it may have in work, and what waits for it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import UndeliveredHandler

logger = logging.getLogger("cosmo_core.contracts.synapse")


class Letter:
    """A frame for a queue group, on its way to the member that will be done with it.

    Attributes:
        number: Tells it from every other letter of its `Router`.
        subject: Where it was published.
        frame: What it carries.
        group: The queue group.
        tell: Who is told when no member will be done with it; None if nobody is.
        since: When it was published, on the clock of whoever calls the Router.
        deliveries: How many times it was given to a member.
    """

    __slots__ = ("deliveries", "frame", "group", "number", "since", "subject", "tell")

    def __init__(
        self,
        number: int,
        subject: str,
        frame: bytes,
        group: str,
        tell: UndeliveredHandler | None,
        since: float,
    ) -> None:
        self.number = number
        self.subject = subject
        self.frame = frame
        self.group = group
        self.tell = tell
        self.since = since
        self.deliveries = 0


Send = Callable[[bytes, int, float], bool]
"""Hands a frame to its receiver, with the number of its letter, 0 if it has none, and since when it is on its
way. Tells whether the receiver is done with it. It never raises, nor settles the letter before it returns."""


class Member:
    """A subscription: up to ``credit`` frames in work, then up to ``max_pending`` that wait.

    Beyond those the oldest is given up, and counted. What waits for a queue group waits for the group, in its
    `Router`, and not for one member.

    Args:
        pattern: What it subscribes to.
        send: Hands a frame over.
        queue_group: The queue group it is a member of, if any.
        credit: How many frames may be in work at once.
        max_pending: How many more may wait.

    Attributes:
        in_flight: How many frames were handed over and are not done with.
        lent: The letters among them, by their numbers.
        dropped: How many frames were given up.
        closed: Whether nothing more is to be sent.
    """

    __slots__ = (
        "_max_pending",
        "_pending",
        "closed",
        "credit",
        "dropped",
        "in_flight",
        "lent",
        "pattern",
        "queue_group",
        "send",
    )

    def __init__(
        self, pattern: str, send: Send, *, queue_group: str | None = None, credit: int, max_pending: int
    ) -> None:
        self.pattern = pattern
        self.send = send
        self.queue_group = queue_group
        self.credit = credit
        self.in_flight = 0
        self.lent: dict[int, Letter] = {}
        self.dropped = 0
        self.closed = False
        self._max_pending = max_pending
        self._pending: deque[bytes] = deque()

    @property
    def has_room(self) -> bool:
        """Whether one more frame may be handed over."""
        return self.in_flight < self.credit

    def offer(self, frame: bytes) -> None:
        """Hand a frame over, now or when there is room."""
        if self.in_flight >= self.credit:
            self.keep(frame)
        elif not self.send(frame, 0, 0.0):
            self.in_flight += 1

    def keep(self, frame: bytes) -> None:
        """Have a frame wait for room; beyond ``max_pending`` the oldest is given up."""
        if self.closed:
            return
        self._pending.append(frame)
        if len(self._pending) > self._max_pending:
            self._pending.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("the handler of %s is too slow; its oldest frames are dropped", self.pattern)

    def lend(self, letter: Letter) -> None:
        """Hand a letter over, to be settled or lost."""
        if not self.send(letter.frame, letter.number, letter.since):
            self.hold(letter)

    def hold(self, letter: Letter) -> None:
        """Take note that a letter was handed over, and is not done with."""
        letter.deliveries += 1
        self.lent[letter.number] = letter
        self.in_flight += 1

    def take_back(self, number: int) -> Letter | None:
        """Return a letter that is lent no more; None if it was not."""
        letter = self.lent.pop(number, None)
        if letter is not None:
            self.in_flight -= 1
        return letter

    def finish(self, count: int = 1) -> None:
        """Take note that frames which are no letters are done with, and hand over what waits."""
        self.in_flight -= count
        while self._pending and self.has_room:
            if not self.send(self._pending.popleft(), 0, 0.0):
                self.in_flight += 1

    def close(self) -> None:
        """Send nothing more. What is in work goes on."""
        self.closed = True
        self.credit = 0
        self._pending.clear()
