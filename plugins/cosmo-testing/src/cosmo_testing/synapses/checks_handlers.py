"""A handler that raises, is slow, or acts on the bus itself disturbs nobody."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Worker, listen, numbered, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_core.contracts.delivery import Subscription
    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.network import Network
    from cosmo_testing.synapses.subject import SynapseUnderTest

LAST: Final = b"last"


@REQUIREMENTS.proves("synapse:handler-loop")
async def check_handler_loop(under_test: SynapseUnderTest) -> None:
    """Note where a handler is called, and where its awaitable runs."""
    async with running(under_test, 2) as (_, (receiver, sender)):
        inbox, places = Inbox(), set[object]()
        expected = {(asyncio.get_running_loop(), threading.get_ident())}

        def note() -> None:
            places.add((asyncio.get_running_loop(), threading.get_ident()))

        async def later(frame: bytes) -> None:
            note()
            inbox(frame)

        def handle(frame: bytes) -> Awaitable[None]:
            note()
            return later(frame)

        await listen(receiver, "kit.loop", handle)
        await send(sender, "kit.loop", b"1")
        await inbox.until(1)
        need(
            places == expected, "the handler was called in another event loop or thread than its subscriber's"
        )


@REQUIREMENTS.proves("synapse:handler-raises")
async def check_handler_raises(under_test: SynapseUnderTest) -> None:
    """Let handlers raise at once and later, before and after others of the same subject."""

    def at_once(frame: bytes) -> None:
        raise RuntimeError("a handler of the conformance kit raises on purpose")

    async def later(frame: bytes) -> None:
        await asyncio.sleep(0)
        at_once(frame)

    async with running(under_test, 2) as (network, (receiver, sender)):
        inboxes, frames = [Inbox(), Inbox(), Inbox()], numbered(20)
        await listen(receiver, "kit.raise", inboxes[0])
        await listen(receiver, "kit.raise", at_once)
        await listen(receiver, "kit.raise", inboxes[1])
        await listen(sender, "kit.raise", later)
        await listen(sender, "kit.raise", inboxes[2])
        await send(sender, "kit.raise", *frames)
        for inbox in inboxes:
            await inbox.until(len(frames))
        await network.settle()
        for inbox in inboxes:
            need(inbox.frames == frames, f"beside it, {len(inbox.frames)} of {len(frames)} frames came")


@REQUIREMENTS.proves("synapse:handler-publishes")
async def check_handler_publishes(under_test: SynapseUnderTest) -> None:
    """Answer every frame from inside its handler."""
    async with running(under_test, 2) as (_, (here, there)):
        inbox = Inbox()

        async def answer(frame: bytes) -> None:
            await there.publish("kit.answer", b"re: " + frame)

        await listen(there, "kit.ask", answer)
        await listen(here, "kit.answer", inbox)
        for number, frame in enumerate(numbered(50)):
            await send(here, "kit.ask", frame)
            await inbox.until(number + 1)
        need(sorted(inbox.frames) == sorted(numbered(50, "re: ")), "other answers came than were given")


@REQUIREMENTS.proves("synapse:handler-unsubscribes")
async def check_handler_unsubscribes(under_test: SynapseUnderTest) -> None:
    """Unsubscribe from inside the handler that is called."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        inbox, witness, subscriptions = Inbox(), Inbox(), list["Subscription"]()

        async def once(frame: bytes) -> None:
            await subscriptions[0].unsubscribe()
            inbox(frame)

        subscriptions.append(await listen(receiver, "kit.last", once))
        await listen(receiver, "kit.last", witness)
        await send(sender, "kit.last", b"1")
        await inbox.until(1)
        await send(sender, "kit.last", b"2")
        await witness.until(2)
        await network.settle()
        need(inbox.frames == [b"1"], f"it unsubscribed at the first frame, and got {inbox.frames}")


@REQUIREMENTS.proves("synapse:slow-bounded")
async def check_slow_bounded(under_test: SynapseUnderTest) -> None:
    """Publish more than a stuck handler has room for."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        worker, frames, room = Worker(), numbered(under_test.room + 100), under_test.room
        await listen(receiver, "kit.stuck", worker)
        await bounded("publishing to a handler that is stuck", send(sender, "kit.stuck", *frames))
        await network.settle()
        need(worker.most <= room, f"the handler worked on {worker.most} frames at once, with room for {room}")
        await _drain(network, worker, sender)
        kept = len(worker.done) - 1
        need(kept <= room, f"{kept} of {len(frames)} frames were kept, with room for {room}")


@REQUIREMENTS.proves("synapse:slow-counted")
async def check_slow_counted(under_test: SynapseUnderTest) -> None:
    """Count what a stuck handler gets in the end, and what was dropped."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        worker, frames = Worker(), numbered(under_test.room + 100)
        subscription = await listen(receiver, "kit.stuck", worker)
        await bounded("publishing to a handler that is stuck", send(sender, "kit.stuck", *frames))
        await _drain(network, worker, sender)
        handled, dropped, sent = len(worker.done), subscription.dropped, len(frames) + 1
        need(
            handled + dropped == sent,
            f"{sent} were sent, {handled} handled, and {dropped} counted as dropped",
        )
        came = iter([*frames, LAST])
        in_order = sender.guarantees.ordering == "none" or all(frame in came for frame in worker.done)
        need(in_order, "what was handled was not in the order it was sent in")


async def _drain(network: Network, worker: Worker, sender: Synapse) -> None:
    """Let a stuck handler finish what it has room for, and one more frame."""
    await worker.until(1)
    await network.settle()
    worker.gate.set()
    await network.until("draining", lambda: len(worker.done) == len(worker.frames))
    await network.settle()
    # It has room again: this frame pushes nothing out, and behind it everything else has come.
    await send(sender, "kit.stuck", LAST)
    await network.until("the frame after the flood", lambda: LAST in worker.done)
    await network.settle()


@REQUIREMENTS.proves("synapse:slow-others")
async def check_slow_others(under_test: SynapseUnderTest) -> None:
    """Let one handler be stuck beside two that are not, one of them on the same peer."""
    async with running(under_test, 3) as (network, (receiver, other, sender)):
        inboxes, frames = [Inbox(), Inbox()], numbered(under_test.room + 100)
        await listen(receiver, "kit.slow", Worker())
        await listen(receiver, "kit.slow", inboxes[0])
        await listen(other, "kit.slow", inboxes[1])
        await send(sender, "kit.slow", *frames)
        for inbox in inboxes:
            await inbox.until(len(frames))
        await network.settle()
        for inbox in inboxes:
            need(
                sorted(inbox.frames) == sorted(frames),
                f"beside it, {len(inbox.frames)} of {len(frames)} came",
            )
