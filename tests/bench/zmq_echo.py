"""Round trips and streams over raw pyzmq, each socket read by one callback that drains it.

Without a hub, a DEALER calls a ROUTER. With a hub, both sides are DEALERs, and a ROUTER passes their messages
on. As a script it is one of three programs, which runs until it is terminated: ``echo URL`` echoes on a
ROUTER, ``work URL`` echoes and streams as the DEALER `WORKER`, and ``hub URL`` is the hub.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import zmq

BODY: Final = b"." * 345
"""As many bytes as the frames of a TASK and of its answer have, on average."""

DELTA: Final = b"." * 284
"""As many bytes as the frame of a THOUGHT_DELTA has."""

WORKER: Final = b"worker"
CALLER: Final = b"caller"


class Reader:
    """Calls ``handle`` with each message that arrives on a socket."""

    def __init__(self, socket: zmq.Socket[bytes], handle: Callable[[list[bytes]], object]) -> None:
        self._socket = socket
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(socket.fileno(), self.drain)
        # The descriptor reports messages only once the socket was found to be empty.
        self._drain_scheduled = True
        self._loop.call_soon(self.drain)

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
    """The DEALER's side. Echoes arrive in the order of the messages, so they need no ids.

    Args:
        socket: The socket.
        address: The frames before the body that a hub needs to find the worker.
    """

    def __init__(self, socket: zmq.Socket[bytes], *address: bytes) -> None:
        self._address = address
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._deltas: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(socket, self._handle)

    def _handle(self, parts: list[bytes]) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._deltas.put_nowait(parts[-1])

    async def round_trips(self, count: int) -> None:
        """Send ``count`` messages, each after the echo of the previous one."""
        for _ in range(count):
            echoed = self._loop.create_future()
            self._waiting.append(echoed)
            self._reader.send(*self._address, BODY)
            await echoed

    async def deltas(self, count: int) -> None:
        """Ask for ``count`` messages, and take each from a queue."""
        self._reader.send(*self._address, b"%d" % count)
        for _ in range(count):
            await self._deltas.get()

    def close(self) -> None:
        """Close the socket."""
        self._reader.close()


class Worker:
    """Echoes on a DEALER, and sends as many messages as a short body says."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._reader = Reader(socket, self._handle)
        self._streams: set[asyncio.Task[None]] = set()

    def _handle(self, parts: list[bytes]) -> None:
        sender, body = parts
        if len(body) == len(BODY):
            self._reader.send(sender, body)
        else:
            task = asyncio.create_task(self._stream(sender, int(body)))
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)

    async def _stream(self, caller: bytes, count: int) -> None:
        async for delta in _generate(count):
            self._reader.send(caller, delta)


async def _generate(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield DELTA


def hub(socket: zmq.Socket[bytes]) -> Reader:
    """Pass messages on: the first frame that a peer sends is the identity of the receiver."""

    def forward(parts: list[bytes]) -> None:
        sender, receiver, body = parts
        socket.send_multipart((receiver, sender, body))

    return Reader(socket, forward)


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


@asynccontextmanager
async def caller_with_hub(url: str) -> AsyncIterator[Caller]:
    """Run a hub that listens at ``url`` in this process, and connect to it without the network."""
    inside = "inproc://hub"
    with zmq.Context() as context:
        router = _socket(context, zmq.ROUTER)
        router.bind(url)
        router.bind(inside)
        forwarding = hub(router)
        try:
            async with _caller_to_hub(context, inside) as calling:
                yield calling
        finally:
            forwarding.close()


@asynccontextmanager
async def caller_to_hub(url: str) -> AsyncIterator[Caller]:
    """Connect to a hub in another process."""
    with zmq.Context() as context:
        async with _caller_to_hub(context, url) as calling:
            yield calling


@asynccontextmanager
async def _caller_to_hub(context: zmq.Context[zmq.Socket[bytes]], url: str) -> AsyncIterator[Caller]:
    socket = _socket(context, zmq.DEALER, CALLER)
    socket.connect(url)
    calling = Caller(socket, WORKER)
    try:
        yield calling
    finally:
        calling.close()


def _socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, identity: bytes | None = None
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 0
    # A stream may be longer than the limits.
    socket.set_hwm(0)
    if identity is not None:
        socket.setsockopt(zmq.IDENTITY, identity)
    return socket


async def echo(url: str) -> None:
    """Echo all messages that arrive on ``url``."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(url)
        # The echo is sent while reading, so messages that arrive meanwhile are read next.
        Reader(socket, socket.send_multipart)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        await asyncio.Event().wait()


async def work(url: str) -> None:
    """Echo and stream as a peer of the hub at ``url``."""
    with zmq.Context() as context, _socket(context, zmq.DEALER, WORKER) as socket:
        socket.connect(url)
        # The hub knows this peer once it has sent its own message back.
        socket.send_multipart((WORKER, b""))
        await asyncio.to_thread(socket.recv_multipart)
        Worker(socket)
        print("ready", flush=True)
        await asyncio.Event().wait()


async def serve(url: str) -> None:
    """Run a hub at ``url``."""
    with zmq.Context() as context, _socket(context, zmq.ROUTER) as socket:
        socket.bind(url)
        hub(socket)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        await asyncio.Event().wait()


PROGRAMS: Final = {"echo": echo, "work": work, "hub": serve}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](sys.argv[2]))
