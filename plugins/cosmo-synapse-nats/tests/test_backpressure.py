"""``dispatch(backpressure=True)``: no delta is lost, a durable answer is stored, and no consumer is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest

from cosmo_core import Axon, Dendrite
from cosmo_core.plugins import PluginManager
from cosmo_synapse_nats import from_url
from cosmo_synapse_nats.durable import answers
from cosmo_testing import TcpProxy

DURABLE = "?durable=true&ack_wait_s=1"


class Gated:
    """A Neuron that streams numbers, and answers once `open` is set."""

    def __init__(self) -> None:
        self.streamed, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        for number in range(input["to"]):
            yield str(number)
        self.streamed.set()
        await self.open.wait()
        yield {"done": True}


def dendrite(synapse: Any, *axons: Axon, **options: Any) -> Dendrite:
    made = Dendrite(synapse=synapse, plugins=PluginManager(), **options)
    for axon in axons:
        made.attach_axon(axon)
    return made


class Consumers:
    """The consumers on the server."""

    def __init__(self, client: Any, removed: Any) -> None:
        self._js, self._removed = client.jetstream(), removed

    async def names(self) -> set[str]:
        """Return the names of the consumers of both streams."""
        streams = ("cosmo-tasks", "cosmo-answers")
        return {found.name for stream in streams for found in await self._js.consumers_info(stream)}

    async def until(self, expected: set[str]) -> None:
        """Wait until there are exactly these."""
        while await self.names() != expected:
            await self._removed.next_msg(timeout=15)


@pytest.fixture
async def consumers(store: Any) -> AsyncIterator[Consumers]:
    client = await nats.connect(store.url)
    yield Consumers(client, await client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.DELETED.>"))
    await client.close()


@pytest.mark.parametrize("query", ["", "?durable=true"])
async def test_a_slow_reader_gets_every_delta(store: Any, connect: Any, query: str) -> None:
    deltas, neuron = 3_000, Gated()
    neuron.open.set()
    worker = dendrite(await connect(store, query), Axon(neuron_id="gated", neuron_fn=neuron))
    reader = dendrite(await connect(store, query, max_in_flight=16, max_pending=16), pathway_buffer=16)
    async with worker, reader, asyncio.timeout(30):
        async with await reader.dispatch(neuron="gated", input={"to": deltas}, backpressure=True) as pathway:
            seen = []
            async for signal in pathway:
                seen.append(signal.payload)
                for _ in range(3):
                    await asyncio.sleep(0)
        assert [payload["delta"] for payload in seen[:-1]] == [str(number) for number in range(deltas)]
        assert seen[-1] == {"output": {"done": True}}
        assert pathway.dropped == 0


def stored(synapse: Any, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event that is set when a worker has stored an answer."""
    event, store_answer = asyncio.Event(), synapse.store_answer

    async def store(*args: Any) -> None:
        await store_answer(*args)
        event.set()

    monkeypatch.setattr(synapse, "store_answer", store)
    return event


async def test_answer_of_the_time_without_a_connection_is_delivered(
    store: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuron, near = Gated(), await connect(store, DURABLE)
    answered = stored(near, monkeypatch)
    async with TcpProxy("127.0.0.1", store.port) as proxy:
        far = from_url(f"nats://127.0.0.1:{proxy.own_port}{DURABLE}")
        await far.connect()
        async with dendrite(near, Axon(neuron_id="gated", neuron_fn=neuron)), dendrite(far) as caller:
            pathway = await caller.dispatch(neuron="gated", input={"to": 3}, backpressure=True)
            signals = aiter(pathway)
            async with asyncio.timeout(15):
                assert [(await anext(signals)).payload["delta"] for _ in range(3)] == ["0", "1", "2"]
                with proxy.stalled():
                    neuron.open.set()
                    await answered.wait()
                    proxy.cut()
                assert (await anext(signals)).payload == {"output": {"done": True}}
        await far.close()


async def test_pathways_leave_no_consumer(
    store: Any, connect: Any, consumers: Consumers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "FORGOTTEN_S", 1.0)
    neuron = Gated()
    neuron.open.set()
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    async with dendrite(one, Axon(neuron_id="gated", neuron_fn=neuron)), dendrite(other) as caller:
        await caller.wait_until_ready(neuron="gated", timeout_s=5)
        before = await consumers.names()
        for _ in range(3):
            async with await caller.dispatch(neuron="gated", input={"to": 1}, backpressure=True) as pathway:
                assert (await pathway.wait(timeout_s=5)).payload == {"output": {"done": True}}
        await consumers.until(before)


async def test_a_caller_that_is_gone_leaves_no_consumer(
    store: Any, connect: Any, consumers: Consumers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "FORGOTTEN_S", 1.0)
    neuron = Gated()
    worker = dendrite(await connect(store, DURABLE), Axon(neuron_id="gated", neuron_fn=neuron))
    async with worker, TcpProxy("127.0.0.1", store.port) as proxy:
        before = await consumers.names()
        far = from_url(f"nats://127.0.0.1:{proxy.own_port}{DURABLE}")
        await far.connect()
        caller = dendrite(far, grace_s=0)
        await caller.start()
        pathway = await caller.dispatch(neuron="gated", input={"to": 1}, backpressure=True)
        await neuron.streamed.wait()
        assert len(await consumers.names()) > len(before)
        # As if its process was killed: the server sees that the connection is closed, and nothing else.
        with proxy.stalled():
            proxy.cut()
            await consumers.until(before)
        # It was not killed after all: it reads on from where it was.
        neuron.open.set()
        assert (await pathway.wait(timeout_s=15)).payload == {"output": {"done": True}}
        await caller.stop()
        await far.close()


async def test_answer_comes_after_all_that_waits_for_the_reader(
    store: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuron = Gated()
    neuron.open.set()
    one = await connect(store, DURABLE)
    answered = stored(one, monkeypatch)
    other = await connect(store, DURABLE, max_in_flight=4)
    async with (
        dendrite(one, Axon(neuron_id="gated", neuron_fn=neuron)),
        dendrite(other, pathway_buffer=2) as caller,
        asyncio.timeout(15),
    ):
        pathway = await caller.dispatch(neuron="gated", input={"to": 100}, backpressure=True)
        await answered.wait()
        await other._connection.flush()
        seen = []
        async for signal in pathway:
            seen.append(signal.payload)
            if "output" in signal.payload:
                break
        assert [payload["delta"] for payload in seen[:-1]] == [str(number) for number in range(100)]
        assert seen[-1] == {"output": {"done": True}}
        assert pathway.dropped == 0
