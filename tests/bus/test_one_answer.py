"""A TASK has one answer, though a bus that loses a worker may have it run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Pathway, Signal, SignalType
from cosmo_core.protocol.signal import address

Start = Callable[..., Awaitable[Dendrite]]
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


class Asked:
    """A TASK that nobody answers but the test, by hand."""

    def __init__(self, dendrite: Dendrite, pathway: Pathway) -> None:
        self.pathway = pathway
        self._receive = dendrite._pathways.receive

    def answer(self, type: SignalType, payload: dict[str, Any] | None = None) -> Signal:
        """Have a Signal arrive that answers the TASK."""
        signal = Signal.new(
            type,
            PAYLOADS[type] if payload is None else payload,
            trace_id=self.pathway.trace_id,
            parent_id=self.pathway.task_id,
            directed=address("silent"),
        )
        self._receive(signal)
        return signal

    def say(self, *seqs: int) -> list[Signal]:
        """Have THOUGHT_DELTAs arrive."""
        return [self.answer(DELTA, {"delta": f"{seq} ", "seq": seq}) for seq in seqs]

    async def read(self) -> list[Signal]:
        """Return what the Pathway has, and close it."""
        self.pathway.close()
        return [signal async for signal in self.pathway]


@pytest.fixture
def ask(start: Start) -> Callable[..., Awaitable[Asked]]:
    async def ask(**options: Any) -> Asked:
        dendrite = await start(silent, grace_s=0)
        return Asked(dendrite, await dendrite.dispatch(neuron="silent", input={}, **options))

    return ask


@pytest.mark.clause("P-3.12", "P-11.8")
@pytest.mark.parametrize("backpressure", [False, True])
@pytest.mark.parametrize("second", PAYLOADS)
@pytest.mark.parametrize("first", [OUTPUT, SignalType.CLARIFICATION, SignalType.PERMISSION])
async def test_pathway_keeps_only_first_answer(
    ask: Any, first: SignalType, second: SignalType, backpressure: bool
) -> None:
    asked = await ask(backpressure=backpressure)
    answer = asked.answer(first)
    asked.answer(second)
    asked.say(0)
    assert not asked.pathway.closed
    assert await asked.read() == [answer]


@pytest.mark.clause("P-11.8")
async def test_pathway_receives_plan_and_final_after_answer(ask: Any) -> None:
    asked = await ask()
    asked.answer(OUTPUT)
    trace_id = asked.pathway.trace_id
    plan = Signal.new(SignalType.PLAN, {"steps": []}, trace_id=trace_id)
    final = Signal.new(SignalType.FINAL, {"result": {}}, trace_id=trace_id)
    for signal in (plan, final):
        asked._receive(signal)
    assert asked.pathway.closed
    assert (await asked.read())[1:] == [plan, final]


@pytest.mark.clause("P-11.8")
async def test_pathway_accepts_error_in_place_of_requested_final(ask: Any) -> None:
    asked = await ask(finalize=True)
    output = asked.answer(OUTPUT)
    asked.answer(OUTPUT)
    error = asked.answer(ERROR)
    assert asked.pathway.closed
    assert await asked.read() == [output, error]


@pytest.mark.clause("P-11.8")
async def test_pathway_ignores_error_after_clarification(ask: Any) -> None:
    asked = await ask(finalize=True)
    question = asked.answer(SignalType.CLARIFICATION)
    asked.answer(ERROR)
    assert await asked.read() == [question]


@pytest.mark.clause("P-11.8")
async def test_terminal_pathway_accepts_final_of_second_run(ask: Any) -> None:
    asked = await ask(scope="terminal")
    asked.answer(OUTPUT)  # The worker was lost before FINAL.
    asked.answer(OUTPUT)
    final = Signal.new(SignalType.FINAL, {"result": {}}, trace_id=asked.pathway.trace_id)
    asked._receive(final)
    assert await asked.read() == [final]


@pytest.mark.clause("P-6.2", "P-11.8")
async def test_pathway_reads_repeated_deltas_once(ask: Any) -> None:
    asked = await ask()
    first = asked.say(0, 1, 2)
    again = asked.say(0, 1, 2, 3)
    plan = Signal.new(SignalType.PLAN, {"steps": []}, trace_id=asked.pathway.trace_id)
    asked._receive(plan)
    third = asked.say(3, 4)
    output = asked.answer(OUTPUT)
    assert await asked.read() == [*first, again[3], plan, third[1], output]


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
