"""A hub that is killed, suspended or out of reach: ending is bounded, for all subscriptions together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_zmq.synapse import UNRESPONSIVE_S
from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from tests.conftest import Connect, Recorder, RunningHub, Slow, Spawn

SUBSCRIPTIONS = 100
LIMIT_S = UNRESPONSIVE_S + 3
"""The bound for all subscriptions together, and time for a busy machine. It is much less than
`CONNECT_TIMEOUT_S` for one of them."""

CONNECT_TIMEOUT_S = 30.0


@pytest.fixture
async def process(spawn: Spawn) -> tuple[Process, str]:
    started = await spawn("-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0")
    assert started.stdout is not None
    async with asyncio.timeout(20):
        return started, (await started.stdout.readline()).decode().removeprefix("hub at ").strip()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "suspended"])
@pytest.mark.parametrize("order", ["unsubscribe", "close"])
async def test_ending_all_subscriptions_takes_as_long_as_ending_one(
    process: tuple[Process, str],
    connect: Connect,
    recorder: Callable[[], Recorder],
    how: signal.Signals,
    order: str,
) -> None:
    hub, url = process
    synapse = await connect(url, connect_timeout_s=CONNECT_TIMEOUT_S)
    subscriptions = [await synapse.subscribe(f"a.{number}", recorder()) for number in range(SUBSCRIPTIONS)]
    hub.send_signal(how)
    async with asyncio.timeout(LIMIT_S):
        if order == "unsubscribe":
            for subscription in subscriptions:
                await subscription.unsubscribe()
        await synapse.close()


async def test_ending_is_bounded_when_the_hub_is_out_of_reach(
    hub: RunningHub,
    connect: Connect,
    proxy: Callable[[int], Awaitable[TcpProxy]],
    recorder: Callable[[], Recorder],
) -> None:
    way = await proxy(hub.port)
    synapse = await connect(f"zmq://127.0.0.1:{way.own_port}", connect_timeout_s=CONNECT_TIMEOUT_S)
    subscriptions = [await synapse.subscribe(f"a.{number}", recorder()) for number in range(SUBSCRIPTIONS)]
    with way.stalled():
        async with asyncio.timeout(LIMIT_S):
            for subscription in subscriptions:
                await subscription.unsubscribe()
            await synapse.close()


async def test_a_failed_subscribe_leaves_nothing_to_wait_for(
    process: tuple[Process, str], connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    hub, url = process
    synapse = await connect(url, connect_timeout_s=1.0)
    subscriptions = [await synapse.subscribe(f"a.{number}", recorder()) for number in range(10)]
    hub.send_signal(signal.SIGSTOP)
    with pytest.raises(SynapseError, match="did not confirm the subscription"):
        await synapse.subscribe("b", recorder())
    # A second without a heartbeat has passed, so that these do not wait.
    ending = asyncio.gather(*(subscription.unsubscribe() for subscription in subscriptions))
    async with asyncio.timeout(LIMIT_S):
        await ending
        await synapse.close()


async def test_a_publisher_of_a_full_queue_does_not_wait_for_a_hub_that_is_gone(
    process: tuple[Process, str], connect: Connect, slow: Callable[[], Slow]
) -> None:
    hub, url = process
    publisher = await connect(url, connect_timeout_s=1.0)
    worker = await connect(url, max_in_flight=1)
    await worker.subscribe("work", slow(), queue_group="g")

    async def publish_all() -> None:
        while True:
            await publisher.publish("work", b"x")

    publishing = asyncio.create_task(publish_all())
    # The queue is full when the hub has paused the subject: only then does the task not progress.
    while not publisher._paused:  # noqa: ASYNC110 - no event exists
        await asyncio.sleep(0.01)
    hub.send_signal(signal.SIGSTOP)
    with pytest.raises(SynapseError, match=r"cannot publish on work: the hub at .* could not be reached"):
        await asyncio.wait_for(publishing, 20)
