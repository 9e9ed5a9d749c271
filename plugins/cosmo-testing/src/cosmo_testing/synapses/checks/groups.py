"""Requirements on queue groups, and on reporting frames that no member took."""

from __future__ import annotations

import asyncio
from typing import Final

from cosmo_core.contracts.synapse import Synapse
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import (
    Inbox,
    Network,
    Reports,
    Worker,
    for_peers,
    listen,
    numbered,
    running,
    send,
)
from cosmo_testing.synapses.subject import NOT_DURABLE, QUEUE_GROUPS, SynapseUnderTest

SHARED: Final = 300
"""The number of frames that the members of a queue group share."""


class Share(Inbox):
    """The inbox of one member, which also records into a list that all members share."""

    def __init__(self, everyone: Inbox) -> None:
        super().__init__()
        self._everyone = everyone

    def note(self, frame: bytes) -> None:
        """Record a frame in both."""
        super().note(frame)
        self._everyone.note(frame)


async def _need_once(network: Network, group: Inbox, frames: list[bytes]) -> None:
    await group.until(len(frames))
    await network.settle()
    came = sorted(group.frames)
    need(
        came == sorted(frames),
        f"{len(frames)} frames went to the group, {len(came)} came, {len({*came})} different",
    )


@for_peers(
    "synapse:group-one",
    "Each frame MUST go to exactly one member of a queue group.",
    when=[QUEUE_GROUPS],
)
async def check_group_one(network: Network, one: Synapse, two: Synapse, sender: Synapse) -> None:
    """Publish to three members on two peers."""
    group = Inbox()
    for peer in (one, one, two):
        await listen(peer, "kit.group", Share(group), "g")
    await send(sender, "kit.group", *numbered(SHARED))
    await _need_once(network, group, numbered(SHARED))


