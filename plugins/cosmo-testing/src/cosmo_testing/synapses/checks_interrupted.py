"""Whoever cancels leaves a Synapse that works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, Worker, listen, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from cosmo_testing.synapses.subject import SynapseUnderTest

TURNS: Final = 8
"""After how many turns of the event loop a step is cancelled, at most."""
STUCK_S: Final = 2.0
"""For how long a step may go on that was cancelled."""


async def _cancelled_after(turns: int, step: Coroutine[Any, Any, object], what: str) -> bool:
    """Cancel a step after some turns; tell whether there was time to."""
    task = asyncio.ensure_future(step)
    for _ in range(turns):
        await asyncio.sleep(0)
    in_time = task.cancel()
    done, _ = await asyncio.wait([task], timeout=STUCK_S)
    need(bool(done), f"{what} that was cancelled goes on")
    if in_time:
        need(
            task.cancelled(),
            f"{what} was cancelled, and did not end as cancelled: CancelledError was swallowed",
        )
    else:
        task.result()
    return in_time


@REQUIREMENTS.proves("synapse:cancel-publish")
async def check_cancel_publish(under_test: SynapseUnderTest) -> None:
    """Cancel publishes: early and late, and one that waits for a full queue group."""
    async with running(under_test, 2) as (_, (sender, receiver)):
        inbox = Inbox()
        await listen(receiver, "kit.cancel", inbox)
        for turns in range(TURNS):
            await _cancelled_after(turns, sender.publish("kit.cancel", b"cancelled"), "a publish")
        if sender.guarantees.queue_groups:
            worker = Worker()
            await listen(receiver, "kit.stuck", worker, "g")

            async def fill() -> None:
                for _ in range(4 * under_test.room):
                    await sender.publish("kit.stuck", b"1")

            filling = asyncio.ensure_future(fill())
            await worker.until(1)
            await _cancelled_after(TURNS * under_test.room, _waiting(filling), "a publish to a full group")
        await send(sender, "kit.cancel", b"after")
        await bounded("a publish after those", inbox.when(lambda: b"after" in inbox.frames))


async def _waiting(publishing: asyncio.Future[None]) -> None:
    await publishing


@REQUIREMENTS.proves("synapse:cancel-subscribe")
async def check_cancel_subscribe(under_test: SynapseUnderTest) -> None:
    """Cancel subscribes, early and late; what was cancelled gets nothing."""
    async with running(under_test, 2) as (network, (receiver, sender)):
        cancelled, inbox = Inbox(), Inbox()
        for turns in range(TURNS):
            handler = Inbox()
            if await _cancelled_after(turns, receiver.subscribe("kit.cancel", handler), "a subscribe"):
                handler.note = cancelled.note  # type: ignore[method-assign]
        await listen(receiver, "kit.cancel", inbox)
        await send(sender, "kit.cancel", b"after")
        await inbox.until(1)
        await network.settle()
        need(
            not cancelled.frames, f"{len(cancelled.frames)} subscriptions live whose subscribe was cancelled"
        )
