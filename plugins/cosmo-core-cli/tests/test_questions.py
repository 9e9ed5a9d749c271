"""The extension that keeps unanswered questions, for programs that answer later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, Synapse, clarify, connect_synapse
from cosmo_core_cli import questions
from cosmo_core_cli.questions import Questions
from cosmo_testing import FakeClock


async def booker(input: dict[str, Any], context: list[Any]) -> Any:
    return clarify(f"Which day for {input['n']}?") if "clarifications" not in input else input


async def quiet(input: dict[str, Any], context: list[Any]) -> Any:
    return input


@pytest.fixture
async def synapse() -> AsyncIterator[Synapse]:
    synapse = await connect_synapse("memory://")
    yield synapse
    await synapse.close()


class Bus:
    """A worker that hosts both Neurons, an orchestrator, and programs that answer later."""

    def __init__(self, synapse: Synapse, stack: AsyncExitStack) -> None:
        self.clock = FakeClock()
        self._synapse = synapse
        self._stack = stack

    async def start(self) -> None:
        self.worker = Dendrite(synapse=self._synapse, role="worker", clock=self.clock, heartbeat_s=1e6)
        for neuron in (booker, quiet):
            self.worker.attach_axon(Axon(neuron_id=neuron.__name__, neuron_fn=neuron))
        await self._stack.enter_async_context(self.worker)
        self.caller = await self._stack.enter_async_context(Dendrite(synapse=self._synapse))

    @property
    def kept(self) -> Questions:
        extension: Questions = self.worker.extension("questions")
        return extension

    async def ask(self, n: int = 1) -> Signal:
        return await self.caller.dispatch_and_wait(neuron="booker", input={"n": n}, timeout_s=10)

    async def late(self, count: int, neuron: str | None = None) -> list[Signal]:
        """Return the questions that a program gets which starts now; wait for this many."""
        found: list[Signal] = []
        arrived = asyncio.Semaphore(0)

        def add(question: Signal) -> None:
            found.append(question)
            arrived.release()

        async with (
            Dendrite(synapse=self._synapse) as dendrite,
            await dendrite.watch(SignalType.CLARIFICATION, add),
        ):
            await dendrite.extension("questions").discover(questions=True, neuron=neuron)
            for _ in range(count):
                await asyncio.wait_for(arrived.acquire(), 10)
            # Another round trip, in which more would arrive.
            await dendrite.dispatch_and_wait(neuron="quiet", input={}, timeout_s=10)
        return found


@pytest.fixture
async def bus(synapse: Synapse) -> AsyncIterator[Bus]:
    async with AsyncExitStack() as stack:
        bus = Bus(synapse, stack)
        await bus.start()
        yield bus


@pytest.mark.clause("P-8.10")
async def test_late_program_gets_each_unanswered_question_unchanged(bus: Bus) -> None:
    asked = [await bus.ask(n=n) for n in (1, 2)]
    assert await bus.late(2) == asked
    assert await bus.late(2, neuron="booker") == asked


@pytest.mark.clause("P-8.10")
async def test_request_for_another_neuron_gets_no_questions(bus: Bus) -> None:
    await bus.ask()
    assert await bus.late(0, neuron="quiet") == []


@pytest.mark.clause("P-8.10")
async def test_answered_question_is_not_sent_again(bus: Bus) -> None:
    question = await bus.ask()
    pathway = await bus.caller.respond_to_clarification(question, "Monday")
    assert (await pathway.wait(10)).type is SignalType.AGENT_OUTPUT
    assert bus.kept.pending() == []
    assert await bus.late(0) == []


@pytest.mark.clause("P-8.10")
async def test_answer_without_a_new_task_counts_as_well(bus: Bus) -> None:
    await bus.caller.answer_clarification(await bus.ask(), "Monday")
    assert await bus.late(0) == []


@pytest.mark.clause("P-8.10")
async def test_question_of_a_stopped_trace_is_not_sent_again(bus: Bus) -> None:
    asked = await bus.ask(n=1)
    kept = await bus.ask(n=2)
    await bus.caller.stop_trace(asked.trace_id)
    assert await bus.late(1) == [kept]


@pytest.mark.clause("P-8.10")
async def test_ordinary_discover_gets_no_questions(bus: Bus) -> None:
    await bus.ask()
    heard: list[Signal] = []
    async with await bus.caller.watch(SignalType.CLARIFICATION, heard.append):
        await bus.caller.extension("questions").discover()
        last = await bus.ask(n=2)
    assert heard == [last]


async def test_questions_beyond_the_limit_are_forgotten(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_QUESTIONS", 2)
    asked = [await bus.ask(n=n) for n in range(3)]
    assert bus.kept.pending() == asked[1:]


async def test_questions_beyond_the_size_are_forgotten(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_BYTES", 1000)
    asked = [await bus.ask(n=n) for n in range(9)]
    kept = bus.kept.pending()
    assert 0 < len(kept) < 9
    assert kept == asked[-len(kept) :]
    for question in kept:
        await bus.caller.answer_clarification(question, "")
    await bus.ask()
    assert bus.kept._bytes < 1000


async def test_old_question_is_forgotten(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_AGE_S", 10.0)
    await bus.ask(n=1)
    await bus.clock.advance(9)
    kept = await bus.ask(n=2)
    assert len(bus.kept.pending()) == 2
    await bus.clock.advance(1)
    assert bus.kept.pending() == [kept]


async def test_neuron_that_never_asks_costs_no_subscription(synapse: Synapse) -> None:
    counted: list[int] = []
    for extensions in (None, ()):
        dendrite = Dendrite(synapse=synapse, extensions=[Questions] if extensions is None else extensions)
        dendrite.attach_axon(Axon(neuron_id="quiet", neuron_fn=quiet))
        async with dendrite:
            counted.append(len(dendrite._link._subscriptions))
    assert counted[0] == counted[1]
