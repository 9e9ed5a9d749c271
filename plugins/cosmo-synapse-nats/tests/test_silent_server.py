"""A server that is killed or suspended: everything ends in time, however many subscriptions there are."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, SynapseError
from cosmo_synapse_nats import NatsSynapse, from_url
from cosmo_synapse_nats.testing import NatsServer

GRACE_S = 1.0
QUERIES = ["", "?durable=true"]


@asynccontextmanager
async def silenced(server: NatsServer, how: str) -> AsyncIterator[None]:
    if how == "killed":
        server.kill()
        # Wait until the connections have noticed.
        await asyncio.sleep(0.1)
        yield
        return
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    return input


@pytest.mark.parametrize("how", ["killed", "suspended"])
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("neurons", [1, 100])
async def test_stop_and_close_take_their_time_and_no_longer(
    start: Any, how: str, query: str, neurons: int
) -> None:
    server = start(jetstream=bool(query))
    synapse = from_url(server.url + query)
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse, grace_s=GRACE_S)
    for number in range(neurons):
        dendrite.attach_axon(Axon(neuron_id=f"echo-{number}", neuron_fn=echo))
    await dendrite.start()
    await dendrite.dispatch_and_wait(neuron="echo-0", input={}, timeout_s=10)
    async with silenced(server, how):
        begun = time.monotonic()
        await dendrite.stop()
        stopped = time.monotonic()
        await synapse.close()
        assert stopped - begun < GRACE_S + 1
        assert time.monotonic() - stopped < 2.5


@pytest.mark.parametrize("query", QUERIES)
async def test_close_of_many_subscriptions_takes_no_longer_than_of_one(
    start: Any, recorder: Any, query: str
) -> None:
    server = start(jetstream=bool(query))
    synapse = from_url(server.url + query)
    await synapse.connect()
    for number in range(50):
        await synapse.subscribe(f"a.{number}", recorder())
        await synapse.subscribe(f"b.{number}", recorder(), queue_group="g")
    async with silenced(server, "suspended"):
        begun = time.monotonic()
        await synapse.close()
        assert time.monotonic() - begun < 2.5


async def test_a_dendrite_that_cannot_start_ends_in_time(server: Any) -> None:
    synapse = from_url(server.url, connect_timeout_s=0.5)
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse, grace_s=GRACE_S)
    for number in range(100):
        dendrite.attach_axon(Axon(neuron_id=f"echo-{number}", neuron_fn=echo))
    async with silenced(server, "suspended"):
        begun = time.monotonic()
        with pytest.raises(SynapseError, match=r"did not answer within 0\.5 s"):
            await dendrite.start()
        await synapse.close()
        assert time.monotonic() - begun < 4


@pytest.mark.parametrize("query", QUERIES)
async def test_connecting_to_a_suspended_server_ends_in_time(start: Any, query: str) -> None:
    server = start(jetstream=bool(query))
    async with silenced(server, "suspended"):
        synapse = from_url(f"{server.url},127.0.0.1:{server.port}{query}", connect_timeout_s=0.5)
        begun = time.monotonic()
        with pytest.raises(SynapseError, match="cannot connect to"):
            await synapse.connect()
        assert time.monotonic() - begun < 2.5


async def publish_often(synapse: NatsSynapse, frame: bytes) -> None:
    for _ in range(40):
        await synapse.publish("a", frame)


async def test_publish_to_a_server_that_does_not_read_raises_when_the_buffer_is_full(server: Any) -> None:
    synapse = from_url(server.url, connect_timeout_s=0.5)
    await synapse.connect()
    frame = bytes(1_000_000)
    async with silenced(server, "suspended"):
        with pytest.raises(SynapseError, match="the buffer of unsent data is full"):
            await publish_often(synapse, frame)
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(SynapseError, match="the buffer of unsent data is full"):
                await synapse.publish("a", frame)
        await synapse.close()
        assert time.monotonic() - begun < 2.5


async def test_a_subscription_that_ended_while_the_server_was_silent_is_not_made_again(
    start: Any, connect: Any, recorder: Any
) -> None:
    server = start()
    one, other = await connect(server), await connect(server)
    ended, got = recorder(), recorder()
    subscription = await other.subscribe("a", ended, queue_group="g")
    await other.subscribe("a", got)
    async with silenced(server, "suspended"):
        await subscription.unsubscribe()
    server.restart()
    async with asyncio.timeout(10):
        while not got.frames:
            await one.publish("a", b"x")
            await asyncio.sleep(0.05)
    reports = recorder()
    await one.publish("a", b"y", undelivered=reports.report)
    assert ended.frames == []
