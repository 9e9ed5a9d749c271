"""Hostile clients of a ZeroMQ hub: what they cost in memory, and how much they delay an honest pair.

    python tests/soak/hostile_zmq.py --clients 1000 --seconds 10

For each way to attack, a new hub runs in a process of its own, and the clients run in another, with a low
priority: in reality they are other machines. An honest pair sends a frame to and fro all the time.

Here the clients take the processors from the pair, too, and so does everything else on the machine. So a
control pair does the same at the same time, through another hub that is not attacked: the machine delays it
as much, and the attack does not. A table shows for each way how far the memory of the attacked hub grew, and
the 99th percentile of the honest round trips before the attack, of the control pair during it, and of the
honest pair during it. What the attack added is the difference of the last two. The exit code is 1 if a limit
is exceeded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import socket
import statistics
import struct
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Self
from urllib.parse import urlsplit

import attrs
import zmq

from cosmo_synapse_zmq import Address, from_url, wire

MAX_GROWTH_MB: Final = 256.0
MAX_ADDED_MS: Final = 100.0
ANSWER_S: Final = 20.0
"""Seconds within which an honest answer comes in any case."""

PAUSE_S: Final = 0.005
MIB: Final = 1024 * 1024
NOBODY: Final = "hostile.without.consumers"


# --- the ways to attack -----------------------------------------------------------------------------


class Client:
    """A hostile client: a DEALER socket, and the number of its next message."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], url: str, number: int) -> None:
        self.number = number
        self.sent = 0
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # What the hub sends is never read.
        self._socket.setsockopt(zmq.RCVHWM, 10)
        self._socket.setsockopt(zmq.SNDHWM, 20)
        self._socket.connect(Address.parse(url).endpoint)

    def send(self, raw: bytes) -> bool:
        try:
            self._socket.send(raw, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def hello(self) -> None:
        """Begin a new session."""
        self.sent = 0
        self.send(wire.encode(wire.Hello(wire.VERSION, secrets.token_bytes(wire.SESSION_BYTES), 0)))

    def data(self, *commands: wire.PeerCommand, received: int = 0) -> None:
        if self.send(wire.encode(wire.PeerData(self.sent + 1, received, list(commands)))):
            self.sent += 1

    def drain(self) -> None:
        """Read what the hub sent, without a look at it."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._socket.recv(zmq.NOBLOCK)


Step = Callable[[Client, int], None]
"""One step of a client in round number `int`."""


def no_hello(client: Client, turn: int) -> None:
    client.send(
        wire.encode(wire.Datagram(NOBODY, bytes(MIB - 4096)) if turn % 8 == 0 else wire.Heartbeat(turn))
    )


def no_acknowledgements(client: Client, turn: int) -> None:
    subject = f"hostile.{client.number}"
    if turn % 500 == 0:
        client.hello()
        client.data(wire.Subscribe(1, subject, None, 1000))
    client.data(*4 * [wire.Publish(subject, bytes(16_000), 0)])


def endless_credit(client: Client, turn: int) -> None:
    subject = f"hostile.{client.number}"
    client.drain()
    if turn % 500 == 0:
        client.hello()
        client.data(wire.Subscribe(1, subject, "g", 2**63))
        client.data(wire.Subscribe(2, subject, "g", 10_000))
    # All messages count as received, but no delivery is acknowledged.
    client.data(*4 * [wire.Publish(subject, bytes(16_000), 0)], received=2**62)


def flood(client: Client, turn: int) -> None:
    if turn % 500 == 0:
        client.hello()
    client.data(*32 * [wire.Publish(NOBODY, bytes(1000), 1 + turn)])


def small_flood(client: Client, turn: int) -> None:
    if turn % 5000 == 0:
        client.hello()
    client.send(HEARTBEAT)


def waiting_subjects(client: Client, turn: int) -> None:
    prefix = f"hostile.{client.number}"
    if turn % 500 == 0:
        client.hello()
        client.data(wire.Subscribe(1, f"{prefix}.>", "g", 1))
    client.data(*(wire.Publish(f"{prefix}.{turn}.{each}", bytes(1000), 0) for each in range(32)))


def mass_unsubscribe(client: Client, turn: int) -> None:
    if turn % 40 == 0:
        client.hello()
    subs = range(32 * (turn % 20), 32 * (turn % 20 + 1))
    if turn % 40 < 20:
        client.data(*(wire.Subscribe(sub, "hostile.>", "g", 1) for sub in subs))
        client.data(*(wire.Publish(f"hostile.{client.number}.{sub}", b"x", 0) for sub in subs))
    else:
        client.data(*(wire.Unsubscribe(sub) for sub in subs))


def giant_frames(client: Client, turn: int) -> None:
    if turn % 100 == 0:
        client.hello()
    size = 4 * MIB if turn % 10 == 9 else MIB - 4096
    client.data(wire.Publish(NOBODY, bytes(size), 0))


def dead_letters(client: Client, turn: int) -> None:
    subject = f"hostile.{client.number}"
    if turn % 200 == 0:
        client.hello()
        client.data(wire.Subscribe(1, subject, "g", 100))
    client.data(wire.Publish(subject, bytes(16_000), 0), wire.Nack(1, turn, "x" * 10_000))
    client.data(*(wire.GetDeadLetters(each) for each in range(100 if turn % 2 else 32)))


def broadcasts(client: Client, turn: int) -> None:
    client.drain()
    if turn % 500 == 0:
        client.hello()
        client.data(wire.Subscribe(0, "hostile.>", None, 1))
        client.data(*(wire.Subscribe(sub, "hostile.all", None, 1) for sub in range(1, 32)))
    client.data(wire.Publish("hostile.all", b"x", 0), received=2**62)


def many_groups(client: Client, turn: int) -> None:
    client.drain()
    if turn % 500 == 0:
        client.hello()
        client.data(*(wire.Subscribe(sub, "hostile.all", f"g{client.number}-{sub}", 1) for sub in range(32)))
    client.data(wire.Publish("hostile.all", b"x", 0), received=2**62)


def hellos(client: Client, _: int) -> None:
    client.hello()


def malformed(client: Client, turn: int) -> None:
    client.send(b"\xc1" if turn % 2 else b"\x94\x06\x01\x00\xdd\xff\xff\xff\xff")


HEARTBEAT: Final = wire.encode(wire.Heartbeat(1))
STEPS: Final[dict[str, Step]] = {
    "no Hello": no_hello,
    "no acknowledgements": no_acknowledgements,
    "endless credit": endless_credit,
    "flood": flood,
    "flood of small messages": small_flood,
    "many waiting subjects": waiting_subjects,
    "mass unsubscribe": mass_unsubscribe,
    "giant frames": giant_frames,
    "broadcasts": broadcasts,
    "many groups": many_groups,
    "dead letters": dead_letters,
    "Hello again and again": hellos,
    "malformed messages": malformed,
}
HALF_OPEN: Final = "half-open"
MAX_LONGER_S: Final = 30.0
"""Seconds that an attack may go on beyond its time."""

MIXED: Final = "all ways at once"
WAYS: Final = [*STEPS, HALF_OPEN, MIXED]

_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_PROPERTY: Final = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
_READY: Final = b"\x05READY" + _PROPERTY
_HALF_A_MESSAGE: Final = b"\x02" + struct.pack(">Q", MIB) + bytes(MIB - 1)


class HalfOpen:
    """A TCP connection that says nothing, half of a greeting, or nearly all of a large message."""

    def __init__(self, url: str, number: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._kind = number % 3
        self._connect()

    def _connect(self) -> None:
        self._left = [b"", _GREETING[:20], _GREETING + bytes([4, len(_READY)]) + _READY + _HALF_A_MESSAGE][
            self._kind
        ]
        self._socket = socket.create_connection(self._address)
        self._socket.setblocking(False)

    def step(self) -> None:
        """Send the next bytes, or connect again if the hub has closed the connection."""
        try:
            while self._left:
                self._left = self._left[self._socket.send(self._left) :]
            if self._socket.recv(4096) == b"":
                raise ConnectionResetError
        except BlockingIOError:
            return
        except OSError:
            self._socket.close()
            with contextlib.suppress(OSError):
                self._connect()


def attack(way: str, url: str, count: int) -> None:
    """Attack until this process is killed. It prints a line when all clients are connected."""
    os.nice(19)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 10)
    half_open: list[HalfOpen] = []
    clients: list[tuple[Client, Step]] = []
    for number in range(count):
        kinds = [*STEPS, HALF_OPEN] if way == MIXED else [way]
        kind = kinds[number % len(kinds)]
        if kind == HALF_OPEN:
            half_open.append(HalfOpen(url, number))
        else:
            clients.append((Client(context, url, number), STEPS[kind]))
    print("ready", flush=True)  # noqa: T201
    turn = 0
    while True:
        for client, step in clients:
            step(client, turn)
        for each in half_open:
            each.step()
        turn += 1
        if not clients:
            time.sleep(0.05)


# --- the honest pair and the hub --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def process(*arguments: str, log: Any = None) -> AsyncIterator[tuple[Process, str]]:
    """Run Python in another process; yield it and the first line that it prints."""
    started = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE, stderr=log)
    assert started.stdout is not None
    try:
        async with asyncio.timeout(120):
            yield started, (await started.stdout.readline()).decode().strip()
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


class HonestPair:
    """Two Synapses, one of which answers the other."""

    def __init__(self, url: str) -> None:
        self._caller = from_url(url)
        self._worker = from_url(url)
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.undelivered: list[str] = []

    async def __aenter__(self) -> Self:
        await self._caller.connect()
        await self._worker.connect()
        await self._worker.subscribe("honest.task", self._work, queue_group="honest")
        await self._caller.subscribe("honest.answer", self._answered)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._caller.close()
        await self._worker.close()

    async def _work(self, frame: bytes) -> None:
        await self._worker.publish("honest.answer", frame)

    def _answered(self, _: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(None)

    def _undelivered(self, _: bytes, cause: str) -> None:
        self.undelivered.append(cause)

    async def round_trips(self, seconds: float) -> list[float]:
        """Send frames to and fro for some seconds; return the milliseconds of each round trip."""
        took: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self._answer = asyncio.get_running_loop().create_future()
            started = time.perf_counter()
            await self._caller.publish("honest.task", bytes(500), undelivered=self._undelivered)
            async with asyncio.timeout(ANSWER_S):
                await self._answer
            took.append(1000 * (time.perf_counter() - started))
            await asyncio.sleep(PAUSE_S)
        return took


def memory_mb(pid: int) -> float:
    """Return how much memory of a process is resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def p99(took: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(took, n=100)[98] if len(took) > 1 else took[0]


@attrs.frozen
class Result:
    """What an attack cost.

    Attributes:
        way: The way to attack.
        growth_mb: How far the memory of the hub grew, at its highest.
        before_ms: 99th percentile of the honest round trips before it.
        control_ms: And during it, through another hub.
        during_ms: And during it, through the attacked hub.
        round_trips: How many there were.
        undelivered: How many honest frames were not delivered.
        log: What the hub logged.
    """

    way: str
    growth_mb: float
    before_ms: float
    control_ms: float
    during_ms: float
    round_trips: int
    undelivered: int
    log: str

    @property
    def added_ms(self) -> float:
        """By how much the attack delayed the honest pair, beyond a pair that it did not attack."""
        return self.during_ms - self.control_ms

    @property
    def is_good(self) -> bool:
        """Whether the hub kept its promise."""
        return self.growth_mb <= MAX_GROWTH_MB and self.added_ms <= MAX_ADDED_MS and not self.undelivered


async def watch_memory(pid: int, highest: list[float]) -> None:
    """Keep the highest memory of a process in ``highest``."""
    while True:
        highest[0] = max(highest[0], memory_mb(pid))
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def hub_with_pair(log: Any = None) -> AsyncIterator[tuple[int, str, HonestPair]]:
    """Run a new hub; yield the id of its process, its URL, and an honest pair."""
    async with process("-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0", log=log) as (hub, line):
        url = line.removeprefix("hub at ")
        async with HonestPair(url) as pair:
            yield hub.pid, url, pair


async def measure(way: str, clients: int, seconds: float, until: str = "") -> Result:
    """Attack a new hub in one way, and measure what it costs.

    The attack goes on until the hub has logged the text ``until``, for `MAX_LONGER_S` at most: the clients
    have a low priority, and on a busy machine they may do little at first.
    """
    with tempfile.TemporaryFile() as log:
        async with hub_with_pair(log) as (hub, url, pair), hub_with_pair() as (_, _, control):
            before = await pair.round_trips(min(seconds, 3.0))
            start = memory_mb(hub)
            highest = [start]
            watching = asyncio.create_task(watch_memory(hub, highest))
            try:
                arguments = (__file__, "--attack", way, "--url", url, "--clients", str(clients))
                async with process(*arguments):
                    during, beside = await asyncio.gather(
                        pair.round_trips(seconds), control.round_trips(seconds)
                    )
                    ends = time.monotonic() + MAX_LONGER_S
                    while until not in read(log) and time.monotonic() < ends:
                        during += await pair.round_trips(0.2)
            finally:
                watching.cancel()
            return Result(
                way=way,
                growth_mb=highest[0] - start,
                before_ms=p99(before),
                control_ms=p99(beside),
                during_ms=p99(during),
                round_trips=len(during),
                undelivered=len(pair.undelivered),
                log=read(log),
            )


def read(log: IO[bytes]) -> str:
    """Return all of a log that another process writes."""
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode()


def table(results: list[Result], clients: int) -> Iterator[str]:
    """Yield the lines of a table of the results."""
    yield (
        f"| {clients} clients | memory + | p99 before | p99 of the control | p99 during | added | round trips"
        " | undelivered | |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in results:
        yield (
            f"| {each.way} | {each.growth_mb:.0f} MB | {each.before_ms:.1f} ms | {each.control_ms:.1f} ms"
            f" | {each.during_ms:.1f} ms"
            f" | {each.added_ms:.1f} ms | {each.round_trips} | {each.undelivered}"
            f" | {'ok' if each.is_good else 'TOO MUCH'} |"
        )


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each way")
    parser.add_argument("--way", action="append", choices=WAYS, help="by default all")
    parser.add_argument("--log", action="store_true", help="print what the hub logs")
    parser.add_argument("--attack", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        attack(options.attack, options.url, options.clients)
    results = []
    for way in options.way or WAYS:
        result = asyncio.run(measure(way, options.clients, options.seconds))
        results.append(result)
        if options.log:
            print(result.log)  # noqa: T201
        print(list(table([result], options.clients))[-1], flush=True)  # noqa: T201
    print("\n".join(table(results, options.clients)))  # noqa: T201
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
