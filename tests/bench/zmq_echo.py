"""An echo over raw pyzmq: DEALER to ROUTER, each socket read by one callback that drains it.

As a script it is the ROUTER: it binds the given URL, prints the endpoint, and echoes until it is terminated.
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
    """Calls ``handle`` with each message that arrives on a socket."""

    def __init__(self, socket: zmq.Socket[bytes], handle: Callable[[list[bytes]], object]) -> None:
        self._socket = socket
        self._handle = handle
        self._drain_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(socket.fileno(), self.drain)

    def drain(self) -> None:
        """Read all messages: the descriptor does not report them again."""
        self._drain_scheduled = False
        receive, handle = self._socket.recv_multipart, self._handle
        with suppress(zmq.Again):
            while True:
                handle(receive(zmq.NOBLOCK))

    def send(self, *parts: bytes) -> None:
        """Send a message.

        The descriptor does not report messages that arrive meanwhile, so drain once per loop turn.
        """
        self._socket.send_multipart(parts)
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self._loop.call_soon(self.drain)

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(linger=0)


class Caller:
    """The DEALER's side. Echoes arrive in the order of the messages, so they need no ids."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(socket, self._handle)

    def _handle(self, parts: list[bytes]) -> None:
        self._waiting.popleft().set_result(None)

    async def round_trips(self, count: int) -> None:
        """Send ``count`` messages, each after the echo of the previous one."""
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
    """Connect to a server with `echo`."""
    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.connect(url)
        calling = Caller(socket)
        try:
            yield calling
        finally:
            calling.close()


async def echo(url: str) -> None:
    """Echo all messages that arrive on ``url``."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(url)
        # The echo is sent while reading, so messages that arrive meanwhile are read next.
        Reader(socket, socket.send_multipart)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(echo(sys.argv[1]))
