"""Requirements on publishing: frames, order, cancellation and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.synapse import Synapse, ThreadPublisher
from cosmo_core.errors import FrameTooLargeError
from cosmo_testing.conformance import steps
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import bounded, need, refusal
from cosmo_testing.synapses.network import (
    Inbox,
    Network,
    Worker,
    for_peers,
    listen,
    numbered,
    running,
    send,
)
from cosmo_testing.synapses.subject import ORDERED, THREADS, SynapseUnderTest

FRAMES: Final = 500
"""The number of frames where the order counts."""
PUBLISHERS: Final = 100
"""The number of concurrent publishers."""


@for_peers("synapse:frame-bytes", "A frame MUST arrive byte for byte, whatever its content is.")
async def check_frame_bytes(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Send generated frames of arbitrary bytes."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.properties import try_each

    inbox = Inbox()
    await listen(receiver, "kit.bytes", inbox)

    async def carry(frame: bytes) -> None:
        inbox.frames.clear()
        await send(sender, "kit.bytes", frame)
        await inbox.until(1)
        need(inbox.frames == [frame], f"{frame!r} was sent, and {inbox.frames!r} came")

    for frame in (b"", b"\0", b"\r\n", bytes(range(256)), b"\r\nPUB kit.bytes 1\r\nx\r\n"):
        await carry(frame)
    await try_each(st.binary(max_size=min(5000, sender.guarantees.max_frame)), carry)


@for_peers(
    "synapse:frame-copy",
    "A handler MUST get an immutable `bytes` object that shares no memory with another frame.",
)
async def check_frame_copy(network: Network, here: Synapse, there: Synapse) -> None:
    """Check the type of the frames of two handlers on each of two peers."""
    inboxes = [Inbox() for _ in range(4)]
    for inbox, peer in zip(inboxes, (here, there, here, there), strict=True):
        await listen(peer, "kit.copy", inbox)
    await send(here, "kit.copy", b"frame")
    for inbox in inboxes:
        (frame,) = await inbox.until(1)
        need(isinstance(frame, bytes), f"a handler was given a {type(frame).__name__}, not bytes")


@for_peers("synapse:frame-largest", "A frame of 0 bytes and a frame of `max_frame` bytes MUST arrive.")
async def check_frame_largest(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Send the smallest and the largest frame, with different content in each part."""
    inbox, largest = Inbox(), _filled(sender.guarantees.max_frame)
    await listen(receiver, "kit.large", inbox)
    await send(sender, "kit.large", b"", largest, b"after")
    came = sorted(await inbox.until(3), key=len)
    need(
        [*map(len, came)] == [0, 5, len(largest)] or len(largest) < 5,
        f"of {len(largest)} bytes, {len(came[-1])} came",
    )
    need(largest in came, "the largest frame arrived with other bytes in it")


