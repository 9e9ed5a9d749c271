"""Where this program is told what became of its frames: one subscription, and a number for each frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast, get_args

from nats.aio.msg import Msg

from cosmo_core.contracts.delivery import Undelivered
from cosmo_synapse_nats.window import Window

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import UndeliveredHandler
    from cosmo_synapse_nats.connection import Connection

_REASONS: Final[frozenset[bytes]] = frozenset(reason.encode() for reason in get_args(Undelivered))


class Inbox:
    """Answers to numbered frames.

    Args:
        connection: The connection they come on.

    Attributes:
        window: The frames that somebody wants to be told of.
    """

    def __init__(self, connection: Connection) -> None:
        self.window = Window()
        self._connection = connection
        self._prefix = connection.client.new_inbox() + "."
        self._answers: dict[int, asyncio.Future[Msg | None]] = {}

    async def open(self) -> None:
        """Listen to the answers."""
        await self._connection.listen(self._prefix + "*", self._arrived)

    def expect(self, frame: bytes, tell: UndeliveredHandler) -> str:
        """Return where to answer if ``frame`` is not delivered."""
        return f"{self._prefix}{self.window.add(frame, tell)}"

    def expects(self, address: str) -> bool:
        """Tell whether nothing was said of the frame with this address."""
        return self._number(address) in self.window

    def forget(self, address: str) -> None:
        """Expect no answer there; nothing happens if it is no address."""
        self.window.forget(self._number(address))

    def tell(self, address: str, why: Undelivered) -> None:
        """Tell who wants to be told that the frame with this address was not delivered."""
        self.window.tell(self._number(address), why)

    async def ask(self, subject: str, frame: bytes, address: str, headers: dict[str, str]) -> Msg | None:
        """Publish, and return the answer; None if it may have been lost with the connection."""
        number = self._number(address)
        answer: asyncio.Future[Msg | None] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._connection.client.publish(subject, frame, address, headers)
            return await answer
        finally:
            del self._answers[number]

    def reconnected(self) -> None:
        """Take note that answers may have been lost."""
        for future in list(self._answers.values()):
            if not future.done():
                future.set_result(None)

    def _number(self, address: str) -> int:
        number = address.removeprefix(self._prefix)
        return int(number) if number.isdigit() else 0

    async def _arrived(self, msg: Msg) -> None:
        number = self._number(msg.subject)
        if msg.data in _REASONS:
            self.window.tell(number, cast("Undelivered", msg.data.decode()))
        elif (answer := self._answers.get(number)) is not None and not answer.done():
            answer.set_result(msg)
        elif msg.headers is not None and msg.headers.get("Status") == "503":
            self.window.tell(number, "no_consumers")
