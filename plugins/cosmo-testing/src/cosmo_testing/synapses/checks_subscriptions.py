"""Subscriptions begin when they say so, and end when they are told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Worker, listen, numbered, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.synapses.subject import SynapseUnderTest

CONFIRMATIONS: Final = 100
"""How often something is published right after a subscribe."""
MANY: Final = 1000
"""How many subscriptions are many."""


@REQUIREMENTS.proves("synapse:subscribe-confirmed")
async def check_subscribe_confirmed(under_test: SynapseUnderTest) -> None:
    """Subscribe, and publish at once from another peer; many times, each on a subject of its own."""
    async with running(under_test, 2) as (_, (receiver, sender)):
        inboxes = [Inbox() for _ in range(CONFIRMATIONS)]
        for number, inbox in enumerate(inboxes):
            await listen(receiver, f"kit.confirmed.{number}", inbox)
            await send(sender, f"kit.confirmed.{number}", b"first")
        for number, inbox in enumerate(inboxes):
            await inbox.until(1)
            need(inbox.frames == [b"first"], f"subscription {number} got {inbox.frames}")


@REQUIREMENTS.proves("synapse:subscribe-many")
async def check_subscribe_many(under_test: SynapseUnderTest) -> None:
    """Subscribe very often, publish to each, and unsubscribe."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        tasks, inbox = asyncio.all_tasks(), Inbox()
        subscriptions = [await listen(receiver, f"kit.many.{n}", inbox) for n in range(MANY)]
        for number in range(MANY):
            await send(sender, f"kit.many.{number}", b"%d" % number)
        await inbox.until(MANY)
        need(sorted(inbox.frames) == sorted(numbered(MANY)), "a subscription got what was not for it")
        for subscription in subscriptions:
            await bounded("unsubscribe()", subscription.unsubscribe())
        inbox.frames.clear()
        for number in range(0, MANY, 100):
            await send(sender, f"kit.many.{number}", b"late")
        await network.settle()
        need(not inbox.frames, f"{len(inbox.frames)} of those that were ended got a frame")
        # A few may be at work for the connection, but not one for each that is gone.
        left = asyncio.all_tasks() - tasks
        need(len(left) < MANY // 100, f"{len(left)} tasks were left by {MANY} subscriptions")


@REQUIREMENTS.proves("synapse:subscribe-same")
async def check_subscribe_same(under_test: SynapseUnderTest) -> None:
    """Subscribe one handler to one subject twice, and end one of the two."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        inbox = Inbox()
        first = await listen(receiver, "kit.same", inbox)
        await listen(receiver, "kit.same", inbox)
        await send(sender, "kit.same", b"1")
        await inbox.until(2)
        await bounded("unsubscribe()", first.unsubscribe())
        await send(sender, "kit.same", b"2")
        await inbox.until(3)
        await network.settle()
        need(inbox.frames == [b"1", b"1", b"2"], f"the handler got {inbox.frames}")


@REQUIREMENTS.proves("synapse:unsubscribe")
async def check_unsubscribe(under_test: SynapseUnderTest) -> None:
    """Unsubscribe while frames come, and publish more."""
    async with running(under_test, 3) as (network, (receiver, other, sender)):
        inbox, witness, frames = Inbox(), Inbox(), numbered(100)
        subscription = await listen(receiver, "kit.end", inbox)
        await listen(other, "kit.end", witness)
        sending = asyncio.ensure_future(send(sender, "kit.end", *frames))
        try:
            await inbox.until(10)
            await bounded("unsubscribe()", subscription.unsubscribe())
            # What came before may be handed over still; what is published from now on may not.
            await bounded("publish()", sending)
        finally:
            sending.cancel()
        await send(sender, "kit.end", b"late")
        await witness.until(len(frames) + 1)
        await network.settle()
        need(b"late" not in inbox.frames, "a frame that was published after unsubscribe returned came")


@REQUIREMENTS.proves("synapse:unsubscribe-twice")
async def check_unsubscribe_twice(under_test: SynapseUnderTest) -> None:
    """Unsubscribe twice, beside another subscription that lives on."""
    async with running(under_test, 1) as (_, (synapse,)):
        subscription, inbox = await listen(synapse, "kit.end", Inbox()), Inbox()
        await listen(synapse, "kit.end", inbox)
        await bounded("unsubscribe()", subscription.unsubscribe())
        await bounded("the second unsubscribe()", subscription.unsubscribe())
        await send(synapse, "kit.end", b"1")
        await inbox.until(1)


@REQUIREMENTS.proves("synapse:unsubscribe-others")
async def check_unsubscribe_others(under_test: SynapseUnderTest) -> None:
    """End one of several subscriptions to a subject, on the same peer and on others."""
    async with running(under_test, 3) as (_, peers):
        ended = await listen(peers[0], "kit.others", Inbox())
        inboxes = [Inbox() for _ in peers]
        for peer, inbox in zip(peers, inboxes, strict=True):
            await listen(peer, "kit.others", inbox)
        await bounded("unsubscribe()", ended.unsubscribe())
        await send(peers[1], "kit.others", b"1")
        for inbox in inboxes:
            await inbox.until(1)


@REQUIREMENTS.proves("synapse:unsubscribe-working")
async def check_unsubscribe_working(under_test: SynapseUnderTest) -> None:
    """Unsubscribe a handler that works on frames, and let it finish."""
    async with running(under_test, 2) as (_, (receiver, sender)):
        worker = Worker()
        subscription = await listen(receiver, "kit.working", worker)
        await send(sender, "kit.working", b"1", b"2")
        begun = len(await worker.until(1))
        await bounded("unsubscribe() beside work", subscription.unsubscribe())
        await worker.finished(begun)
