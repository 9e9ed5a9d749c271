"""The bus of one check, its peers, and handlers that record what they get."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import wraps
from itertools import count
from typing import Any, Final

from cosmo_core.contracts.delivery import FrameHandler, Subscription
from cosmo_core.contracts.synapse import Synapse
from cosmo_testing.conformance import steps
from cosmo_testing.conformance.kit import Condition, Requirement, requirement
from cosmo_testing.conformance.steps import UnmetError, bounded
from cosmo_testing.synapses.subject import SynapseUnderTest

TURNS: Final = 10
"""Turns of the event loop that a received frame may need to reach its handler."""

_SETTLING: Final = b"settling"


class Inbox:
    """A handler that records frames, and acknowledges them at once.

    Attributes:
        frames: The received frames, oldest first.
    """

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._came = asyncio.Event()

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Record ``frame``."""
        self.note(frame)
        return None

    def note(self, frame: bytes) -> None:
        """Record a frame, and wake the tasks that wait for it."""
        self.frames.append(frame)
        self._came.set()

    async def until(self, number: int, limit_s: float | None = None) -> list[bytes]:
        """Return the received frames as soon as there are ``number`` or more.

        Raises:
            UnmetError: They did not arrive in time.
        """
        try:
            await bounded("", self.when(lambda: len(self.frames) >= number), limit_s)
        except UnmetError:
            limit_s = steps.PATIENCE_S if limit_s is None else limit_s
            came = f"{len(self.frames)} of {number} frames came within {limit_s:g} s"
            raise UnmetError(came) from None
        return self.frames

    async def when(self, ready: Callable[[], bool]) -> None:
        """Return as soon as ``ready`` returns true; it is called after every change."""
        while not ready():
            self._came.clear()
            await self._came.wait()


class Worker(Inbox):
    """A handler that processes frames until its gate opens.

    Attributes:
        most: The largest number of frames that were processed at once.
        done: The finished frames, in order.
        gate: Set it to let the handler finish.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.done: list[bytes] = []
        self.gate = asyncio.Event()
        self._working = 0

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Start to process ``frame``."""
        self._working += 1
        self.most = max(self.most, self._working)
        self.note(frame)
        return self._work(frame)

    async def _work(self, frame: bytes) -> None:
        try:
            await self.gate.wait()
            self.done.append(frame)
        finally:
            self._working -= 1
            self._came.set()

    async def finished(self, number: int) -> list[bytes]:
        """Open the gate; return the finished frames as soon as there are ``number`` or more."""
        self.gate.set()
        try:
            await bounded("", self.when(lambda: len(self.done) >= number))
        except UnmetError:
            raise UnmetError(f"{len(self.done)} of {number} frames were ever handled") from None
        return self.done


class Reports:
    """An `undelivered` callback that records its calls, and in which event loop they are made."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.reasons: list[str] = []
        self.outside: list[str] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self, frame: bytes, reason: str) -> None:
        """Record one call."""
        self.reasons.append(reason)
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if not inside:
            self.outside.append(f"for {frame[:20]!r}")
        self._loop.call_soon_threadsafe(self.inbox.note, frame)

    async def nothing(self, for_s: float) -> None:
        """Return after ``for_s`` seconds without a call.

        Raises:
            UnmetError: It was called.
        """
        try:
            await self.inbox.until(1, for_s)
        except UnmetError:
            return
        raise UnmetError(f"undelivered got {self.reasons} for {self.inbox.frames}")

    async def until(self, number: int, limit_s: float | None = None) -> list[str]:
        """Return the reasons as soon as there are ``number`` or more."""
        try:
            await self.inbox.until(number, limit_s)
        except UnmetError as error:
            raise UnmetError(f"undelivered: {error}") from None
        return self.reasons


class Network:
    """The bus of one check, and its peers.

    Attributes:
        under_test: The subject.
    """

    def __init__(self, under_test: SynapseUnderTest) -> None:
        self.under_test = under_test
        self._peers: dict[Synapse, tuple[str, Inbox]] = {}
        self._serial = count()

    async def peer(self) -> Synapse:
        """Connect one more Synapse."""
        synapse = await bounded("connect()", self.under_test.connect())
        subject, inbox = f"kit-settle.{next(self._serial)}", Inbox()
        self._peers[synapse] = (subject, inbox)
        await bounded("subscribe()", synapse.subscribe(subject, lambda frame: inbox.note(frame)))
        return synapse

    async def peers(self, number: int) -> list[Synapse]:
        """Connect several Synapses."""
        return [await self.peer() for _ in range(number)]

    async def close(self, synapse: Synapse) -> None:
        """Close a peer."""
        self._peers.pop(synapse, None)
        await bounded("close()", synapse.close())

    async def close_all(self) -> None:
        """Close every peer that is open."""
        for synapse in list(self._peers):
            await self.close(synapse)

    async def settle(self, rounds: int = 2) -> None:
        """Return when frames that were sent before must have arrived.

        Each peer sends one frame to every peer, and waits for it, ``rounds`` times.
        """
        for _ in range(rounds):
            for subject, inbox in self._peers.values():
                inbox.frames.clear()
                for sender in self._peers:
                    await send(sender, subject, _SETTLING)
            for _, inbox in self._peers.values():
                await inbox.until(len(self._peers))
            for _ in range(TURNS):
                # A bus inside the process may deliver all of it without a turn for other tasks.
                await asyncio.sleep(0)

    async def until(self, what: str, ready: Callable[[], bool]) -> None:
        """Return as soon as ``ready`` returns true; meanwhile the peers exchange frames.

        Raises:
            UnmetError: It did not return true in time.
        """

        async def wait() -> None:
            while not ready():
                await self.settle(rounds=1)

        await bounded(what, wait())


@asynccontextmanager
async def running(
    under_test: SynapseUnderTest, peers: int = 0
) -> AsyncIterator[tuple[Network, list[Synapse]]]:
    """Run a bus with some peers; at the end, close all peers."""
    async with under_test.bus():
        network = Network(under_test)
        try:
            yield network, await network.peers(peers)
        finally:
            await network.close_all()


async def send(synapse: Synapse, subject: str, *frames: bytes) -> None:
    """Publish frames, one after the other."""
    for frame in frames:
        await bounded("publish()", synapse.publish(subject, frame))


async def listen(
    synapse: Synapse, pattern: str, handler: FrameHandler, queue_group: str | None = None
) -> Subscription:
    """Subscribe."""
    return await bounded("subscribe()", synapse.subscribe(pattern, handler, queue_group=queue_group))


def numbered(number: int, prefix: str = "") -> list[bytes]:
    """Make different frames."""
    return [f"{prefix}{each}".encode() for each in range(number)]


def for_peers(
    id: str, text: str, *, when: Iterable[Condition] = ()
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Requirement[SynapseUnderTest, []]]:
    """Make a coroutine function, which takes a bus and some of its peers, the check of a requirement.

    The first parameter of the function is the `Network`; each further one is a peer. The arguments are those
    of `requirement`.
    """

    def decorate(check: Callable[..., Coroutine[Any, Any, None]]) -> Requirement[SynapseUnderTest, []]:
        number = len(inspect.signature(check).parameters) - 1

        @wraps(check)
        async def check_subject(under_test: SynapseUnderTest) -> None:
            async with running(under_test, number) as (network, peers):
                await check(network, *peers)

        return requirement(id, text, when=when)(check_subject)

    return decorate
