"""Replies about published frames: an inbox with one subscription, and a number for each frame."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, cast, get_args

from nats.aio.msg import Msg

from cosmo_core.contracts.delivery import Undelivered, UndeliveredHandler
from cosmo_synapse_nats.connection import Connection

MAX_FRAMES: Final = 32_768
"""Frames that may be reported as undelivered: more than a program sends until a busy member has answered."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes that these frames may have together."""

_CAUSES: Final[frozenset[bytes]] = frozenset(cause.encode() for cause in get_args(Undelivered))


class UndeliveredWindow:
    """The newest frames that may still be reported as undelivered, with their callbacks.

    A report comes soon after the frame was published, or never. So a new frame replaces the oldest one, whose
    callback is not called any more.

    Args:
        max_frames: How many frames are kept.
        max_bytes: How many bytes they may have together.
    """

    def __init__(self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._bytes = 0
        self._last = 0
        # Ordered: the oldest one of a dict is found behind the places of all that were removed before it.
        self._frames: OrderedDict[int, tuple[bytes, UndeliveredHandler]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, number: int) -> bool:
        return number in self._frames

    def add(self, frame: bytes, undelivered: UndeliveredHandler) -> int:
        """Keep ``frame``; return its number."""
        self._last = number = self._last + 1
        self._frames[number] = (frame, undelivered)
        self._bytes += len(frame)
        while len(self._frames) > self._max_frames or self._bytes > self._max_bytes:
            _, (oldest, _) = self._frames.popitem(last=False)
            self._bytes -= len(oldest)
        return number

    def next_number(self) -> int:
        """Return a new number."""
        self._last += 1
        return self._last

    def discard(self, number: int) -> None:
        """Remove a frame; do nothing if it is not kept."""
        kept = self._frames.pop(number, None)
        if kept is not None:
            self._bytes -= len(kept[0])

    def report(self, number: int, cause: Undelivered) -> None:
        """Remove a frame and call its callback; do nothing if it is not kept."""
        kept = self._frames.get(number)
        if kept is not None:
            self.discard(number)
            frame, undelivered = kept
            undelivered(frame, cause)


class Inbox:
    """Receives replies to numbered frames. A frame's reply address contains its number.

    Args:
        connection: The connection.

    Attributes:
        window: The frames that may still be reported as undelivered.
    """

    def __init__(self, connection: Connection) -> None:
        self.window = UndeliveredWindow()
        self._connection = connection
        self._prefix = connection.client.new_inbox() + "."
        self._answers: dict[int, asyncio.Future[Msg | None]] = {}

    async def open(self) -> None:
        """Subscribe to the replies."""
        await self._connection.subscribe(self._prefix + "*", self._on_reply)

    def register(self, frame: bytes, undelivered: UndeliveredHandler) -> str:
        """Keep ``frame`` in the window; return its reply address."""
        return f"{self._prefix}{self.window.add(frame, undelivered)}"

    def is_registered(self, address: str) -> bool:
        """Return whether the frame with this address is kept and was not reported as undelivered."""
        return self._number(address) in self.window

    def discard(self, address: str) -> None:
        """Remove the frame with this address; do nothing if the address is unknown."""
        self.window.discard(self._number(address))

    def report(self, address: str, cause: Undelivered) -> None:
        """Report that the frame with this address was not delivered."""
        self.window.report(self._number(address), cause)

    def address(self) -> str:
        """Return a new reply address for a frame that is not kept."""
        return f"{self._prefix}{self.window.next_number()}"

    async def request(
        self, subject: str, frame: bytes, address: str, headers: dict[str, str], wait_s: float
    ) -> Msg | None:
        """Publish, and return the answer; None if there is none in time, or the connection broke."""
        number = self._number(address)
        client, loop = self._connection.client, self._connection.loop
        answer: asyncio.Future[Msg | None] = loop.create_future()
        self._answers[number] = answer
        timer: asyncio.TimerHandle | None = None
        try:
            if not client.send(subject, frame, address, headers):
                await client.publish(subject, frame, address, headers)
            timer = loop.call_later(wait_s, _give_up, answer)
            return await answer
        finally:
            if timer is not None:
                timer.cancel()
            del self._answers[number]

    def on_reconnected(self) -> None:
        """End all requests with None: their answers may be lost."""
        for future in list(self._answers.values()):
            _give_up(future)

    def _number(self, address: str) -> int:
        number = address.removeprefix(self._prefix)
        return int(number) if number.isdigit() else 0

    def _on_reply(self, msg: Msg) -> None:
        number = self._number(msg.subject)
        if msg.data in _CAUSES:
            self.window.report(number, cast("Undelivered", msg.data.decode()))
        elif (answer := self._answers.get(number)) is not None and not answer.done():
            answer.set_result(msg)
        elif msg.headers is not None and msg.headers.get("Status") == "503":
            self.window.report(number, "no_consumers")


def _give_up(answer: asyncio.Future[Msg | None]) -> None:
    if not answer.done():
        answer.set_result(None)
