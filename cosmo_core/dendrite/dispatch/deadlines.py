"""Every deadline of a Dendrite behind one timer."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final, Self

RESOLUTION_S: Final = 0.01
"""Deadlines are kept to this grain: never early, at most this much late."""


class Deadlines:
    """Ends what is not done in time.

    A timer of the event loop costs several times what waiting for an answer does, and nearly every one of
    them is cancelled. So one timer serves all deadlines: it is set for the earliest, and looks through those
    that are left when it goes off.

    Attributes:
        discard: Calls off a deadline, if it has not expired.
        loop: The event loop, once a deadline was set on it.
    """

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        # The set's own: a method around it would cost as much again, for every TASK.
        self.discard = self._open.discard
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf

    def within(self, timeout_s: float | None) -> Deadline:
        """Return a context that raises TimeoutError when it takes longer than ``timeout_s`` seconds."""
        return Deadline(self, timeout_s)

    def add(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        """Let ``deadline`` expire when it is due, unless it is called off."""
        self._open.add(deadline)
        if deadline.due < self._armed_for:
            self._arm(deadline.due, loop)

    def _arm(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        # Later by the grain, so that those which are due soon after come in one go.
        self._timer = loop.call_at(due + RESOLUTION_S, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._armed_for = math.inf
        now = loop.time()
        for deadline in [deadline for deadline in self._open if deadline.due <= now]:
            self._open.discard(deadline)
            deadline.expire()
        if self._open:
            self._arm(min(deadline.due for deadline in self._open), loop)

    def close(self) -> None:
        """Give up the timer, unless somebody is still to be interrupted in time."""
        if self._timer is not None and not self._open:
            self._timer.cancel()
            self._timer = None
            self._armed_for = math.inf


class Deadline:
    """A context that must be left in time: `asyncio.timeout`, on the shared timer.

    Attributes:
        due: When it expires, on the event loop's clock.
        expired: Whether the time was up before the context was left.
    """

    __slots__ = ("_cancelling", "_deadlines", "_task", "_timeout_s", "due", "expired")

    def __init__(self, deadlines: Deadlines, timeout_s: float | None) -> None:
        self.expired = False
        self.due = math.inf
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> Self:
        if self._timeout_s is None:
            return self
        loop = self._deadlines.loop
        if loop is None:
            # Asked for once: up to Python 3.11 every question is a system call.
            loop = self._deadlines.loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is not None:
            self._task = task
            self._cancelling = task.cancelling()
            self.due = loop.time() + self._timeout_s
            self._deadlines.add(self, loop)
        return self

    def expire(self) -> None:
        """Interrupt whoever is inside."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if not self.expired:
            self._deadlines.discard(self)
        # Only if nobody else cancelled the task too: that would have to be obeyed.
        elif self._task.uncancel() <= self._cancelling and type is asyncio.CancelledError:
            raise TimeoutError from error
