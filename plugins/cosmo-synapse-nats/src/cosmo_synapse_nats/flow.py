"""Back-pressure: a publisher waits until the members of a queue group have taken what it sent before.

NATS slows no publisher down. So a publisher counts what it sends on a subject. After each window it asks the
members of the queue groups there, with a probe: an empty message on a subject of its own, which the server
delivers after the frames. A member answers ``wait`` if frames that it got before the probe still wait for its
handler, and ``go`` when none does. Meanwhile the publisher sends one more window, and then it waits. So a
publisher is at most two windows ahead, and a fast handler never makes it wait. Without members, the server
says so.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from itertools import count
from typing import Final

from nats.aio.msg import Msg

from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.options import Servers

WINDOW: Final = 256
"""Units that a publisher sends on a subject between two probes. A frame is one, and one more per 4 KiB."""

SILENT_S: Final = 2.0
"""Seconds after which a waiting publisher sends its probe again, and takes silent members for lost."""

MAX_SUBJECTS: Final = 16_384
"""Subjects for which frames are counted. Beyond that, the count of the oldest one begins again."""

MAX_HELD: Final = 16_384
"""Frames that a member of a queue group holds for publishers that wait: two windows of 32 of them."""

GO: Final = b"go"
WAIT: Final = b"wait"

_UNIT_BITS: Final = 12
# Shared: each frozenset() takes 216 bytes.
_EMPTY: Final[frozenset[bytes]] = frozenset()


def probed(servers: Servers, subject: str) -> str:
    """Return the subject, or pattern, of the probes for a subject."""
    return f"{servers.inbox_prefix}.flow.{subject}"


class _Window:
    """What one publisher has sent on one subject, and the answers to its newest probe."""

    __slots__ = (
        "changed",
        "heard",
        "is_open",
        "members",
        "missing",
        "number",
        "order",
        "quiet",
        "spent",
        "waiting",
    )

    def __init__(self) -> None:
        self.spent = 0
        # Of the newest probe; 0 before the first.
        self.number = 0
        # Whether one more window may be sent.
        self.is_open = True
        # Whether no answer ever came: perhaps there is only a program that listens to everything.
        self.quiet = False
        # All members that answered, those that have not taken the frames, and those heard of since the probe.
        self.members = self.missing = self.heard = _EMPTY
        # Publishers that wait, in order.
        self.waiting = 0
        self.order: asyncio.Lock | None = None
        self.changed: asyncio.Future[None] | None = None


class FlowControl:
    """Makes publishers wait for the members of queue groups.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = connection.client.new_inbox() + "."
        self._numbers = count(1)
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._probes: dict[str, _Window] = {}
        self._closed = False

    async def open(self) -> None:
        """Subscribe to the answers."""
        await self._connection.subscribe(self._prefix + "*", self._on_answer)

    def close(self) -> None:
        """Let every publisher go on, to find that the Synapse is closed."""
        self._closed = True
        for window in self._windows.values():
            _wake(window)

    def admit(self, subject: str, size: int) -> Awaitable[None] | None:
        """Count a frame of ``size`` bytes; return what to await before it may be sent, if anything."""
        window = self._windows.get(subject)
        if window is None:
            window = self._add(subject)
        if window.spent < WINDOW and not window.waiting:
            window.spent += 1 + (size >> _UNIT_BITS)
            return None
        return self._take_turn(subject, window, size)

    def _add(self, subject: str) -> _Window:
        window = self._windows[subject] = _Window()
        if len(self._windows) > MAX_SUBJECTS:
            _, oldest = self._windows.popitem(last=False)
            self._probes.pop(f"{self._prefix}{oldest.number}", None)
            oldest.is_open = True
            _wake(oldest)
        return window

    async def _take_turn(self, subject: str, window: _Window, size: int) -> None:
        window.waiting += 1
        if window.order is None:
            window.order = asyncio.Lock()
        try:
            async with window.order:
                if window.spent >= WINDOW:
                    if not window.is_open:
                        await self._opened(subject, window)
                    await self._begin(subject, window)
                window.spent += 1 + (size >> _UNIT_BITS)
        finally:
            window.waiting -= 1

    async def _begin(self, subject: str, window: _Window) -> None:
        """Begin the next window: ask the members about what was sent before."""
        self._probes.pop(f"{self._prefix}{window.number}", None)
        window.number = next(self._numbers)
        self._probes[f"{self._prefix}{window.number}"] = window
        window.spent = 0
        window.missing = window.members
        window.is_open = window.quiet
        await self._ask(subject, window)

    async def _ask(self, subject: str, window: _Window) -> None:
        window.heard = _EMPTY
        client, subject = self._connection.client, probed(self._connection.servers, subject)
        if not client.send(subject, b"", f"{self._prefix}{window.number}"):
            await client.publish(subject, b"", f"{self._prefix}{window.number}")

    async def _opened(self, subject: str, window: _Window) -> None:
        """Wait until the members have taken the last window but one."""
        client = self._connection.client
        while not (window.is_open or self._closed or client.is_closed or self._connection.failed.done()):
            if not (client.is_connected or window.members):
                # It may be a subject without members. The buffer of unsent data is bounded.
                return
            window.changed = self._connection.loop.create_future()
            try:
                async with asyncio.timeout(SILENT_S):
                    await window.changed
            except TimeoutError:
                if client.is_connected:
                    window.quiet = not window.members
                    _forget_silent(window)
                if window.missing:
                    await self._ask(subject, window)
                else:
                    return

    def _on_answer(self, msg: Msg) -> None:
        window = self._probes.get(msg.subject)
        if window is None:
            return
        kind, _, name = msg.data.partition(b" ")
        member = frozenset((name,))
        if kind == GO:
            window.members |= member
            window.missing -= member
        elif kind == WAIT:
            window.members |= member
            window.missing |= member
        elif msg.headers is not None and msg.headers.get("Status") == "503":
            window.members = window.missing = _EMPTY
        else:
            return
        window.quiet = False
        window.heard |= member
        window.is_open = not window.missing
        if window.is_open:
            _wake(window)


def _wake(window: _Window) -> None:
    if window.changed is not None and not window.changed.done():
        window.changed.set_result(None)


def _forget_silent(window: _Window) -> None:
    """Wait no more for members that did not answer the newest probe.

    If none did, they stay known: perhaps the event loop of the only one is blocked.
    """
    silent = window.missing - window.heard
    window.missing -= silent
    if window.heard:
        window.members -= silent
