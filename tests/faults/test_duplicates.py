"""Duplicates: a TASK that is delivered a thousand times runs once, and its caller gets one answer."""

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
async def test_a_thousand_copies_of_a_task_run_once(
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
            await copier.publish(subject, frame, undelivered=must_be_delivered)
            if copy == COPIES // 2:
                # On a bus with acknowledgements, each copy counts as in flight until the TASK is answered.
                copied.set()
                await pathway.wait()
        # This TASK runs after all copies, so its answer shows that they were handled.
        last = await orchestrator.dispatch_and_wait(neuron="once", input={"number": 2})

    assert decode(frame).id == pathway.task_id
    assert last.type is SignalType.AGENT_OUTPUT
    assert runs == [1, 2]
    pathway.close()
    assert [signal.type async for signal in pathway] == [SignalType.AGENT_OUTPUT]


def must_be_delivered(frame: bytes, cause: str) -> None:
    raise AssertionError(f"a copy was not delivered: {cause}")
