"""What a Synapse holds for a while says for how long, and is held once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.delivery import HeldFrame
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.checks_again import within
from cosmo_testing.synapses.checks_undelivered import ask
from cosmo_testing.synapses.network import Inbox, Told, listen, running
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.subject import SynapseUnderTest

HOLD_S: Final = 0.3
"""For how long a frame is kept waiting, at least."""
EXACT_S: Final = 0.1
"""By how much what is said of that may be wrong."""
DUPLICATES: Final = 1000


class Stamped(Inbox):
    """A handler that notes when a frame came, and for how long it says that it was held.

    Args:
        failures: How many of its calls fail, each once ``gate`` is set.
    """

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.stamps: list[tuple[float, float]] = []
        self._failures = failures

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Note it; fail later, or be done with it."""
        held_s = frame.held_s if isinstance(frame, HeldFrame) else 0.0
        self.stamps.append((asyncio.get_running_loop().time(), held_s))
        self.note(frame)
        return self._fail() if len(self.stamps) <= self._failures else None

    async def _fail(self) -> None:
        await self.gate.wait()
        raise RuntimeError("a handler of the conformance kit fails on purpose")


async def _sent(sender: Synapse, subject: str, told: Told) -> tuple[float, float]:
    """Publish a frame for a queue group; return when that began, and when it was over."""
    began = asyncio.get_running_loop().time()
    await ask(sender, subject, told, b"1")
    return began, asyncio.get_running_loop().time()


def _need_honest(stamp: tuple[float, float], sent: tuple[float, float]) -> None:
    came, said = stamp
    most, least = (came - moment for moment in sent)
    need(
        least - EXACT_S <= said <= most + EXACT_S,
        f"a frame that was held for {most:.2f} s says that it was for {said:.2f} s",
    )


async def _held() -> None:
    """Return once a frame has waited long enough to tell."""
    held, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.call_later(HOLD_S, held.set)
    await held.wait()


@REQUIREMENTS.proves("synapse:again-held")
async def check_again_held(under_test: SynapseUnderTest) -> None:
    """Let a handler work on a frame for a while, and fail; compare what the frame says each time it comes."""
    async with running(under_test, 2) as (_, (sender, receiver)):
        member = Stamped(failures=1)
        await listen(receiver, "kit.held", member, "g")
        sent = await _sent(sender, "kit.held", Told())
        await member.until(1)
        await _held()
        member.gate.set()
        await member.until(2)
        for stamp in member.stamps:
            _need_honest(stamp, sent)


@REQUIREMENTS.proves("synapse:durable-held")
async def check_durable_held(under_test: SynapseUnderTest) -> None:
    """Publish while no member is there, and let one come after a while."""
    async with running(under_test, 3) as (network, (sender, first, second)):
        member = Stamped()
        await listen(first, "kit.held", Inbox(), "g")
        await network.close(first)
        sent = await _sent(sender, "kit.held", Told())
        await _held()
        await listen(second, "kit.held", member, "g")
        await member.until(1, within(sender))
        _need_honest(member.stamps[0], sent)


@REQUIREMENTS.proves("synapse:durable-once")
async def check_durable_once(under_test: SynapseUnderTest) -> None:
    """Publish a frame again and again under one id: while a member is there, and while none is."""
    async with running(under_test, 3) as (network, (sender, first, second)):
        told, before, after = Told(), Inbox(), Inbox()

        async def publish(message_id: str) -> None:
            step = sender.publish("kit.same", b"same", undelivered=told, message_id=message_id)
            await bounded("publish(message_id=…)", step)

        await listen(first, "kit.same", before, "g")
        for _ in range(DUPLICATES // 2):
            await publish("one")
        await before.until(1)
        await network.settle()
        await network.close(first)
        for _ in range(DUPLICATES // 2):
            await publish("one")
        # Equal frames with different ids are not the same.
        await publish("another")
        await listen(second, "kit.same", after, "g")
        await after.until(1, within(sender))
        await network.settle()
        came = (len(before.frames), len(after.frames))
        need(came == (1, 1), f"{DUPLICATES} were sent under one id, 1 under another; {sum(came)} came")
        need(not told.reasons, f"both were handled, and undelivered is told {told.reasons[:3]}")
