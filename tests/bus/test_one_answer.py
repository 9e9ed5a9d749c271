"""A TASK has one answer, although it may run twice after a worker was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Pathway, Signal, SignalType
from cosmo_core.protocol.signal import address
from tests.bus.common import Start

Answer = Callable[..., Signal]
DELTA, OUTPUT, ERROR = SignalType.THOUGHT_DELTA, SignalType.AGENT_OUTPUT, SignalType.ERROR
BROKEN = {"code": "BROKEN", "message": "it broke", "recoverable": False}
PAYLOADS: dict[SignalType, dict[str, Any]] = {
    OUTPUT: {"output": {}},
    ERROR: BROKEN,
    SignalType.CLARIFICATION: {"question": "which?"},
    SignalType.PERMISSION: {"action": "pay"},
}


async def silent(input: dict[str, Any], context: list[Any]) -> Any:
    await asyncio.Event().wait()


class OpenTask:
    """A TASK that only the test answers."""

    def __init__(self, dendrite: Dendrite, pathway: Pathway) -> None:
        self.pathway = pathway
        self._receive = dendrite._pathways.receive

    def answer(self, type: SignalType, payload: dict[str, Any] | None = None) -> Signal:
        """Deliver a Signal that answers the TASK."""
        signal = Signal.new(
            type,
            PAYLOADS[type] if payload is None else payload,
            trace_id=self.pathway.trace_id,
            parent_id=self.pathway.task_id,
            directed=address("silent"),
        )
        self._receive(signal)
        return signal

    def stream(self, *seqs: int) -> list[Signal]:
        """Deliver THOUGHT_DELTAs with these sequence numbers."""
        return [self.answer(DELTA, {"delta": f"{seq} ", "seq": seq}) for seq in seqs]

    async def read(self) -> list[Signal]:
        """Close the Pathway and return its Signals."""
        self.pathway.close()
        return [signal async for signal in self.pathway.signals(follow=True)]


@pytest.fixture
def open_task(start: Start) -> Callable[..., Awaitable[OpenTask]]:
    async def open_task(**options: Any) -> OpenTask:
        dendrite = await start(silent, grace_s=0)
        return OpenTask(dendrite, await dendrite.dispatch(neuron="silent", input={}, **options))

    return open_task


@pytest.mark.clause("P-3.12", "P-11.8")
@pytest.mark.parametrize("backpressure", [False, True])
@pytest.mark.parametrize("second", PAYLOADS)
@pytest.mark.parametrize("first", [OUTPUT, SignalType.CLARIFICATION, SignalType.PERMISSION])
async def test_pathway_keeps_only_first_answer(
    open_task: Any, first: SignalType, second: SignalType, backpressure: bool
) -> None:
    task = await open_task(backpressure=backpressure)
    answer = task.answer(first)
    task.answer(second)
    task.stream(0)
    assert not task.pathway.closed
    assert await task.read() == [answer]


@pytest.mark.clause("P-11.8")
async def test_pathway_receives_plan_and_final_after_answer(open_task: Any) -> None:
    task = await open_task()
    task.answer(OUTPUT)
    trace_id = task.pathway.trace_id
    plan = Signal.new(SignalType.PLAN, {"steps": []}, trace_id=trace_id)
    final = Signal.new(SignalType.FINAL, {"result": {}}, trace_id=trace_id)
    for signal in (plan, final):
        task._receive(signal)
    assert task.pathway.closed
    assert (await task.read())[1:] == [plan, final]


@pytest.mark.clause("P-11.8")
async def test_pathway_accepts_error_in_place_of_requested_final(open_task: Any) -> None:
    task = await open_task(finalize=True)
    output = task.answer(OUTPUT)
    task.answer(OUTPUT)
    error = task.answer(ERROR)
    assert task.pathway.closed
    assert await task.read() == [output, error]


@pytest.mark.clause("P-11.8")
async def test_pathway_ignores_error_after_clarification(open_task: Any) -> None:
    task = await open_task(finalize=True)
    question = task.answer(SignalType.CLARIFICATION)
    task.answer(ERROR)
    assert await task.read() == [question]


@pytest.mark.clause("P-11.8")
async def test_terminal_pathway_accepts_final_of_second_run(open_task: Any) -> None:
    task = await open_task(scope="terminal")
    task.answer(OUTPUT)  # The worker was lost before FINAL.
    task.answer(OUTPUT)
    final = Signal.new(SignalType.FINAL, {"result": {}}, trace_id=task.pathway.trace_id)
    task._receive(final)
    assert await task.read() == [final]


@pytest.mark.clause("P-6.2", "P-11.8")
async def test_pathway_reads_repeated_deltas_once(open_task: Any) -> None:
    task = await open_task()
    first = task.stream(0, 1, 2)
    again = task.stream(0, 1, 2, 3)
    plan = Signal.new(SignalType.PLAN, {"steps": []}, trace_id=task.pathway.trace_id)
    task._receive(plan)
    third = task.stream(3, 4)
    output = task.answer(OUTPUT)
    assert await task.read() == [*first, again[3], plan, third[1], output]


@pytest.mark.extension("watching")
@pytest.mark.clause("P-11.7")
async def test_observer_sees_signals_of_both_runs(start: Start) -> None:
    dendrite = await start(silent, grace_s=0)
    pathway = await dendrite.dispatch(neuron="silent", input={})
    async with await dendrite.observe_pathway(pathway.trace_id) as observed:
        for seq in (0, 0):
            observed.deliver(
                Signal.new(
                    DELTA, {"delta": "x", "seq": seq}, trace_id=pathway.trace_id, parent_id=pathway.task_id
                )
            )
        for _ in range(2):
            observed.deliver(
                Signal.new(OUTPUT, {"output": {}}, trace_id=pathway.trace_id, parent_id=pathway.task_id)
            )
    assert [signal.type async for signal in observed] == [DELTA, DELTA, OUTPUT, OUTPUT]
