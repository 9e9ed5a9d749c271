"""A Neuron for cosmonapse that asks back: it asks once, and the Pathway of its TASK goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest

import cosmo_core
from cosmonapse import Axon, Dendrite, MemorySynapse, Signal, SignalType

Neuron = Callable[..., Any]


async def asks(input: dict[str, Any], context: list[Any]) -> Any:
    if "clarification" not in input:
        return {"__clarification__": True, "question": "which?"}
    return input


def asks_in_a_thread(input: dict[str, Any], context: list[Any]) -> Any:
    return input if "clarification" in input else {"__clarification__": True, "question": "which?"}


async def asks_and_streams(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    yield input if "clarification" in input else {"__clarification__": True, "question": "which?"}


async def asks_permission(input: dict[str, Any], context: list[Any]) -> Any:
    return input if input.get("permission") else {"__permission__": True, "action": "write"}


ANSWER: Final = {"question": "which?", "answer": "this one"}


@pytest.fixture
async def asker(synapse: MemorySynapse) -> AsyncIterator[Dendrite]:
    worker = Dendrite(synapse=synapse, role="worker")
    for neuron in (asks, asks_in_a_thread, asks_and_streams, asks_permission):
        worker.attach_axon(Axon(neuron_id=neuron.__name__, neuron_fn=neuron))
    async with worker, Dendrite(synapse=synapse) as asker:
        yield asker


@pytest.mark.parametrize("neuron", ["asks", "asks_in_a_thread", "asks_and_streams"])
async def test_question_is_asked_once(asker: Dendrite, neuron: str) -> None:
    questions: list[Signal] = []
    outputs: asyncio.Queue[Signal] = asyncio.Queue()

    @asker.on_clarification
    async def answer(question: Signal) -> None:
        questions.append(question)
        await asker.respond_to_clarification(question, answer="this one")

    asker.on_agent_output(outputs.put_nowait)
    await asker.dispatch_task(neuron=neuron, input={"text": "hello"})
    async with asyncio.timeout(10):
        output = (await outputs.get()).payload["output"]
    assert output == {"text": "hello", "clarification": ANSWER, "clarifications": [ANSWER]}
    assert len(questions) == 1


async def test_permission_is_asked_for_once(asker: Dendrite) -> None:
    request = await asker.dispatch_and_wait(neuron="asks_permission", input={})
    assert request.type is SignalType.PERMISSION
    pathway = await asker.respond_to_permission(request, granted=False, reason="no")
    output = (await pathway.wait(10)).payload["output"]
    decision = {"action": "write", "scope": None, "granted": False, "reason": "no"}
    assert output == {"permission": decision, "permissions": [decision]}


async def test_answer_of_another_program_is_found_under_both_names(
    asker: Dendrite, synapse: MemorySynapse
) -> None:
    question = await asker.dispatch_and_wait(neuron="asks", input={})
    async with cosmo_core.Dendrite(synapse=synapse) as other:
        pathway = await other.respond_to_clarification(question, "this one")
        output = (await pathway.wait(10)).payload["output"]
    assert output == {"clarification": ANSWER, "clarifications": [ANSWER]}


async def test_pathway_of_the_first_task_receives_the_output(asker: Dendrite) -> None:
    pathway = await asker.dispatch(neuron="asks", input={})
    question = await pathway.wait(10)
    again = await asker.respond_to_clarification(question, answer="this one")
    output = await pathway.wait(10)
    assert (question.type, output.type) == (SignalType.CLARIFICATION, SignalType.AGENT_OUTPUT)
    assert await again.wait(10) == output


async def test_pathway_of_another_task_of_the_trace_does_not_receive_it(asker: Dendrite) -> None:
    first = await asker.dispatch(neuron="asks", input={"n": 1})
    second = await asker.dispatch(neuron="asks", input={"n": 2}, trace_id=first.trace_id)
    await second.wait(10)
    again = await asker.respond_to_clarification(await first.wait(10), answer="this one")
    assert (await first.wait(10)).payload["output"]["n"] == 1
    await again.wait(10)
    assert second.answer is SignalType.CLARIFICATION


async def test_iteration_goes_on_after_an_answered_question(asker: Dendrite) -> None:
    types = []
    async with asyncio.timeout(10), await asker.dispatch(neuron="asks", input={}) as pathway:
        async for signal in pathway:
            types.append(signal.type.value)
            if signal.type is SignalType.CLARIFICATION:
                # Its result is not used.
                await asker.respond_to_clarification(signal, answer="this one")
            if signal.type is SignalType.AGENT_OUTPUT:
                break
    assert types == ["CLARIFICATION", "CLARIFICATION_ANSWER", "AGENT_OUTPUT"]
    assert [pathway for pathway in asker._pathways.pathways() if not pathway.closed] == []


async def test_neuron_that_does_not_read_the_answer_comes_to_an_end(synapse: MemorySynapse) -> None:
    async def forgets(input: dict[str, Any], context: list[Any]) -> Any:
        return {"__clarification__": True, "question": "which?"}

    types = []
    async with Dendrite(synapse=synapse) as dendrite, asyncio.timeout(10):
        await dendrite.add_axon(Axon(neuron_id="forgets", neuron_fn=forgets))
        pathway = await dendrite.dispatch(neuron="forgets", input={})
        async for signal in pathway:
            if signal.type is SignalType.CLARIFICATION:
                await dendrite.respond_to_clarification(signal, answer="this one")
            types.append(signal.type)
    assert types.count(SignalType.CLARIFICATION) == 10
    assert types[-1] is SignalType.ERROR
