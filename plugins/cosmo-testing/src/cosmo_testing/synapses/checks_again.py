"""A Synapse that delivers at least once gives a frame to another member until one is done with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.synapse import DeadLetters
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.checks_undelivered import ask
from cosmo_testing.synapses.network import Inbox, Told, Worker, listen, numbered, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import DeadLetter
    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.subject import SynapseUnderTest

SLACK_S: Final = 0.5
"""By how much a busy machine may be late."""


class Failing(Inbox):
    """A handler that fails for some of its calls, by turns at once and in its awaitable.

    Attributes:
        calls: How often each frame came.
        done: What it was done with.
    """

    def __init__(self, *, always: bytes | None = None) -> None:
        super().__init__()
        self.calls: Counter[bytes] = Counter()
        self.done: list[bytes] = []
        self._always = always

    async def _work(self, frame: bytes, *, fails: bool) -> None:
        await asyncio.sleep(0)
        if fails:
            raise RuntimeError("a handler of the conformance kit fails on purpose")
        self.done.append(frame)
        self.note(frame)

    def __call__(self, frame: bytes) -> asyncio.Future[None] | None:
        """Fail the first time, or always; be done with it otherwise."""
        self.calls[frame] += 1
        self._came.set()
        fails = self.calls[frame] == 1 or frame == self._always
        if fails and sum(self.calls.values()) % 2:
            raise RuntimeError("a handler of the conformance kit fails on purpose")
        return asyncio.ensure_future(self._work(frame, fails=fails))


def within(synapse: Synapse) -> float:
    """For how many seconds another member may be waited for."""
    return (synapse.guarantees.takeover_s or 0.0) + SLACK_S


async def dead(synapse: Synapse, frame: bytes) -> list[DeadLetter]:
    """Return the dead letters with this frame."""
    assert isinstance(synapse, DeadLetters)  # noqa: S101 - "synapse:shape" says so, too
    letters = await bounded("dead_letters()", synapse.dead_letters())
    return [letter for letter in letters if letter.frame == frame]


@REQUIREMENTS.proves("synapse:again-failed")
async def check_again_failed(under_test: SynapseUnderTest) -> None:
    """Fail every frame once."""
    async with running(under_test, 3) as (network, (sender, one, two)):
        told, member, frames = Told(), Failing(), numbered(10)
        for peer in (one, two):
            await listen(peer, "kit.again", member, "g")
        for number, frame in enumerate(frames):
            await ask(sender, "kit.again", told, frame)
            await member.until(number + 1)
        await network.settle()
        need(sorted(member.done) == frames, f"{len(member.done)} of {len(frames)} frames were ever done with")
        need({*member.calls.values()} == {2}, f"each failed once, and the calls were {dict(member.calls)}")
        need(not told.reasons, f"all were done with in the end, and it is told {told.reasons}")


@REQUIREMENTS.proves("synapse:again-done")
async def check_again_done(under_test: SynapseUnderTest) -> None:
    """Close the member that is done with some frames, at once or later, and see what another one gets."""
    async with running(under_test, 3) as (network, (sender, leaving, staying)):
        worker, other, frames = Worker(), Inbox(), numbered(3)
        await listen(leaving, "kit.done", worker, "g")
        worker.gate.set()
        await send(sender, "kit.done", *frames)
        await worker.finished(len(frames))
        await network.settle()
        await listen(staying, "kit.done", other, "g")
        await network.close(leaving)
        await send(sender, "kit.done", b"next")
        await other.until(1)
        await network.settle()
        need(other.frames == [b"next"], f"another member got {other.frames[:-1]}, which were done with")


@REQUIREMENTS.proves("synapse:again-dead")
async def check_again_dead(under_test: SynapseUnderTest) -> None:
    """Publish one frame that always fails, and others that do not."""
    async with running(under_test, 3) as (network, (sender, one, two)):
        told, member, poison = Told(), Failing(always=b"poison"), b"poison"
        most = sender.guarantees.max_deliveries
        for peer in (one, two):
            await listen(peer, "kit.dead", member, "g")
        await ask(sender, "kit.dead", told, poison, b"good")
        await told.until(1)
        await bounded("the frame beside it", member.when(lambda: b"good" in member.done))
        await network.settle()
        need(told.reasons == ["failed"], f"it always fails, and undelivered is told {told.reasons}")
        need(
            member.calls[poison] == most,
            f"it was given {member.calls[poison]} times; max_deliveries is {most}",
        )
        if most > 1:
            letters = await dead(sender, poison)
            need(len(letters) == 1, f"it is {len(letters)} times among the dead letters")
            told_of = (letters[0].subject, letters[0].deliveries, bool(letters[0].reason))
            need(told_of == ("kit.dead", most, True), f"the dead letter says {letters[0]}")


@REQUIREMENTS.proves("synapse:again-closed")
async def check_again_closed(under_test: SynapseUnderTest) -> None:
    """Close a member that works on frames; another one is there."""
    async with running(under_test, 3) as (network, (sender, leaving, staying)):
        worker, other, frames = Worker(), Inbox(), numbered(3)
        await listen(leaving, "kit.over", worker, "g")
        await ask(sender, "kit.over", Told(), *frames)
        await worker.until(1)
        await listen(staying, "kit.over", other, "g")
        await network.close(leaving)
        await other.until(len(frames), within(sender))
        need({*other.frames} == {*frames}, f"the other member got {sorted({*other.frames})}")


@REQUIREMENTS.proves("synapse:again-lost")
async def check_again_lost(under_test: SynapseUnderTest) -> None:
    """Close the only member, which works on a frame."""
    async with running(under_test, 2) as (network, (sender, leaving)):
        told, worker = Told(), Worker()
        await listen(leaving, "kit.lost", worker, "g")
        await ask(sender, "kit.lost", told, b"1")
        await worker.until(1)
        await network.close(leaving)
        reasons = await told.until(1, within(sender))
        need(reasons == ["lost"], f"no other member is there, and it is told {reasons}")


@REQUIREMENTS.proves("synapse:durable-waits")
async def check_durable_waits(under_test: SynapseUnderTest) -> None:
    """Publish after the last member left, and let one come back."""
    async with running(under_test, 3) as (network, (sender, first, second)):
        told, inbox, frames = Told(), Inbox(), numbered(10)
        await listen(first, "kit.wait", Inbox(), "g")
        await network.close(first)
        await ask(sender, "kit.wait", told, *frames)
        await network.settle()
        need(not told.reasons, f"the frames wait, and undelivered is told {told.reasons[:3]}")
        await listen(second, "kit.wait", inbox, "g")
        await inbox.until(len(frames), within(sender))
        need({*inbox.frames} == {*frames}, f"what waited was {frames}, and {inbox.frames} came")
