"""Two programs that answer the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, clarify, connect_synapse
from cosmo_core_cli import answer
from cosmo_core_cli.answer import Session
from cosmo_core_cli.bus import Bus
from cosmo_core_cli.responding import Answer, Decision

DAY, HOUR = "Which day?", "Which hour?"


async def booker(input: dict[str, Any], context: list[Any]) -> Any:
    answers = [each["answer"] for each in input.get("clarifications", [])]
    return {"answers": answers} if len(answers) == 2 else clarify((DAY, HOUR)[len(answers)])


class Slow:
    """A responder that is overtaken by another program, which answers the question about the day."""

    def __init__(self, other: Dendrite) -> None:
        self.other = other
        self.asked: list[str] = []
        self.overtaken = asyncio.Event()

    async def reply(self, request: Signal) -> Answer | Decision:
        question = request.payload["question"]
        self.asked.append(question)
        if question == DAY:
            await self.other.respond_to_clarification(request, "Monday")
            await self.overtaken.wait()
            return Answer("Tuesday")
        return Answer("noon")


class Overtaken(Session):
    """A session that tells its responder when another program has answered."""

    def _remove(self, answer: Signal) -> None:
        super()._remove(answer)
        self._responder.overtaken.set()  # type: ignore[union-attr]


async def test_question_that_another_program_answers_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect_synapse("memory://") as synapse, Dendrite(synapse=synapse) as other:

        @asynccontextmanager
        async def open_dendrite(bus: Bus) -> AsyncIterator[Dendrite]:
            async with Dendrite(synapse=synapse) as dendrite:
                yield dendrite

        monkeypatch.setattr(answer, "open_dendrite", open_dendrite)
        await other.add_axon(Axon(neuron_id="booker", neuron_fn=booker))
        asked = await other.dispatch_and_wait(neuron="booker", input={}, timeout_s=10)
        assert asked.type is SignalType.CLARIFICATION
        slow = Slow(other)
        session = Overtaken(slow, as_json=False, once=True)  # type: ignore[arg-type]
        status = await asyncio.wait_for(session.run(Bus("memory://"), None, None), 20)
    assert (status, slow.asked) == (0, [DAY, HOUR])
    shown = capsys.readouterr()
    assert shown.out == '{"answers":["Monday","noon"]}\n'
    assert f"CLARIFICATION {asked.id} was answered elsewhere meanwhile" in shown.err
