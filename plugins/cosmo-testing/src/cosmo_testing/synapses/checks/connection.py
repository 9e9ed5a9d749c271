"""Requirements on connecting, closing and keeping secrets."""

from __future__ import annotations

import asyncio
import traceback
from typing import Final

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.delivery import Guarantees
from cosmo_core.contracts.synapse import DeadLetters, Synapse
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_testing import proxy
from cosmo_testing.conformance.leftovers import leftovers
from cosmo_testing.conformance.steps import UnmetError, bounded, need, refusal
from cosmo_testing.synapses.network import Inbox, Network, Worker, for_peers, listen, numbered, send
from cosmo_testing.synapses.subject import SECRETS

LINGER_S: Final = 5.0
"""Seconds that the tasks of a closed Synapse may take to end."""


@for_peers(
    "synapse:shape",
    "A Synapse MUST implement `Synapse`, with `Guarantees` that are consistent and that it can keep.",
)
async def check_shape(network: Network, synapse: Synapse) -> None:
    """Check the methods and the guarantees of a Synapse."""
    need(satisfies(synapse, Synapse), f"{type(synapse).__name__} lacks a method of the contract")
    claimed = synapse.guarantees
    need(isinstance(claimed, Guarantees), f"guarantees is a {type(claimed).__name__}, not Guarantees")
    need(claimed.max_frame >= 1, f"max_frame is {claimed.max_frame}")
    need(claimed.max_deliveries >= 1, f"max_deliveries is {claimed.max_deliveries}")
    again = claimed.max_deliveries > 1
    need(not again or satisfies(synapse, DeadLetters), "max_deliveries is above 1 without dead_letters()")
    need(
        claimed.delivery == "at-least-once" or not (again or claimed.durable),
        'durable, or max_deliveries above 1, needs delivery "at-least-once"',
    )


@for_peers(
    "synapse:connect-twice",
    "A second `connect` MUST NOT be an error, and MUST NOT duplicate a delivery.",
)
async def check_connect_twice(network: Network, here: Synapse, there: Synapse) -> None:
    """Connect twice, and check that its subscription exists once."""
    inbox = Inbox()
    await listen(here, "kit.twice", inbox)
    await bounded("the second connect()", here.connect())
    await send(there, "kit.twice", b"1")
    await send(here, "kit.twice", b"2")
    await inbox.until(2)
    await network.settle()
    need(sorted(inbox.frames) == [b"1", b"2"], f"1 and 2 were sent, and {inbox.frames} came")


@for_peers(
    "synapse:close-twice",
    "A second `close` MUST NOT be an error, nor MUST an `unsubscribe` after it.",
)
async def check_close_twice(network: Network, synapse: Synapse) -> None:
    """Close twice, and unsubscribe afterwards."""
    subscription = await listen(synapse, "kit.close", Inbox())
    await network.close(synapse)
    await bounded("the second close()", synapse.close())
    await bounded("unsubscribe() on a closed Synapse", subscription.unsubscribe())


@for_peers("synapse:publish-closed", "`publish` on a closed Synapse MUST raise a SynapseClosedError.")
async def check_publish_closed(network: Network, synapse: Synapse) -> None:
    """Publish on a closed Synapse."""
    await network.close(synapse)
    _need_closed(await refusal(synapse.publish("kit.closed", b"1")), "publish")


@for_peers("synapse:subscribe-closed", "`subscribe` on a closed Synapse MUST raise a SynapseClosedError.")
async def check_subscribe_closed(network: Network, synapse: Synapse) -> None:
    """Subscribe on a closed Synapse."""
    await network.close(synapse)
    _need_closed(await refusal(synapse.subscribe("kit.closed", Inbox())), "subscribe")


def _need_closed(error: Exception | None, what: str) -> None:
    need(
        isinstance(error, SynapseClosedError),
        f"{what} on a closed Synapse ended in {error!r}, not in a SynapseClosedError",
    )


@for_peers(
    "synapse:connect-again",
    "A closed Synapse MUST refuse to connect, or work again without its old subscriptions.",
)
async def check_connect_again(network: Network, synapse: Synapse, other: Synapse) -> None:
    """Connect a closed Synapse."""
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


@for_peers("synapse:close-ends-deliveries", "A closed Synapse MUST NOT deliver a frame.")
async def check_close_ends_deliveries(
    network: Network, leaving: Synapse, staying: Synapse, sender: Synapse
) -> None:
    """Publish on a subject of a closed Synapse."""
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


@for_peers(
    "synapse:close-leaves-nothing",
    "A closed Synapse MUST NOT leave a task, a thread, a socket or a process behind.",
)
async def check_close_leaves_nothing(network: Network, sender: Synapse) -> None:
    """Compare tasks, threads, sockets and processes before a Synapse connects and after it closed."""
    tasks, found = await _left_by(network, sender)
    if any(map(_is_of_a_proxy, tasks)):
        # Another peer has connected again meanwhile, as after a stall of this process.
        tasks, found = await _left_by(network, sender)
    need(not tasks, f"after close() {len(tasks)} tasks still run: {sorted(map(repr, tasks))}")
    need(not found, f"after close() these are left: {', '.join(found)}")


async def _left_by(network: Network, sender: Synapse) -> tuple[set[asyncio.Task[object]], list[str]]:
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
    return left, found


def _is_of_a_proxy(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename == proxy.__file__


@for_peers(
    "synapse:close-others",
    "A peer that closes while frames are in flight MUST NOT affect another peer.",
)
async def check_close_others(network: Network, leaving: Synapse, staying: Synapse, sender: Synapse) -> None:
    """Close one peer while frames are in flight to it and to another one."""
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


@for_peers(
    "synapse:secrets",
    "A secret MUST NOT appear in the repr of a Synapse or in an error.",
    when=[SECRETS],
)
async def check_secrets(network: Network, synapse: Synapse) -> None:
    """Search the repr of a Synapse, connected and closed, and every error that it raises."""
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
    for number, secret in enumerate(network.under_test.secrets):
        if any(secret in text for text in texts):
            # The error must not contain the secret itself.
            raise UnmetError(f"secrets[{number}] is in its repr or in an error")
