"""Requirements on broken connections, crashed servers and congested peers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from cosmo_core.contracts.synapse import Synapse
from cosmo_core.errors import SynapseError
from cosmo_testing.conformance.steps import UnmetError, bounded, need
from cosmo_testing.synapses.checks.groups import ask
from cosmo_testing.synapses.checks.redelivery import SLACK_S, within
from cosmo_testing.synapses.network import (
    Inbox,
    Network,
    Reports,
    Worker,
    for_peers,
    listen,
    numbered,
    send,
)
from cosmo_testing.synapses.subject import CONGEST, QUEUE_GROUPS, RESTART, SEVER, TAKEOVER

PROBE: Final = b"probe"
TRY_S: Final = 0.05
"""Seconds to wait for a frame before the next one is sent."""
QUIET_S: Final = 0.5
"""Seconds after `takeover_s` in which a frame must not be reported as lost."""


async def _recovered(sender: Synapse, subject: str, inbox: Inbox, limit_s: float) -> None:
    """Publish until a frame arrives; frames before it may be lost."""

    async def probe() -> None:
        inbox.frames.clear()
        while not inbox.frames:
            try:
                await sender.publish(subject, PROBE)
                await inbox.until(1, TRY_S)
            except SynapseError:
                # Not reachable yet. The recovery may need other tasks to run.
                await asyncio.sleep(TRY_S)
            except UnmetError:
                continue

    await bounded(f"the recovery of {subject}", probe(), limit_s)


async def _works(sender: Synapse, receiver: Synapse, inboxes: dict[str, Inbox], limit_s: float) -> None:
    """Check that each subscription exists, and gets every frame after the recovery."""
    for subject, inbox in inboxes.items():
        await _recovered(sender, subject, inbox, limit_s)
    fresh = Inbox()
    await listen(receiver, "kit.fresh", fresh)
    for subject, inbox in {**inboxes, "kit.fresh": fresh}.items():
        await _all_arrive(sender, subject, inbox)


async def _all_arrive(sender: Synapse, subject: str, inbox: Inbox) -> None:
    frames = numbered(20, "after")
    await send(sender, subject, *frames)
    await bounded(f"20 frames on {subject}", inbox.when(lambda: frames[-1] in inbox.frames))
    came = [frame for frame in inbox.frames if frame != PROBE]
    need(sorted(came) == sorted(frames), f"of 20 frames on {subject}, {len(came)} came")


async def _inboxes(receiver: Synapse) -> dict[str, Inbox]:
    inboxes = {"kit.plain": Inbox(), "kit.wild.x": Inbox(), "kit.group": Inbox()}
    await listen(receiver, "kit.plain", inboxes["kit.plain"])
    await listen(receiver, "kit.wild.*", inboxes["kit.wild.x"])
    if receiver.guarantees.queue_groups:
        await listen(receiver, "kit.group", inboxes["kit.group"], "g")
    else:
        del inboxes["kit.group"]
    return inboxes


@for_peers(
    "synapse:sever-recovers",
    "Subscriptions and publishing MUST recover from a broken connection.",
    when=[SEVER],
)
async def check_sever_recovers(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Break the connection of the receiver, then of the sender."""
    inboxes = await _inboxes(receiver)
    for severed in (receiver, sender):
        await bounded("sever()", network.under_test.sever(severed))
        for inbox in inboxes.values():
            inbox.frames.clear()
        await _works(sender, receiver, inboxes, network.under_test.recovery_s)


@for_peers(
    "synapse:sever-takeover",
    "A severed member MUST finish its frames, or another member MUST get them within `takeover_s`.",
    when=[SEVER, TAKEOVER, QUEUE_GROUPS],
)
async def check_sever_takeover(network: Network, sender: Synapse, severed: Synapse, staying: Synapse) -> None:
    """Break the connection of a member that is processing frames; then let it finish."""
    reports, worker, other, frames = Reports(), Worker(), Inbox(), numbered(3)
    await listen(severed, "kit.severed", worker, "g")
    await ask(sender, "kit.severed", reports, *frames)
    await worker.until(len(frames))
    await listen(staying, "kit.severed", other, "g")
    await bounded("sever()", network.under_test.sever(severed))
    worker.gate.set()

    def lost() -> set[bytes]:
        return {*frames} - {*worker.done, *other.frames}

    await reports.nothing(within(sender, QUIET_S))
    with suppress(UnmetError):
        await bounded("", network.until("", lambda: not lost()), SLACK_S - QUIET_S)
    need(not lost(), f"the severed member had {frames}, and no member finished {sorted(lost())}")


@for_peers(
    "synapse:restart-recovers",
    "Subscriptions and publishing MUST recover from a crash and restart of the server.",
    when=[RESTART],
)
async def check_restart_recovers(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Kill and restart the server while two peers are connected."""
    inboxes = await _inboxes(receiver)
    await bounded("restart()", network.under_test.restart())
    await _works(sender, receiver, inboxes, network.under_test.recovery_s)
    if sender.guarantees.queue_groups:
        reports, group = Reports(), inboxes["kit.group"]
        group.frames.clear()
        await ask(sender, "kit.group", reports, *numbered(20))
        await group.until(20)
        await network.settle()
        need(not reports.reasons, f"20 frames were handled, and undelivered got {reports.reasons[:3]}")


@for_peers("synapse:congest-others", "A congested peer MUST NOT block another peer.", when=[CONGEST])
async def check_congest_others(network: Network, congested: Synapse, other: Synapse, sender: Synapse) -> None:
    """Publish to a congested peer and to another one; then end the congestion."""
    slow, prompt, frames = Inbox(), Inbox(), numbered(network.under_test.capacity + 100)
    subscription = await listen(congested, "kit.congested", slow)
    await listen(other, "kit.congested", prompt)
    async with network.under_test.congest(congested):
        await bounded("publishing beside a congested peer", send(sender, "kit.congested", *frames))
        await prompt.until(len(frames))
    await network.until(
        "counting the frames of a congested peer",
        lambda: len(slow.frames) + subscription.dropped >= len(frames),
    )
    await network.settle()
    came, dropped = len(slow.frames), subscription.dropped
    need(came + dropped == len(frames), f"{len(frames)} were sent, {came} came, and {dropped} were dropped")
    need(sorted(prompt.frames) == sorted(frames), "the other peer got other frames than were sent")
