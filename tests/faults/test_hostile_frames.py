"""Hostile frames: none causes a crash or reaches a Neuron, and each is counted."""

from __future__ import annotations

import asyncio
import os
import socket
from random import Random
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from cosmo_core import Axon, Dendrite, FrameTooLargeError, SignalType, encode
from cosmo_core.protocol.signal import address, new_unvalidated
from cosmo_core.protocol.subjects import Subjects
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.buses import Bus
    from tests.faults.conftest import Connect, Record, Start, Worker

FRAMES: Final = 10_000
SEEDED: Final = Random(6)  # noqa: S311 - not for security
VISITS: Final = 500


def hostile_frames(count: int, random: Random) -> Iterator[bytes]:
    """Yield frames that violate the protocol in six ways."""
    task = encode(new_unvalidated(SignalType.TASK, {"input": {}}, directed=address("victim"), meta={}))
    for number in range(count):
        match number % 6:
            case 0:
                yield random.randbytes(random.randrange(1, 400))
            case 1:
                yield task[: random.randrange(len(task))]
            case 2:
                yield task.replace(b'"TASK"', b'"T%dSK"' % random.randrange(10**6))
            case 3:
                yield task.replace(b'"input":{}', b'"input":' + b"[" * random.randrange(1, 50_000))
            case 4:
                yield task.replace(
                    b'"evt_', b'"evt_' + random.choice([b".", b"*", b">", b" ", b"\\r\\n", b"\\u0000"])
                )
            case _:
                yield task.replace(
                    b'"victim"', b'"%s"' % random.choice([b"*", b">", b"a.b", b"a b", b"\\u0430 "])
                )


@pytest.mark.parametrize("bus", ["memory", "zmq", "nats"], indirect=True)
async def test_hostile_frames_are_rejected_one_by_one(
    connect: Connect, start: Start, orchestrator: Dendrite, record: Record
) -> None:
    called: list[object] = []

    async def victim(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        called.append(input)
        return {}

    worker = await start(Axon(neuron_id="victim", neuron_fn=victim), role="worker")
    await orchestrator.wait_until_ready(neuron="victim")
    attacker = await connect()
    subject = Subjects(worker.namespace).neuron(SignalType.TASK, "victim")
    for number, frame in enumerate(hostile_frames(FRAMES, SEEDED)):
        await attacker.publish(subject, frame)
        if number % 500 == 0:
            # Wait for the worker: this test is not about overload.
            await attacker.publish(subject, b"")
            reply = await orchestrator.dispatch_and_wait(neuron="victim", input={})
            assert reply.type is SignalType.AGENT_OUTPUT

    asked = len(called)
    await wait_until(lambda: worker.counters["malformed"] >= FRAMES + FRAMES // 500)
    record("hostile frames rejected", worker.counters["malformed"])
    assert worker.counters["malformed"] == FRAMES + FRAMES // 500
    assert len(called) == asked == FRAMES // 500


@pytest.mark.parametrize("bus", ["zmq", "nats"], indirect=True)
async def test_random_bytes_on_the_port_reach_no_neuron(
    bus: Bus, worker: Worker, orchestrator: Dendrite
) -> None:
    serving = await worker("work=echo")
    await orchestrator.wait_until_ready(neuron="work")
    for _ in range(VISITS):
        await asyncio.to_thread(visit, bus.url, SEEDED.randbytes(500))

    reply = await orchestrator.dispatch_and_wait(neuron="work", input={"still": "there"})
    assert reply.raise_for_error().payload["output"]["still"] == "there"
    serving.send(SIGTERM)
    line = await serving.wait_for_line("^stopped")
    assert "'malformed': 0" in line.text
    assert orchestrator.counters["malformed"] == 0


def visit(url: str, sent: bytes) -> None:
    """Connect to the hub or server of a bus, and send it raw bytes."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as visitor:
        visitor.sendall(sent)


@pytest.mark.parametrize("bus", ["memory", "zmq", "nats", "nats-durable"], indirect=True)
async def test_an_oversized_frame_is_rejected_by_publish_and_the_connection_stays(
    connect: Connect, start: Start, orchestrator: Dendrite
) -> None:
    async def size(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        return {"size": len(input["text"])}

    await start(Axon(neuron_id="size", neuron_fn=size), role="worker")
    await orchestrator.wait_until_ready(neuron="size")
    synapse = await connect()
    assert synapse.guarantees.max_frame == 1024 * 1024 - 4096
    with pytest.raises(FrameTooLargeError):
        await synapse.publish("too.large", os.urandom(synapse.guarantees.max_frame + 1))
    with pytest.raises(FrameTooLargeError):
        await orchestrator.dispatch(neuron="size", input={"text": "x" * synapse.guarantees.max_frame})

    largest = synapse.guarantees.max_frame - 1000
    reply = await orchestrator.dispatch_and_wait(neuron="size", input={"text": "x" * largest})
    assert reply.raise_for_error().payload["output"] == {"size": largest}