def _filled(size: int) -> bytes:
    pattern = bytes(range(251))
    return (pattern * (size // len(pattern) + 1))[:size]


@for_peers(
    "synapse:frame-too-large",
    "A frame larger than `max_frame` MUST be refused with a FrameTooLargeError, and no part of it sent.",
)
async def check_frame_too_large(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Send frames that are too large, by one byte and by many, and then others."""
    inbox, limit = Inbox(), sender.guarantees.max_frame
    await listen(receiver, "kit.limit", inbox)
    for size in (limit + 1, 2 * limit):
        error = await refusal(sender.publish("kit.limit", bytes(size)))
        need(
            isinstance(error, FrameTooLargeError),
            f"{size} bytes, with max_frame {limit}, ended in {error!r}, not in a FrameTooLargeError",
        )
    await send(sender, "kit.limit", b"after")
    await inbox.until(1)
    await network.settle()
    need(inbox.frames == [b"after"], f"a refused frame arrived: {[*map(len, inbox.frames)]} bytes")


@for_peers("synapse:frame-once", "A frame MUST NOT be lost or delivered twice.")
async def check_frame_once(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Send many frames to a plain subscriber and to a pattern."""
    exact, wild, frames = Inbox(), Inbox(), numbered(FRAMES)
    await listen(receiver, "kit.once", exact)
    await listen(receiver, "kit.*", wild)
    await send(sender, "kit.once", *frames)
    for inbox in (exact, wild):
        await inbox.until(FRAMES)
    await network.settle()
    for inbox in (exact, wild):
        need(len(inbox.frames) == FRAMES, f"{FRAMES} frames were sent, and {len(inbox.frames)} came")
        need(set(inbox.frames) == set(frames), "the received frames are not those that were sent")


@for_peers("synapse:frame-strangers", "A frame that another program publishes MUST arrive unchanged.")
async def check_frame_strangers(network: Network, receiver: Synapse) -> None:
    """Inject raw bytes on a subject."""
    inbox, frames = Inbox(), [b"{", b"\xff\xfe", b"\0" * 100, b"bytes"]
    await listen(receiver, "kit.strange", inbox)
    for frame in frames:
        await bounded("inject()", network.under_test.inject("kit.strange", frame))
    await inbox.until(len(frames))
    need(sorted(inbox.frames) == sorted(frames), f"{frames} were injected, and {inbox.frames} came")


@requirement(
    "synapse:order",
    "The frames of one publisher MUST arrive in the order in which it sent them.",
    when=[ORDERED],
)
async def check_order(under_test: SynapseUnderTest) -> None:
    """Let three publishers send concurrently, on several subjects, to one pattern."""
    async with running(under_test, 4) as (_, (receiver, *senders)):
        inbox = Inbox()
        await listen(receiver, "kit.order.*", inbox)

        async def count(name: int) -> None:
            for number, frame in enumerate(numbered(FRAMES, f"{name}:")):
                await send(senders[name], f"kit.order.s{number % 3}", frame)

        await asyncio.gather(*map(count, range(len(senders))))
        await inbox.until(FRAMES * len(senders))
        for name in range(len(senders)):
            came = [frame for frame in inbox.frames if frame.startswith(b"%d:" % name)]
            sent = numbered(FRAMES, f"{name}:")
            wrong = next((pair for pair in zip(sent, came, strict=False) if pair[0] != pair[1]), None)
            need(wrong is None, f"where {wrong and wrong[0]!r} was sent, {wrong and wrong[1]!r} came")


@for_peers(
    "synapse:publish-concurrent",
    "Every frame that a hundred tasks publish concurrently MUST arrive.",
)
async def check_publish_concurrent(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish from many tasks concurrently."""
    inbox, frames = Inbox(), numbered(10 * PUBLISHERS)
    await listen(receiver, "kit.tasks", inbox)
    await asyncio.gather(*(send(sender, "kit.tasks", *frames[n::PUBLISHERS]) for n in range(PUBLISHERS)))
    await inbox.until(len(frames))
    need(sorted(inbox.frames) == sorted(frames), "the received frames are not those that were sent")


TURNS: Final = 8
"""The largest number of turns of the event loop before a step is cancelled."""
STUCK_S: Final = 2.0
"""Seconds that a cancelled step may still run."""


async def _cancelled_after(turns: int, step: Awaitable[object], what: str) -> bool:
    """Cancel a step after some turns; tell whether it was still running."""
    task = asyncio.ensure_future(step)
    for _ in range(turns):
        await asyncio.sleep(0)
    in_time = task.cancel()
    done, _ = await asyncio.wait([task], timeout=STUCK_S)
    # The exception of one that still runs is not read.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    need(bool(done), f"{what} that was cancelled still runs")
    if in_time:
        need(
            task.cancelled(),
            f"{what} was cancelled, and did not end as cancelled: CancelledError was swallowed",
        )
    else:
        task.result()
    return in_time


@for_peers(
    "synapse:cancel-publish",
    "A cancelled `publish` MUST end as cancelled, and the Synapse MUST work afterwards.",
)
async def check_cancel_publish(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Cancel publishes: early and late, and one that waits for a full queue group."""
    inbox = Inbox()
    await listen(receiver, "kit.cancel", inbox)
    for turns in range(TURNS):
        await _cancelled_after(turns, sender.publish("kit.cancel", b"cancelled"), "a publish")
    if sender.guarantees.queue_groups:
        worker = Worker()
        await listen(receiver, "kit.stuck", worker, "g")

        async def fill() -> None:
            for _ in range(4 * network.under_test.capacity):
                await sender.publish("kit.stuck", b"1")

        filling = asyncio.ensure_future(fill())
        await worker.until(1)
        await _cancelled_after(
            TURNS * network.under_test.capacity, _waiting(filling), "a publish to a full group"
        )
    await send(sender, "kit.cancel", b"after")
    await bounded("a publish after those", inbox.when(lambda: b"after" in inbox.frames))


async def _waiting(publishing: asyncio.Future[None]) -> None:
    await publishing


@for_peers(
    "synapse:cancel-subscribe",
    "A cancelled `subscribe` MUST end as cancelled, and the Synapse MUST work afterwards.",
)
async def check_cancel_subscribe(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Cancel subscribes, early and late; a cancelled subscription gets nothing."""
    cancelled, inbox = Inbox(), Inbox()
    for turns in range(TURNS):
        handler = Inbox()
        if await _cancelled_after(turns, receiver.subscribe("kit.cancel", handler), "a subscribe"):
            handler.note = cancelled.note  # type: ignore[method-assign]
    await listen(receiver, "kit.cancel", inbox)
    await send(sender, "kit.cancel", b"after")
    await inbox.until(1)
    await network.settle()
    need(
        not cancelled.frames,
        f"{len(cancelled.frames)} subscriptions exist although their subscribe was cancelled",
    )


T = TypeVar("T")

BLOCKED_S: Final = 2.0
"""Seconds until a frame from a thread must have arrived, or have been accepted."""


@for_peers(
    "synapse:thread-publish",
    "A ThreadPublisher MUST publish from a thread while its event loop is blocked.",
    when=[THREADS],
)
async def check_thread_publish(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish from a thread while the event loop is blocked."""
    inbox = Inbox()
    await listen(receiver, "kit.thread", inbox)
    assert satisfies(sender, ThreadPublisher)  # noqa: S101 - it is why this is checked
    publishing = threading.Thread(
        target=sender.publish_from_thread, args=("kit.thread", b"alive"), daemon=True
    )
    publishing.start()
    # This blocks the event loop on purpose.
    publishing.join(BLOCKED_S)
    need(not publishing.is_alive(), "publish_from_thread waits for the event loop")
    await inbox.until(1)
    need(inbox.frames == [b"alive"], f"b'alive' was sent, and {inbox.frames} came")


class Elsewhere:
    """An event loop in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._released = threading.Event()

    async def run(self, what: str, step: Coroutine[Any, Any, T]) -> T:
        """Run one step in it."""
        return await bounded(what, asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step, self._loop)))

    def block(self) -> None:
        """Block it until `release`."""
        # Much longer than any wait here: it must not end by itself.
        self._loop.call_soon_threadsafe(self._released.wait, 2 * steps.PATIENCE_S)

    def release(self) -> None:
        """Unblock it."""
        self._released.set()


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Run another event loop, in a thread of its own."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    serving = asyncio.ensure_future(asyncio.to_thread(asyncio.run, serve()))
    loop, over = await asyncio.wrap_future(started)
    other = Elsewhere(loop)
    try:
        yield other
    finally:
        other.release()
        loop.call_soon_threadsafe(over.set)
        await serving


@requirement(
    "synapse:thread-elsewhere",
    "A frame published from a thread MUST reach other event loops while the publisher's loop is blocked.",
    when=[THREADS],
)
async def check_thread_elsewhere(under_test: SynapseUnderTest) -> None:
    """Publish from a thread through a Synapse whose event loop, which is not the bus's, is blocked."""
    async with running(under_test, 1) as (_, (receiver,)), elsewhere() as other:
        inbox = Inbox()
        await listen(receiver, "kit.thread", inbox)
        synapse = await other.run("connect() in another event loop", under_test.connect())
        try:
            sender: object = synapse
            assert satisfies(sender, ThreadPublisher)  # noqa: S101 - it is why this is checked
            other.block()
            publishing = asyncio.to_thread(sender.publish_from_thread, "kit.thread", b"alive")
            await bounded("publish_from_thread() beside a blocked event loop", publishing, BLOCKED_S)
            await inbox.until(1, BLOCKED_S)
            need(inbox.frames == [b"alive"], f"b'alive' was sent, and {inbox.frames} came")
        finally:
            other.release()
            await other.run("close() in another event loop", synapse.close())
