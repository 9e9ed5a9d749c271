"""Deadlines of TASKs: an expired TASK does not start, and a Neuron can read the time left."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cosmo_core import Axon, CurrentTask, Signal, SignalType, current_task
from cosmo_core.protocol.signal import address
from tests.bus.common import Start


async def left(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    task = current_task()
    assert task is not None
    return {"left": task.time_left_s()}


@pytest.mark.clause("P-5.10")
async def test_neuron_reads_time_left(start: Start) -> None:
    dendrite = await start(left)
    answer = await dendrite.dispatch_and_wait(neuron="left", input={}, timeout_s=600)
    assert 0 < answer.payload["output"]["left"] <= 600
    answer = await dendrite.dispatch_and_wait(neuron="left", input={}, timeout_s=600, deadline_s=5)
    assert 0 < answer.payload["output"]["left"] <= 5
    answer = await dendrite.dispatch_and_wait(neuron="left", input={}, timeout_s=None)
    assert answer.payload["output"] == {"left": None}
    pathway = await dendrite.dispatch(neuron="left", input={}, deadline_s=7)
    assert 0 < (await pathway.wait(timeout_s=5)).payload["output"]["left"] <= 7


@pytest.mark.parametrize(("deadline", "seconds"), [(None, None), (0.0, 0.0)])
def test_time_left_is_never_negative(deadline: float | None, seconds: float | None) -> None:
    assert CurrentTask("id", "trace", "neuron", deadline).time_left_s() == seconds


@pytest.mark.clause("P-5.9")
async def test_expired_task_does_not_start(start: Start) -> None:
    worker = await start(left, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="left", input={}, deadline_s=-1)
    answer = await pathway.wait(timeout_s=5)
    assert answer.payload == {
        "code": "DEADLINE",
        "message": "the deadline passed before Neuron 'left' could start; allow more time",
        "recoverable": True,
    }
    assert worker._host._runners["left"].load == 0


@pytest.mark.clause("P-5.9")
@pytest.mark.parametrize("deadlines", [(None, 60, 60, None), (None, 60, 60)])
async def test_task_that_expires_in_queue_does_not_start(
    start: Start, monkeypatch: pytest.MonkeyPatch, deadlines: tuple[float | None, ...]
) -> None:
    go, ran = asyncio.Event(), []

    async def slow(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        ran.append(input["turn"])
        await go.wait()
        return {}

    dendrite = await start(Axon(neuron_id="slow", neuron_fn=slow, max_concurrency=1))
    pathways = [
        await dendrite.dispatch(neuron="slow", input={"turn": turn}, deadline_s=deadline)
        for turn, deadline in enumerate(deadlines)
    ]
    monkeypatch.setattr("cosmo_core.dendrite.hosting.neuron_runner.monotonic", lambda: time.monotonic() + 61)
    go.set()
    answers = [await pathway.wait(timeout_s=5) for pathway in pathways]
    expected = ["DEADLINE" if deadline else None for deadline in deadlines]
    assert [answer.payload.get("code") for answer in answers] == expected
    await dendrite.dispatch_and_wait(neuron="slow", input={"turn": 4})
    assert ran == [turn for turn, deadline in enumerate(deadlines) if deadline is None] + [4]


@pytest.mark.clause("P-5.9")
@pytest.mark.parametrize(("deadline_s", "deadline_ms"), [(2, 2000), (0.0015, 1), (0, 0), (-1, 0)])
async def test_deadline_is_sent_in_milliseconds(start: Start, deadline_s: float, deadline_ms: int) -> None:
    dendrite = await start(left)
    task = await dendrite.dispatch_task(neuron="left", input={}, deadline_s=deadline_s)
    assert task.payload["deadline_ms"] == deadline_ms


async def test_task_without_deadline_always_starts(start: Start) -> None:
    ran: list[str] = []

    async def note(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        task = current_task()
        assert task is not None
        ran.append(task.id)
        return {}

    dendrite = await start(note)
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=address("note"))
    assert "deadline_ms" not in task.payload
    assert dendrite._host._runners["note"].accept(task) is None
    assert ran == [task.id]
