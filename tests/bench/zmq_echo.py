"""An echo over raw pyzmq: DEALER to ROUTER, each socket read with one callback that drains it.

As a script it is the ROUTER: it binds the URL that it is given, prints where, and echoes until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import zmq

BODY: Final = b"." * 300


class Reader:
    """Calls ``take`` with every message that comes to a socket."""

    def __init__(self, socket: zmq.Socket[bytes], take: Callable[[list[bytes]], object]) -> None:
        self._socket = socket
        self._take = take
        self._again = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(socket.fileno(), self.drain)

    def drain(self) -> None:
        """Take all that is there: the descriptor does not report it again."""
        self._again = False
        receive, take = self._socket.recv_multipart, self._take
        with suppress(zmq.Again):
            while True:
                take(receive(zmq.NOBLOCK))

    def send(self, *parts: bytes) -> None:
        """Send a message. What came meanwhile is not reported by the descriptor: look for it, once a turn."""
        self._socket.send_multipart(parts)
        if not self._again:
            self._again = True
            self._loop.call_soon(self.drain)

    def close(self) -> None:
        """Read no more, and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(linger=0)


class Caller:
    """The DEALER's side. Echoes come in the order of the messages: nothing need tell them apart."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(socket, self._take)

    def _take(self, parts: list[bytes]) -> None:
        self._waiting.popleft().set_result(None)

    async def round_trips(self, count: int) -> None:
        """Send ``count`` messages, each when the echo of the one before has come."""
        for _ in range(count):
            echoed = self._loop.create_future()
            self._waiting.append(echoed)
            self._reader.send(BODY)
            await echoed

    def close(self) -> None:
        """Close the socket."""
        self._reader.close()


@asynccontextmanager
async def caller(url: str) -> AsyncIterator[Caller]:
    """Connect to an echo."""
    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.connect(url)
        calling = Caller(socket)
        try:
            yield calling
        finally:
            calling.close()


async def echo(url: str) -> None:
    """Echo whatever comes to ``url``."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(url)
        # Sent while reading: whatever comes meanwhile is read next.
        Reader(socket, socket.send_multipart)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(echo(sys.argv[1]))
