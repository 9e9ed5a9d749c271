"""One TASK comes a thousand times: its Neuron runs once, and whoever asked sees one answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from cosmo_core import Axon, Dendrite, SignalType, decode
from cosmo_core.protocol.subjects import Subjects

if TYPE_CHECKING:
    from tests.faults.conftest import Connect, Start

COPIES: Final = 1000


@pytest.mark.parametrize("bus", ["memory", "zmq", "nats", "nats-durable"], indirect=True)
async def test_a_thousand_copies_of_a_task_are_one_task(
    connect: Connect, start: Start, orchestrator: Dendrite
) -> None:
    runs: list[int] = []
    copied = asyncio.Event()

    async def once(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        runs.append(input["number"])
        if input["number"] == 1:
            await copied.wait()
        return input

    await start(Axon(neuron_id="once", neuron_fn=once, max_concurrency=1), role="worker")
    await orchestrator.wait_until_ready(neuron="once")
    copier, subjects = await connect(), Subjects(orchestrator.namespace)
    subject = subjects.neuron(SignalType.TASK, "once")
    frames: asyncio.Queue[bytes] = asyncio.Queue()
    listening = await copier.subscribe(subject, frames.put_nowait)
    pathway = await orchestrator.dispatch(neuron="once", input={"number": 1})
    async with asyncio.timeout(60):
        frame = await frames.get()
        await listening.unsubscribe()
        for copy in range(COPIES):
            await copier.publish(subject, frame, undelivered=refuse_none)
            if copy == COPIES // 2:
                # Until it is answered each copy takes a place of its own on a bus that acknowledges.
                copied.set()
                await pathway.wait()
        # What is sent afterwards, and runs behind all of them, tells that they were taken.
        last = await orchestrator.dispatch_and_wait(neuron="once", input={"number": 2})

    assert decode(frame).id == pathway.task_id
    assert last.type is SignalType.AGENT_OUTPUT
    assert runs == [1, 2]
    pathway.close()
    assert [signal.type async for signal in pathway] == [SignalType.AGENT_OUTPUT]


def refuse_none(frame: bytes, why: str) -> None:
    raise AssertionError(f"a copy was not delivered: {why}")
