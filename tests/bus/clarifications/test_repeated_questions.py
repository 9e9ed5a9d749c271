"""A question that a Neuron asks again and again, whatever it is answered, ends with an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Pathway, Signal, SignalType, ask_permission, clarify
from cosmo_core.contracts import clarification
from cosmo_core.contracts.clarification import MAX_SAME_QUESTION

if TYPE_CHECKING:
    from tests.bus.clarifications.conftest import Ask
    from tests.bus.common import Start

Question = Callable[[dict[str, Any], int], Any]


def remove_answers(input: dict[str, Any], turn: int) -> Any:
    # The question carries the input as the Neuron left it.
    input.clear()
    return clarify("which?")


QUESTIONS: dict[str, Question] = {
    "clarification": lambda input, turn: clarify("which?"),
    "permission": lambda input, turn: ask_permission("delete", scope={"path": "/a"}),
    "marked object": lambda input, turn: {"__clarification__": True, "question": "which?"},
    "empty question": lambda input, turn: clarify(""),
    "further information that changes": lambda input, turn: clarify("which?", context=turn),
    "answers that are removed": remove_answers,
}


async def always_answer(start: Start, question: Question, **options: Any) -> tuple[Signal, int]:
    """Answer each question of a Neuron, and return its last Signal and the number of its runs."""
    runs = 0

    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        nonlocal runs
        runs += 1
        return question(input, runs)

    await start(asks, role="worker")
    orchestrator = await start()
    signal = await orchestrator.dispatch_and_wait(neuron="asks", input={"text": "hello"})
    async with asyncio.timeout(30):
        while signal.type is not SignalType.ERROR and runs < 100:
            pathway: Pathway
            if signal.type is SignalType.CLARIFICATION:
                pathway = await orchestrator.respond_to_clarification(signal, "this one", **options)
            else:
                pathway = await orchestrator.respond_to_permission(signal, True, **options)
            signal = await pathway.wait()
    return signal, runs


@pytest.mark.clause("P-8.9")
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_question_that_is_asked_again_ends_with_an_error(start: Start, question: Question) -> None:
    signal, runs = await always_answer(start, question)
    assert runs == MAX_SAME_QUESTION + 1
    assert (signal.payload["code"], signal.payload["recoverable"]) == ("ASKED_AGAIN", False)
    assert signal.payload["message"].startswith("Neuron 'asks' asked '")
    assert "after 10 answers" in signal.payload["message"]


@pytest.mark.clause("P-8.9")
async def test_responder_that_replaces_input_and_meta_does_not_reset_the_count(start: Start) -> None:
    signal, runs = await always_answer(
        start, QUESTIONS["clarification"], input={"text": "bye"}, meta={"m": 1}
    )
    assert (signal.payload["code"], runs) == ("ASKED_AGAIN", MAX_SAME_QUESTION + 1)


@pytest.mark.clause("P-8.9")
async def test_two_questions_in_turn_end_with_an_error(start: Start) -> None:
    signal, runs = await always_answer(start, lambda input, turn: clarify(("which?", "where?")[turn % 2]))
    assert (signal.payload["code"], runs) == ("ASKED_AGAIN", 2 * MAX_SAME_QUESTION + 1)


async def test_watcher_that_answers_every_question_comes_to_an_end(start: Start) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return input if "clarification" in input else clarify("which?")

    await start(asks, role="worker")
    orchestrator = await start()
    ended: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.ERROR, ended.put_nowait)

    @orchestrator.on_clarification
    async def answer(question: Signal) -> None:
        await orchestrator.respond_to_clarification(question, "this one")

    task = await orchestrator.dispatch_task(neuron="asks", input={})
    async with asyncio.timeout(30):
        error = await ended.get()
    assert (error.trace_id, error.payload["code"]) == (task.trace_id, "ASKED_AGAIN")


async def test_different_questions_are_not_bounded(start: Start) -> None:
    def question(input: dict[str, Any], turn: int) -> Any:
        return (
            clarify(f"item {turn}?")
            if turn <= 3 * MAX_SAME_QUESTION
            else {"__error__": True, "message": "done"}
        )

    signal, runs = await always_answer(start, question)
    assert (signal.payload["message"], runs) == ("done", 3 * MAX_SAME_QUESTION + 1)


@pytest.mark.clause("P-8.9")
async def test_question_that_changes_each_time_ends_with_an_error(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clarification, "MAX_QUESTIONS", 20)
    signal, runs = await always_answer(start, lambda input, turn: clarify(f"attempt {turn}: which?"))
    assert (signal.payload["code"], runs) == ("ASKED_AGAIN", 21)
    assert signal.payload["message"].startswith("Neuron 'asks' asked 'attempt 21: which?' after 20 answers: ")


async def test_tasks_of_one_trace_are_counted_separately(start: Start, ask: Ask) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("which?")

    dendrite = await start(asks)
    first = await ask(dendrite, "asks")
    for _ in range(2 * MAX_SAME_QUESTION):
        again = await dendrite.dispatch_and_wait(neuron="asks", input={}, trace_id=first.trace_id)
        assert again.type is SignalType.CLARIFICATION


@pytest.mark.clause("P-8.9")
@pytest.mark.parametrize("asked", [None, "which?", 7, {}, [None, {}, "which?"]])
async def test_other_use_of_the_key_is_not_an_error(start: Start, asked: Any) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("which?")

    dendrite = await start(asks)
    signal = await dendrite.dispatch_and_wait(neuron="asks", input={}, meta={"asked": asked})
    assert signal.type is SignalType.CLARIFICATION