@requirement(
    "synapse:group-fair",
    "Every member of a queue group MUST get some of the frames.",
    when=[QUEUE_GROUPS],
)
async def check_group_fair(under_test: SynapseUnderTest) -> None:
    """Publish to three members on three peers; check that each gets some frames."""
    async with running(under_test, 4) as (_, (sender, *members)):
        group = Inbox()
        shares = [Share(group) for _ in members]
        for peer, share in zip(members, shares, strict=True):
            await listen(peer, "kit.fair", share, "g")
        await send(sender, "kit.fair", *numbered(SHARED))
        await group.until(SHARED)
        sizes = [len(share.frames) for share in shares]
        need(min(sizes) >= SHARED // 30, f"of {SHARED} frames the members got {sizes}")


@for_peers(
    "synapse:group-beside-plain",
    "A queue group MUST NOT take frames from plain subscribers, nor they from it.",
    when=[QUEUE_GROUPS],
)
async def check_group_beside_plain(network: Network, one: Synapse, two: Synapse, sender: Synapse) -> None:
    """Publish on one subject to a queue group and to plain subscribers."""
    group, plain = Inbox(), [Inbox(), Inbox()]
    for peer, inbox in zip((one, two), plain, strict=True):
        await listen(peer, "kit.both", inbox)
        await listen(peer, "kit.both", Share(group), "g")
    frames = numbered(30)
    await send(sender, "kit.both", *frames)
    for inbox in plain:
        await inbox.until(len(frames))
    await _need_once(network, group, frames)
    for inbox in plain:
        need(
            sorted(inbox.frames) == sorted(frames),
            f"a plain subscriber got {len(inbox.frames)} of 30 frames",
        )


@for_peers(
    "synapse:group-each",
    "Each of two queue groups on a subject MUST get every frame.",
    when=[QUEUE_GROUPS],
)
async def check_group_each(network: Network, one: Synapse, two: Synapse, sender: Synapse) -> None:
    """Publish on one subject to two queue groups."""
    groups = {"g": Inbox(), "h": Inbox()}
    for name, group in groups.items():
        for peer in (one, two):
            await listen(peer, "kit.groups", Share(group), name)
    await send(sender, "kit.groups", *numbered(30))
    for group in groups.values():
        await _need_once(network, group, numbered(30))


@for_peers(
    "synapse:group-patterns",
    "Members of a queue group MUST share every frame that all of their patterns match.",
    when=[QUEUE_GROUPS],
)
async def check_group_patterns(network: Network, one: Synapse, two: Synapse, sender: Synapse) -> None:
    """Publish to members of one queue group whose different patterns match the same subject."""
    group = Inbox()
    for peer, pattern in ((one, "kit.mixed.x"), (two, "kit.mixed.*"), (one, "kit.mixed.>")):
        await listen(peer, pattern, Share(group), "g")
    await send(sender, "kit.mixed.x", *numbered(30))
    await _need_once(network, group, numbered(30))


@for_peers(
    "synapse:group-leaving",
    "A frame that is published after a member left MUST go to the remaining members.",
    when=[QUEUE_GROUPS],
)
async def check_group_leaving(
    network: Network, one: Synapse, two: Synapse, three: Synapse, sender: Synapse
) -> None:
    """End one membership, close another peer, and publish to the remaining members."""
    gone, left, frames = Inbox(), Inbox(), numbered(30)
    ended = await listen(one, "kit.leave", gone, "g")
    await listen(two, "kit.leave", gone, "g")
    await listen(three, "kit.leave", left, "g")
    await bounded("unsubscribe()", ended.unsubscribe())
    await network.close(two)
    await send(sender, "kit.leave", *frames)
    await _need_once(network, left, frames)
    need(not gone.frames, f"members that left got {len(gone.frames)} frames")


@for_peers(
    "synapse:group-holds-back",
    "A full queue group MUST block its publisher, and MUST NOT lose a frame.",
    when=[QUEUE_GROUPS],
)
async def check_group_holds_back(
    network: Network, sender: Synapse, receiver: Synapse, other: Synapse
) -> None:
    """Publish more than the capacity of a group with one stuck member; then let the member finish."""
    worker, frames = Worker(), numbered(2 * network.under_test.capacity + 10)
    await listen(receiver, "kit.full", worker, "g")
    sent: list[bytes] = []

    async def publish() -> None:
        for frame in frames:
            await sender.publish("kit.full", frame)
            sent.append(frame)

    publishing = asyncio.ensure_future(publish())
    try:
        await worker.until(1)
        before = -1
        while len(sent) > before:
            before = len(sent)
            await network.settle(rounds=5)
        need(
            not publishing.done(),
            f"all of {len(frames)} frames were accepted, with a capacity of {network.under_test.capacity}",
        )
        await worker.finished(len(frames))
        await bounded("publishing to a group with free capacity", publishing)
    finally:
        publishing.cancel()
    need(sorted(worker.done) == sorted(frames), f"{len(frames)} frames were sent, {len(worker.done)} handled")


async def ask(synapse: Synapse, subject: str, reports: Reports, *frames: bytes) -> None:
    """Publish frames for a queue group with an `undelivered` callback; no publish may wait."""
    for frame in frames:
        await bounded("publish(undelivered=…)", synapse.publish(subject, frame, undelivered=reports))


@for_peers(
    "synapse:undelivered-no-consumers",
    "`undelivered` MUST be called with `no_consumers` when there is no subscriber.",
    when=[NOT_DURABLE, QUEUE_GROUPS],
)
async def check_undelivered_no_consumers(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish without a subscriber, and after the last one has left."""
    reports = Reports()
    await ask(sender, "kit.empty", reports, *numbered(10))
    reasons = await reports.until(10)
    need({*reasons} == {"no_consumers"}, f"there is no subscriber, and undelivered got {sorted({*reasons})}")
    need(
        sorted(reports.inbox.frames) == numbered(10),
        f"10 frames were sent, and undelivered got {reports.inbox.frames}",
    )
    member = await listen(receiver, "kit.empty", Inbox(), "g")
    await bounded("unsubscribe()", member.unsubscribe())
    await ask(sender, "kit.empty", reports, b"after")
    need(
        (await reports.until(11))[10] == "no_consumers",
        f"the last member has left, and undelivered got {reasons[10]!r}",
    )


@for_peers(
    "synapse:undelivered-overloaded",
    "`undelivered` MUST be called with `overloaded` when every member is full; the publisher MUST NOT wait.",
    when=[QUEUE_GROUPS],
)
async def check_undelivered_overloaded(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish more than the capacity of a stuck member; then let the member finish."""
    reports, worker, frames = Reports(), Worker(), numbered(2 * network.under_test.capacity + 10)
    await listen(receiver, "kit.over", worker, "g")
    await ask(sender, "kit.over", reports, *frames)
    reasons = await reports.until(1)
    need({*reasons} == {"overloaded"}, f"every member is full, and undelivered got {sorted({*reasons})}")
    await network.settle()
    worker.gate.set()
    await network.until("draining", lambda: len(worker.done) + len(reports.inbox.frames) >= len(frames))
    await network.settle()
    need(
        sorted([*worker.done, *reports.inbox.frames]) == sorted(frames),
        f"{len(frames)} were sent, {len(worker.done)} handled and {len(reports.inbox.frames)} reported",
    )


@for_peers(
    "synapse:undelivered-once",
    "`undelivered` MUST be called in the event loop, and at most once per frame.",
    when=[QUEUE_GROUPS],
)
async def check_undelivered_once(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Count the calls for frames without a member or without capacity, and check their event loop."""
    reports, worker, frames = Reports(), Worker(), numbered(2 * network.under_test.capacity + 10)
    subscription = await listen(receiver, "kit.told", worker, "g")
    await ask(sender, "kit.told", reports, *frames)
    await reports.until(1)
    await network.settle()
    worker.gate.set()
    await worker.until(1)
    await network.settle()
    await bounded("unsubscribe()", subscription.unsubscribe())
    if not sender.guarantees.durable:
        await ask(sender, "kit.told", reports, b"last")
        await bounded("undelivered", reports.inbox.when(lambda: b"last" in reports.inbox.frames))
    await network.settle()
    twice = len(reports.inbox.frames) - len({*reports.inbox.frames})
    need(not twice, f"of {len(reports.inbox.frames)} calls, {twice} were for a frame that had been reported")
    need(not reports.outside, f"{len(reports.outside)} calls were made outside the event loop")


@for_peers(
    "synapse:undelivered-silent",
    "`undelivered` MUST NOT be called for a delivered frame.",
    when=[QUEUE_GROUPS],
)
async def check_undelivered_silent(network: Network, sender: Synapse, one: Synapse, two: Synapse) -> None:
    """Publish to members that handle every frame, at once or later, and to a plain subscriber."""
    reports, group, plain, frames = Reports(), Inbox(), Inbox(), numbered(100)

    async def later(frame: bytes) -> None:
        await asyncio.sleep(0)
        group(frame)

    await listen(one, "kit.silent", group, "g")
    await listen(two, "kit.silent", later, "g")
    for frame in frames:
        await ask(sender, "kit.silent", reports, frame)
        # One at a time: that is within any capacity.
        await group.until(int(frame) + 1)
    await listen(one, "kit.silent.plain", plain)
    await ask(sender, "kit.silent.plain", reports, b"1")
    await plain.until(1)
    await network.settle()
    need(not reports.reasons, f"all frames were handled, and undelivered got {reports.reasons[:3]}")
