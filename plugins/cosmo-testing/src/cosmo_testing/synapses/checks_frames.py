"""Frames arrive as they were sent: whole, once, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import FrameTooLargeError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, listen, numbered, refusal, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.synapses.subject import SynapseUnderTest

FRAMES: Final = 500
"""How many frames are sent where one after the other counts."""
PUBLISHERS: Final = 100
"""How many tasks publish at once."""


@REQUIREMENTS.proves("synapse:frame-bytes")
async def check_frame_bytes(under_test: SynapseUnderTest) -> None:
    """Send frames of any bytes, as many as Hypothesis is set to try."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.arbitrary import try_each

    async with running(under_test, 2) as (_, (sender, receiver)):
        inbox = Inbox()
        await listen(receiver, "kit.bytes", inbox)

        async def carry(frame: bytes) -> None:
            inbox.frames.clear()
            await send(sender, "kit.bytes", frame)
            await inbox.until(1)
            need(inbox.frames == [frame], f"sent was {frame!r}, and {inbox.frames!r} came")

        for frame in (b"", b"\0", b"\r\n", bytes(range(256)), b"\r\nPUB kit.bytes 1\r\nx\r\n"):
            await carry(frame)
        await try_each(st.binary(max_size=min(5000, sender.guarantees.max_frame)), carry)


@REQUIREMENTS.proves("synapse:frame-copy")
async def check_frame_copy(under_test: SynapseUnderTest) -> None:
    """Look at what two handlers on each of two peers are given."""
    async with running(under_test, 2) as (_, (here, there)):
        inboxes = [Inbox() for _ in range(4)]
        for inbox, peer in zip(inboxes, (here, there, here, there), strict=True):
            await listen(peer, "kit.copy", inbox)
        await send(here, "kit.copy", b"frame")
        for inbox in inboxes:
            (frame,) = await inbox.until(1)
            need(isinstance(frame, bytes), f"a handler was given a {type(frame).__name__}, not bytes")


@REQUIREMENTS.proves("synapse:frame-largest")
async def check_frame_largest(under_test: SynapseUnderTest) -> None:
    """Send the smallest frame and the largest, with something in each part of it."""
    async with running(under_test, 2) as (_, (sender, receiver)):
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


@REQUIREMENTS.proves("synapse:frame-too-large")
async def check_frame_too_large(under_test: SynapseUnderTest) -> None:
    """Send frames that are too large, by one byte and by many, and then others."""
    async with running(under_test, 2) as (network, (sender, receiver)):
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
        need(inbox.frames == [b"after"], f"what was refused arrived: {[*map(len, inbox.frames)]} bytes")


@REQUIREMENTS.proves("synapse:frame-once")
async def check_frame_once(under_test: SynapseUnderTest) -> None:
    """Send many frames to a plain subscriber and to a pattern."""
    async with running(under_test, 2) as (network, (sender, receiver)):
        exact, wild, frames = Inbox(), Inbox(), numbered(FRAMES)
        await listen(receiver, "kit.once", exact)
        await listen(receiver, "kit.*", wild)
        await send(sender, "kit.once", *frames)
        for inbox in (exact, wild):
            await inbox.until(FRAMES)
        await network.settle()
        for inbox in (exact, wild):
            need(len(inbox.frames) == FRAMES, f"{FRAMES} frames were sent, and {len(inbox.frames)} came")
            need(set(inbox.frames) == set(frames), "other frames came than were sent")


@REQUIREMENTS.proves("synapse:frame-strangers")
async def check_frame_strangers(under_test: SynapseUnderTest) -> None:
    """Put raw bytes on a subject."""
    async with running(under_test, 1) as (_, (receiver,)):
        inbox, frames = Inbox(), [b"{", b"\xff\xfe", b"\0" * 100, b"bytes"]
        await listen(receiver, "kit.strange", inbox)
        for frame in frames:
            await bounded("inject()", under_test.inject("kit.strange", frame))
        await inbox.until(len(frames))
        need(sorted(inbox.frames) == sorted(frames), f"injected were {frames}, and {inbox.frames} came")


@REQUIREMENTS.proves("synapse:order")
async def check_order(under_test: SynapseUnderTest) -> None:
    """Let three publishers send at once, over several subjects, to one pattern."""
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


@REQUIREMENTS.proves("synapse:publish-concurrent")
async def check_publish_concurrent(under_test: SynapseUnderTest) -> None:
    """Publish from many tasks at once."""
    async with running(under_test, 2) as (_, (sender, receiver)):
        inbox, frames = Inbox(), numbered(10 * PUBLISHERS)
        await listen(receiver, "kit.tasks", inbox)
        await asyncio.gather(*(send(sender, "kit.tasks", *frames[n::PUBLISHERS]) for n in range(PUBLISHERS)))
        await inbox.until(len(frames))
        need(sorted(inbox.frames) == sorted(frames), "other frames came than were sent")
