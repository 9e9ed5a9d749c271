"""Requirements on subscriptions and their handlers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Final

from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.synapse import Synapse
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import bounded, need
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
from cosmo_testing.synapses.subject import SynapseUnderTest

CONFIRMATIONS: Final = 100
"""The number of publishes directly after a subscribe."""
MANY: Final = 1000
"""The number of subscriptions of the load check."""


@for_peers(
    "synapse:subscribe-confirmed",
    "A frame that is published after `subscribe` returned MUST arrive.",
)
async def check_subscribe_confirmed(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Subscribe, and publish at once from another peer, many times, each on another subject."""
    inboxes = [Inbox() for _ in range(CONFIRMATIONS)]
    for number, inbox in enumerate(inboxes):
        await listen(receiver, f"kit.confirmed.{number}", inbox)
        await send(sender, f"kit.confirmed.{number}", b"first")
    for number, inbox in enumerate(inboxes):
        await inbox.until(1)
        need(inbox.frames == [b"first"], f"subscription {number} got {inbox.frames}")


@for_peers(
    "synapse:subscribe-many",
    "A thousand subscriptions MUST work, and leave nothing behind when they end.",
)
async def check_subscribe_many(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Make many subscriptions, publish to each, and end all."""
    tasks, inbox = asyncio.all_tasks(), Inbox()
    subscriptions = [await listen(receiver, f"kit.many.{n}", inbox) for n in range(MANY)]
    for number in range(MANY):
        await send(sender, f"kit.many.{number}", b"%d" % number)
    await inbox.until(MANY)
    need(sorted(inbox.frames) == sorted(numbered(MANY)), "a subscription got the frame of another one")
    for subscription in subscriptions:
        await bounded("unsubscribe()", subscription.unsubscribe())
    inbox.frames.clear()
    for number in range(0, MANY, 100):
        await send(sender, f"kit.many.{number}", b"late")
    await network.settle()
    need(not inbox.frames, f"{len(inbox.frames)} ended subscriptions got a frame")
    # Some may serve the connection, but not one per ended subscription.
    left = asyncio.all_tasks() - tasks
    need(len(left) < MANY // 100, f"{len(left)} tasks were left by {MANY} subscriptions")


@for_peers(
    "synapse:subscribe-same",
    "A handler that is subscribed twice MUST be called twice for each frame.",
)
async def check_subscribe_same(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Subscribe one handler twice to one subject, and end one subscription."""
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


@for_peers("synapse:unsubscribe", "A frame MUST NOT be delivered after `unsubscribe` returned.")
async def check_unsubscribe(network: Network, receiver: Synapse, other: Synapse, sender: Synapse) -> None:
    """Unsubscribe while frames arrive, and publish more."""
    inbox, witness, frames = Inbox(), Inbox(), numbered(100)
    subscription = await listen(receiver, "kit.end", inbox)
    await listen(other, "kit.end", witness)
    sending = asyncio.ensure_future(send(sender, "kit.end", *frames))
    try:
        await inbox.until(10)
        await bounded("unsubscribe()", subscription.unsubscribe())
        # Earlier frames may still be delivered; frames from now on must not be.
        await bounded("publish()", sending)
    finally:
        sending.cancel()
    await send(sender, "kit.end", b"late")
    await witness.until(len(frames) + 1)
    await network.settle()
    need(b"late" not in inbox.frames, "a frame that was published after unsubscribe returned came")


@for_peers("synapse:unsubscribe-twice", "A second `unsubscribe` MUST NOT be an error.")
async def check_unsubscribe_twice(network: Network, synapse: Synapse) -> None:
    """Unsubscribe twice, beside another active subscription."""
    subscription, inbox = await listen(synapse, "kit.end", Inbox()), Inbox()
    await listen(synapse, "kit.end", inbox)
    await bounded("unsubscribe()", subscription.unsubscribe())
    await bounded("the second unsubscribe()", subscription.unsubscribe())
    await send(synapse, "kit.end", b"1")
    await inbox.until(1)


@requirement(
    "synapse:unsubscribe-others",
    "`unsubscribe` MUST NOT affect other subscriptions to the subject.",
)
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


@for_peers(
    "synapse:unsubscribe-working",
    "`unsubscribe` MUST NOT interrupt a handler that is processing a frame.",
)
async def check_unsubscribe_working(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Unsubscribe a handler that is processing frames, and let it finish."""
    worker = Worker()
    subscription = await listen(receiver, "kit.working", worker)
    await send(sender, "kit.working", b"1", b"2")
    begun = len(await worker.until(1))
    await bounded("unsubscribe() beside work", subscription.unsubscribe())
    await worker.finished(begun)


LAST: Final = b"last"


@for_peers("synapse:handler-loop", "A handler MUST be called in the event loop of its subscriber.")
async def check_handler_loop(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Record the event loop of a handler and of its awaitable."""
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
    need(places == expected, "the handler was called in another event loop or thread than its subscriber's")


@for_peers(
    "synapse:handler-raises",
    "A handler that raises, at once or in its awaitable, MUST NOT affect another handler or the publisher.",
)
async def check_handler_raises(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Let handlers raise, at once and later, beside other handlers of the same subject."""

    def at_once(frame: bytes) -> None:
        raise RuntimeError("a handler of the conformance kit raises on purpose")

    async def later(frame: bytes) -> None:
        await asyncio.sleep(0)
        at_once(frame)

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


@for_peers("synapse:handler-publishes", "A handler MUST be able to publish.")
async def check_handler_publishes(network: Network, here: Synapse, there: Synapse) -> None:
    """Answer every frame from inside its handler."""
    inbox = Inbox()

    async def answer(frame: bytes) -> None:
        await there.publish("kit.answer", b"re: " + frame)

    await listen(there, "kit.ask", answer)
    await listen(here, "kit.answer", inbox)
    for number, frame in enumerate(numbered(50)):
        await send(here, "kit.ask", frame)
        await inbox.until(number + 1)
    need(
        sorted(inbox.frames) == sorted(numbered(50, "re: ")),
        "the received answers are not those that were sent",
    )


@for_peers("synapse:handler-unsubscribes", "A handler MUST be able to end its own subscription.")
async def check_handler_unsubscribes(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Unsubscribe inside a handler."""
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


@for_peers(
    "synapse:slow-bounded",
    "The backlog of a slow handler MUST be bounded, and MUST NOT block its publisher.",
)
async def check_slow_bounded(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Publish more than the capacity of a stuck handler."""
    capacity = network.under_test.capacity
    worker, frames = Worker(), numbered(capacity + 100)
    await listen(receiver, "kit.stuck", worker)
    await bounded("publishing to a handler that is stuck", send(sender, "kit.stuck", *frames))
    await network.settle()
    need(
        worker.most <= capacity,
        f"the handler had {worker.most} frames at once, with a capacity of {capacity}",
    )
    await _drain(network, worker, sender)
    kept = len(worker.done) - 1
    need(kept <= capacity, f"{kept} of {len(frames)} frames were kept, with a capacity of {capacity}")


@for_peers("synapse:slow-counted", "Frames handled plus frames counted as dropped MUST equal frames sent.")
async def check_slow_counted(network: Network, receiver: Synapse, sender: Synapse) -> None:
    """Count the handled and the dropped frames of a stuck handler."""
    worker, frames = Worker(), numbered(network.under_test.capacity + 100)
    subscription = await listen(receiver, "kit.stuck", worker)
    await bounded("publishing to a handler that is stuck", send(sender, "kit.stuck", *frames))
    await _drain(network, worker, sender)
    handled, dropped, sent = len(worker.done), subscription.dropped, len(frames) + 1
    need(handled + dropped == sent, f"{sent} were sent, {handled} handled, and {dropped} counted as dropped")
    came = iter([*frames, LAST])
    in_order = sender.guarantees.ordering == "none" or all(frame in came for frame in worker.done)
    need(in_order, "the frames were not handled in the order in which they were sent")


async def _drain(network: Network, worker: Worker, sender: Synapse) -> None:
    """Let a stuck handler finish its backlog and one more frame."""
    await worker.until(1)
    await network.settle()
    worker.gate.set()
    await network.until("draining", lambda: len(worker.done) == len(worker.frames))
    await network.settle()
    # It has free capacity: this frame drops no other, and arrives after all others.
    await send(sender, "kit.stuck", LAST)
    await network.until("the frame after the flood", lambda: LAST in worker.done)
    await network.settle()


@for_peers("synapse:slow-others", "A slow handler MUST NOT cause the loss of a frame for another handler.")
async def check_slow_others(network: Network, receiver: Synapse, other: Synapse, sender: Synapse) -> None:
    """Publish to a stuck handler and to two others, one of them on the same peer."""
    inboxes, frames = [Inbox(), Inbox()], numbered(network.under_test.capacity + 100)
    await listen(receiver, "kit.slow", Worker())
    await listen(receiver, "kit.slow", inboxes[0])
    await listen(other, "kit.slow", inboxes[1])
    await send(sender, "kit.slow", *frames)
    for inbox in inboxes:
        await inbox.until(len(frames))
    await network.settle()
    for inbox in inboxes:
        need(sorted(inbox.frames) == sorted(frames), f"beside it, {len(inbox.frames)} of {len(frames)} came")
