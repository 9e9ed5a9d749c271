"""Who publishes for a queue group is told what nobody will be done with, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Told, Worker, listen, numbered, running
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.subject import SynapseUnderTest


async def ask(synapse: Synapse, subject: str, told: Told, *frames: bytes) -> None:
    """Publish frames for a queue group; none may keep its publisher waiting."""
    for frame in frames:
        await bounded("publish(undelivered=…)", synapse.publish(subject, frame, undelivered=told))


@REQUIREMENTS.proves("synapse:undelivered-nobody")
async def check_undelivered_nobody(under_test: SynapseUnderTest) -> None:
    """Publish where nobody subscribes, and where the last one has left."""
    async with running(under_test, 2) as (_, (sender, receiver)):
        told = Told()
        await ask(sender, "kit.nobody", told, *numbered(10))
        reasons = await told.until(10)
        need({*reasons} == {"no_consumers"}, f"nobody subscribes, and it is told {sorted({*reasons})}")
        need(
            sorted(told.inbox.frames) == numbered(10),
            f"10 frames were sent, and it is told {told.inbox.frames}",
        )
        member = await listen(receiver, "kit.nobody", Inbox(), "g")
        await bounded("unsubscribe()", member.unsubscribe())
        await ask(sender, "kit.nobody", told, b"after")
        need(
            (await told.until(11))[10] == "no_consumers", f"the last has left, and it is told {reasons[10]!r}"
        )


@REQUIREMENTS.proves("synapse:undelivered-overloaded")
async def check_undelivered_overloaded(under_test: SynapseUnderTest) -> None:
    """Publish more than a stuck member has room for, and let it work then."""
    async with running(under_test, 2) as (network, (sender, receiver)):
        told, worker, frames = Told(), Worker(), numbered(2 * under_test.room + 10)
        await listen(receiver, "kit.over", worker, "g")
        await ask(sender, "kit.over", told, *frames)
        reasons = await told.until(1)
        need({*reasons} == {"overloaded"}, f"no member has room, and it is told {sorted({*reasons})}")
        await network.settle()
        worker.gate.set()
        await network.until("draining", lambda: len(worker.done) + len(told.inbox.frames) >= len(frames))
        await network.settle()
        need(
            sorted([*worker.done, *told.inbox.frames]) == sorted(frames),
            f"{len(frames)} were sent, {len(worker.done)} handled and {len(told.inbox.frames)} told of",
        )


@REQUIREMENTS.proves("synapse:undelivered-once")
async def check_undelivered_once(under_test: SynapseUnderTest) -> None:
    """Count the calls for frames that nobody takes, or has room for, and look where they are made."""
    async with running(under_test, 2) as (network, (sender, receiver)):
        told, worker, frames = Told(), Worker(), numbered(2 * under_test.room + 10)
        subscription = await listen(receiver, "kit.told", worker, "g")
        await ask(sender, "kit.told", told, *frames)
        await told.until(1)
        await network.settle()
        worker.gate.set()
        await worker.until(1)
        await network.settle()
        await bounded("unsubscribe()", subscription.unsubscribe())
        if not sender.guarantees.durable:
            await ask(sender, "kit.told", told, b"last")
            await bounded("undelivered", told.inbox.when(lambda: b"last" in told.inbox.frames))
        await network.settle()
        twice = len(told.inbox.frames) - len({*told.inbox.frames})
        need(not twice, f"of {len(told.inbox.frames)} calls, {twice} were for a frame it had been told of")
        need(not told.outside, f"{len(told.outside)} calls were made outside the event loop")


@REQUIREMENTS.proves("synapse:undelivered-silent")
async def check_undelivered_silent(under_test: SynapseUnderTest) -> None:
    """Publish to members that are done with everything, at once or later, and to who is in no group."""
    async with running(under_test, 3) as (network, (sender, one, two)):
        told, group, plain, frames = Told(), Inbox(), Inbox(), numbered(100)

        async def later(frame: bytes) -> None:
            await asyncio.sleep(0)
            group(frame)

        await listen(one, "kit.silent", group, "g")
        await listen(two, "kit.silent", later, "g")
        for frame in frames:
            await ask(sender, "kit.silent", told, frame)
            # One at a time: there is room, whatever the limits are.
            await group.until(int(frame) + 1)
        await listen(one, "kit.silent.plain", plain)
        await ask(sender, "kit.silent.plain", told, b"1")
        await plain.until(1)
        await network.settle()
        need(not told.reasons, f"all frames were handled, and it is told {told.reasons[:3]}")
