"""Members of a queue group share its frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Worker, listen, numbered, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.synapses.network import Network
    from cosmo_testing.synapses.subject import SynapseUnderTest

SHARED: Final = 300
"""How many frames the members of a queue group share."""


class Share(Inbox):
    """One member's inbox; every member of the group writes into the same list, too."""

    def __init__(self, everyone: Inbox) -> None:
        super().__init__()
        self._everyone = everyone

    def note(self, frame: bytes) -> None:
        """Keep a frame here and with all others."""
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


@REQUIREMENTS.proves("synapse:group-one")
async def check_group_one(under_test: SynapseUnderTest) -> None:
    """Let three members on two peers share frames."""
    async with running(under_test, 3) as (network, (one, two, sender)):
        group = Inbox()
        for peer in (one, one, two):
            await listen(peer, "kit.group", Share(group), "g")
        await send(sender, "kit.group", *numbered(SHARED))
        await _need_once(network, group, numbered(SHARED))


@REQUIREMENTS.proves("synapse:group-fair")
async def check_group_fair(under_test: SynapseUnderTest) -> None:
    """See that none of three members on three peers goes without."""
    async with running(under_test, 4) as (_, (sender, *members)):
        group = Inbox()
        shares = [Share(group) for _ in members]
        for peer, share in zip(members, shares, strict=True):
            await listen(peer, "kit.fair", share, "g")
        await send(sender, "kit.fair", *numbered(SHARED))
        await group.until(SHARED)
        sizes = [len(share.frames) for share in shares]
        need(min(sizes) >= SHARED // 30, f"of {SHARED} frames the members got {sizes}")


@REQUIREMENTS.proves("synapse:group-beside-plain")
async def check_group_beside_plain(under_test: SynapseUnderTest) -> None:
    """Let a queue group and plain subscribers listen to one subject."""
    async with running(under_test, 3) as (network, (one, two, sender)):
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


@REQUIREMENTS.proves("synapse:group-each")
async def check_group_each(under_test: SynapseUnderTest) -> None:
    """Let two queue groups listen to one subject."""
    async with running(under_test, 3) as (network, (one, two, sender)):
        groups = {"g": Inbox(), "h": Inbox()}
        for name, group in groups.items():
            for peer in (one, two):
                await listen(peer, "kit.groups", Share(group), name)
        await send(sender, "kit.groups", *numbered(30))
        for group in groups.values():
            await _need_once(network, group, numbered(30))


@REQUIREMENTS.proves("synapse:group-patterns")
async def check_group_patterns(under_test: SynapseUnderTest) -> None:
    """Let members of one queue group listen to different patterns that match the same subject."""
    async with running(under_test, 3) as (network, (one, two, sender)):
        group = Inbox()
        for peer, pattern in ((one, "kit.mixed.x"), (two, "kit.mixed.*"), (one, "kit.mixed.>")):
            await listen(peer, pattern, Share(group), "g")
        await send(sender, "kit.mixed.x", *numbered(30))
        await _need_once(network, group, numbered(30))


@REQUIREMENTS.proves("synapse:group-leaving")
async def check_group_leaving(under_test: SynapseUnderTest) -> None:
    """End one membership, close another peer, and publish to who is left."""
    async with running(under_test, 4) as (network, (one, two, three, sender)):
        gone, left, frames = Inbox(), Inbox(), numbered(30)
        ended = await listen(one, "kit.leave", gone, "g")
        await listen(two, "kit.leave", gone, "g")
        await listen(three, "kit.leave", left, "g")
        await bounded("unsubscribe()", ended.unsubscribe())
        await network.close(two)
        await send(sender, "kit.leave", *frames)
        await _need_once(network, left, frames)
        need(not gone.frames, f"members that left got {len(gone.frames)} frames")


@REQUIREMENTS.proves("synapse:group-holds-back")
async def check_group_holds_back(under_test: SynapseUnderTest) -> None:
    """Publish more than a group of one stuck member has room for; then let it work."""
    async with running(under_test, 3) as (network, (sender, receiver, _)):
        worker, frames = Worker(), numbered(2 * under_test.room + 10)
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
                f"all of {len(frames)} frames were taken, with room for {under_test.room}",
            )
            await worker.finished(len(frames))
            await bounded("publishing to a group that has room again", publishing)
        finally:
            publishing.cancel()
        need(
            sorted(worker.done) == sorted(frames),
            f"{len(frames)} frames were sent, {len(worker.done)} handled",
        )
