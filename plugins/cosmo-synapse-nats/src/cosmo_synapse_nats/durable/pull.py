"""Asking the server for frames: as many as there is room for, and never more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from nats import errors

from cosmo_core.errors import SynapseError

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as Interest

    from cosmo_synapse_nats.connection import Connection
    from cosmo_synapse_nats.durable.outgoing import Outgoing

EXPIRES_S: Final = 30.0
"""Seconds for which one request holds."""

AGAIN_S: Final = 0.5
"""Seconds until a request that the server refused is made again."""


class Pull:
    """One request at a time for the frames of one consumer.

    nats-py's own `fetch` makes two requests where one does, and a task and a timer for every frame.

    Args:
        connection: The connection to ask on.
        outgoing: Sends the requests.
        stream: The stream.
        consumer: The consumer.
        room: Tells how many frames may come.
        take: Takes each frame that comes.
        repair: Makes the consumer again, should it be gone.
    """

    def __init__(
        self,
        connection: Connection,
        outgoing: Outgoing,
        stream: str,
        consumer: str,
        *,
        room: Callable[[], int],
        take: Callable[[Msg], None],
        repair: Callable[[], Awaitable[object]],
    ) -> None:
        self._connection = connection
        self._outgoing = outgoing
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._room = room
        self._take = take
        self._repair = repair
        self._interest: Interest | None = None
        self._inbox = ""
        self._request = 0
        self._owed = 0
        self._lapse: asyncio.TimerHandle | None = None
        self._repairing: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Listen, and ask for frames."""
        self._inbox = self._connection.client.new_inbox()
        # Answers to what was asked before are not for this inbox, so that what is owed is always known.
        self._owed = 0
        self._interest = await self._connection.listen(f"{self._inbox}.*", self._arrived)
        self.ask()

    def ask(self) -> None:
        """Ask for as many frames as there is room for, unless some are owed still."""
        if self._owed or self._closed or (room := self._room()) < 1:
            return
        self._request += 1
        self._owed = room
        request = {"batch": room, "expires": int(EXPIRES_S * 1e9)}
        self._outgoing.send(self._subject, json.dumps(request).encode(), f"{self._inbox}.{self._request}")
        if self._lapse is not None:
            self._lapse.cancel()
        # The server ends a request by itself; this is for the one that never reached it.
        self._lapse = asyncio.get_running_loop().call_later(EXPIRES_S + 5, self._forget, self._request)

    def reconnected(self) -> None:
        """Start afresh: what was asked for on the old connection does not come any more."""
        if not self._closed:
            self._start_over(self._reopen())

    async def close(self) -> None:
        """Ask no more. What the server had sent by then is taken still."""
        self._closed = True
        if self._lapse is not None:
            self._lapse.cancel()
        if self._repairing is not None:
            self._repairing.cancel()
            await asyncio.wait({self._repairing})
        if self._interest is not None:
            interest, self._interest = self._interest, None
            await self._connection.end(interest)

    def _forget(self, request: int) -> None:
        if request == self._request:
            self._owed = 0
            self.ask()

    async def _arrived(self, msg: Msg) -> None:
        if not msg.reply:
            self._on_status(msg)
            return
        self._owed = max(0, self._owed - 1)
        self._take(msg)
        if not self._owed:
            self.ask()

    def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == "100" or msg.subject != f"{self._inbox}.{self._request}":
            return
        self._owed = 0
        if status == "408":
            self.ask()
            return
        self._connection.troubles.note("the server gives no frames", f"{status} {text}")
        self._start_over(self._again())

    def _start_over(self, work: Awaitable[None]) -> None:
        if self._repairing is not None:
            self._repairing.cancel()
        self._repairing = asyncio.ensure_future(_run(work))

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            try:
                await self._repair()
            except SynapseError as error:
                self._connection.troubles.note("a queue group has lost its place", error)
                continue
            self.ask()
            return

    async def _reopen(self) -> None:
        old, self._interest = self._interest, None
        try:
            if old is not None:
                await self._connection.end(old)
            await self.open()
        except errors.Error as error:
            self._connection.troubles.note("frames could not be asked for after a reconnection", error)
            self._owed = 0


async def _run(work: Awaitable[None]) -> None:
    await work
