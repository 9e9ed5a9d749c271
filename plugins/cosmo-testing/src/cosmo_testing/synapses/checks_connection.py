"""A Synapse connects and closes as often as it is told, and leaves nothing."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.delivery import Guarantees
from cosmo_core.contracts.synapse import DeadLetters, Synapse
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.leftovers import leftovers
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Worker, listen, numbered, refusal, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.synapses.subject import SynapseUnderTest

LINGER_S: Final = 1.0
"""For how long the tasks of a Synapse that was closed may take to end."""


@REQUIREMENTS.proves("synapse:shape")
async def check_shape(under_test: SynapseUnderTest) -> None:
    """Look at what a Synapse has, and at what it promises."""
    async with running(under_test, 1) as (_, (synapse,)):
        need(isinstance(synapse, Synapse), f"{type(synapse).__name__} lacks a method of the contract")
        claimed = synapse.guarantees
        need(isinstance(claimed, Guarantees), f"guarantees is a {type(claimed).__name__}, not Guarantees")
        need(claimed.max_frame >= 1, f"max_frame is {claimed.max_frame}")
        need(claimed.max_deliveries >= 1, f"max_deliveries is {claimed.max_deliveries}")
        again = claimed.max_deliveries > 1
        need(
            not again or isinstance(synapse, DeadLetters), "max_deliveries is above 1 without dead_letters()"
        )
        need(
            claimed.delivery == "at-least-once" or not (again or claimed.durable),
            'what is durable, or delivered more than once, is "at-least-once"',
        )


@REQUIREMENTS.proves("synapse:connect-twice")
async def check_connect_twice(under_test: SynapseUnderTest) -> None:
    """Connect what is connected, and see that its subscription lives once."""
    async with running(under_test, 2) as (network, (here, there)):
        inbox = Inbox()
        await listen(here, "kit.twice", inbox)
        await bounded("the second connect()", here.connect())
        await send(there, "kit.twice", b"1")
        await send(here, "kit.twice", b"2")
        await inbox.until(2)
        await network.settle()
        need(sorted(inbox.frames) == [b"1", b"2"], f"sent were 1 and 2, and {inbox.frames} came")


@REQUIREMENTS.proves("synapse:close-twice")
async def check_close_twice(under_test: SynapseUnderTest) -> None:
    """Close twice, and unsubscribe afterwards."""
    async with running(under_test, 1) as (network, (synapse,)):
        subscription = await listen(synapse, "kit.close", Inbox())
        await network.close(synapse)
        await bounded("the second close()", synapse.close())
        await bounded("unsubscribe() on a closed Synapse", subscription.unsubscribe())


@REQUIREMENTS.proves("synapse:publish-closed")
async def check_publish_closed(under_test: SynapseUnderTest) -> None:
    """Publish on a closed Synapse."""
    async with running(under_test, 1) as (network, (synapse,)):
        await network.close(synapse)
        _need_closed(await refusal(synapse.publish("kit.closed", b"1")), "publish")


@REQUIREMENTS.proves("synapse:subscribe-closed")
async def check_subscribe_closed(under_test: SynapseUnderTest) -> None:
    """Subscribe on a closed Synapse."""
    async with running(under_test, 1) as (network, (synapse,)):
        await network.close(synapse)
        _need_closed(await refusal(synapse.subscribe("kit.closed", Inbox())), "subscribe")


def _need_closed(error: Exception | None, what: str) -> None:
    need(
        isinstance(error, SynapseClosedError),
        f"{what} on a closed Synapse ended in {error!r}, not in a SynapseClosedError",
    )


@REQUIREMENTS.proves("synapse:connect-again")
async def check_connect_again(under_test: SynapseUnderTest) -> None:
    """Connect what was closed."""
    async with running(under_test, 2) as (network, (synapse, other)):
        before, after = Inbox(), Inbox()
        await listen(synapse, "kit.again", before)
        await network.close(synapse)
        try:
            await bounded("connect() after close()", synapse.connect())
        except SynapseError:
            _need_closed(await refusal(synapse.publish("kit.again", b"1")), "publish")
            return
        try:
            await listen(synapse, "kit.again", after)
            await send(other, "kit.again", b"1")
            await send(synapse, "kit.again", b"2")
            await after.until(2)
            need(not before.frames, f"a handler from before close() got {before.frames}")
        finally:
            await bounded("close()", synapse.close())


@REQUIREMENTS.proves("synapse:close-ends-deliveries")
async def check_close_ends_deliveries(under_test: SynapseUnderTest) -> None:
    """Publish what a closed Synapse had subscribed to."""
    async with running(under_test, 3) as (network, (leaving, staying, sender)):
        gone, there = Inbox(), Inbox()
        await listen(leaving, "kit.gone", gone)
        await listen(staying, "kit.gone", there)
        await send(sender, "kit.gone", b"before")
        await gone.until(1)
        await network.close(leaving)
        await send(sender, "kit.gone", *numbered(10))
        await there.until(11)
        await network.settle()
        need(gone.frames == [b"before"], f"after close() it got {gone.frames[1:]}")


@REQUIREMENTS.proves("synapse:close-leaves-nothing")
async def check_close_leaves_nothing(under_test: SynapseUnderTest) -> None:
    """Compare what runs and what is open before a Synapse connects and after it closed."""
    async with running(under_test, 1) as (network, (sender,)):
        before = asyncio.all_tasks()
        with leftovers() as found:
            synapse = await network.peer()
            worker, inbox = Worker(), Inbox()
            await listen(synapse, "kit.left", worker)
            await listen(synapse, "kit.left", inbox)
            await send(sender, "kit.left", *numbered(3))
            await send(synapse, "kit.left", *numbered(3))
            await inbox.until(6)
            await worker.until(1)
            await network.close(synapse)
            del synapse
            left = asyncio.all_tasks() - before
            if left:
                _, left = await asyncio.wait(left, timeout=LINGER_S)
            need(not left, f"after close() {len(left)} tasks still run: {sorted(map(repr, left))}")
        need(not found, f"after close() there is left: {', '.join(found)}")


@REQUIREMENTS.proves("synapse:close-others")
async def check_close_others(under_test: SynapseUnderTest) -> None:
    """Close one peer while frames are on their way to it and to another."""
    async with running(under_test, 3) as (network, (leaving, staying, sender)):
        inbox, frames = Inbox(), numbered(200)
        await listen(leaving, "kit.flight", Worker())
        await listen(staying, "kit.flight", inbox)
        sending = asyncio.ensure_future(send(sender, "kit.flight", *frames))
        try:
            await inbox.until(20)
            await network.close(leaving)
            await bounded("publishing while a peer closes", sending)
        finally:
            sending.cancel()
        frames += numbered(20, "after")
        await send(sender, "kit.flight", *frames[-20:])
        await inbox.until(len(frames))
        need(sorted(inbox.frames) == sorted(frames), "the peer that stayed got other frames than were sent")


@REQUIREMENTS.proves("synapse:secrets")
async def check_secrets(under_test: SynapseUnderTest) -> None:
    """Look for secrets in a Synapse's repr, connected and closed, and in every error it raises."""
    async with running(under_test, 1) as (network, (synapse,)):
        texts = [repr(synapse)]
        large = bytes(synapse.guarantees.max_frame + 1)
        errors = [
            await refusal(synapse.publish("no subject", b"")),
            await refusal(synapse.publish("kit", large)),
        ]
        errors.append(await refusal(synapse.subscribe("no.>.pattern", Inbox())))
        need(isinstance(errors[1], FrameTooLargeError), f"a frame that is too large ended in {errors[1]!r}")
        await network.close(synapse)
        errors.append(await refusal(synapse.publish("kit", b"")))
        errors.append(await refusal(synapse.subscribe("kit", Inbox())))
        texts += [repr(synapse), *("".join(traceback.format_exception(each)) for each in errors if each)]
        for number, secret in enumerate(under_test.secrets):
            if any(secret in text for text in texts):
                # Which one it is would be a secret in a log.
                raise UnmetError(f"secrets[{number}] is in its repr or in an error")
