"""Properties of clarifications: each request arrives, and each answer reaches the Neuron, in order."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import Axon, Dendrite, Signal, SignalType, ask_permission, clarify, decode, encode
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import assert_valid_trace
from cosmo_testing.strategies import json_objects, json_values


@attrs.frozen
class Round:
    """A request of a Neuron and the response to it.

    Attributes:
        returned: The value that the Neuron returns.
        type: The type of the resulting Signal.
        payload: The payload of that Signal.
        response: The arguments of ``respond_to_…`` after the request.
        key: The key of the input that gets the entry.
        entry: The entry that the Neuron reads there.
    """

    returned: Any
    type: SignalType
    payload: dict[str, Any]
    response: tuple[Any, ...]
    key: str
    entry: dict[str, Any]


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@st.composite
def questions(draw: st.DrawFn) -> Round:
    question, context, answer = draw(st.text()), draw(json_values()), draw(json_values())
    returned: Any = clarify(question, context)
    if draw(st.booleans()):
        returned = {"__clarification__": True, "question": question, "context": context}
    return Round(
        returned,
        SignalType.CLARIFICATION,
        _given(question=question, context=context),
        (answer,),
        "clarifications",
        {"question": question, "answer": answer},
    )


@st.composite
def requests(draw: st.DrawFn) -> Round:
    action, scope, why = draw(st.text()), draw(json_values()), draw(st.none() | st.text())
    granted, because = draw(st.booleans()), draw(st.none() | st.text())
    returned: Any = ask_permission(action, scope, why)
    if draw(st.booleans()):
        returned = {"__permission__": True, "action": action, "scope": scope, "reason": why}
    return Round(
        returned,
        SignalType.PERMISSION,
        _given(action=action, scope=scope, reason=why),
        (granted, because),
        "permissions",
        {"action": action, "scope": scope, "granted": granted, "reason": because},
    )


def inputs() -> st.SearchStrategy[dict[str, Any]]:
    """Any object, sometimes with entries of earlier answers."""
    earlier = st.fixed_dictionaries(
        {},
        optional={
            "clarifications": st.lists(json_values(), max_size=2),
            "permissions": st.lists(json_values(), max_size=2),
        },
    )
    plain = json_objects().map(lambda input: {k: v for k, v in input.items() if k not in _KEYS})
    return st.builds(lambda input, answers: {**input, **answers}, plain, earlier)


_KEYS = {"clarifications", "permissions"}


class AskingNeuron:
    """A Neuron that makes one request per run, and records the input of each run."""

    def __init__(self, rounds: list[Round]) -> None:
        self.rounds = rounds
        self.runs: list[dict[str, Any]] = []

    def ask(self, input: dict[str, Any]) -> Any:
        self.runs.append(copy.deepcopy(input))
        index = len(self.runs) - 1
        return self.rounds[index].returned if index < len(self.rounds) else {"runs": len(self.runs)}

    async def return_reply(self, input: dict[str, Any], context: list[Any]) -> Any:
        return self.ask(input)

    async def stream_reply(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "let me see"
        yield self.ask(input)


async def respond(dendrite: Dendrite, request: Signal, response: tuple[Any, ...]) -> Signal:
    if request.type is SignalType.CLARIFICATION:
        pathway = await dendrite.respond_to_clarification(request, *response)
    else:
        pathway = await dendrite.respond_to_permission(request, *response)
    async with pathway:
        return await pathway.wait(5)


async def ask_and_answer(
    neuron: AskingNeuron, input: dict[str, Any], *, streams: bool
) -> tuple[list[Signal], list[Signal]]:
    """Answer every request of a Neuron; return the replies and the whole trace."""
    synapse = MemorySynapse()
    await synapse.connect()
    trace: list[Signal] = []
    for type in SignalType:
        await synapse.subscribe(f"cosmonapse.test.{type}.>", lambda frame: trace.append(decode(frame)))
    for type in (SignalType.CLARIFICATION_ANSWER, SignalType.PERMISSION_DECISION):
        await synapse.subscribe(f"cosmonapse.test.{type}", lambda frame: trace.append(decode(frame)))
    plugins = PluginManager()
    worker = Dendrite(synapse=synapse, namespace="test", role="worker", plugins=plugins)
    worker.attach_axon(
        Axon(neuron_id="asks", neuron_fn=neuron.stream_reply if streams else neuron.return_reply)
    )
    async with worker, Dendrite(synapse=synapse, namespace="test", plugins=plugins) as orchestrator:
        replies = [await orchestrator.dispatch_and_wait(neuron="asks", input=input, timeout_s=5)]
        for round in neuron.rounds:
            # A response does not depend on the Signal object that arrived.
            request = decode(encode(replies[-1]))
            replies.append(await respond(orchestrator, request, round.response))
    await synapse.close()
    return replies, [signal for signal in trace if signal.trace_id == replies[0].trace_id]


@given(inputs(), st.lists(questions() | requests(), max_size=4), st.booleans())
def test_every_answer_reaches_neuron_in_order(
    input: dict[str, Any], rounds: list[Round], streams: bool
) -> None:
    neuron, original = AskingNeuron(rounds), copy.deepcopy(input)
    replies, trace = asyncio.run(ask_and_answer(neuron, input, streams=streams))

    assert input == original
    expected = [input]
    for round in rounds:
        last = expected[-1]
        expected.append({**last, round.key: [*last.get(round.key, []), round.entry]})
    assert neuron.runs == expected

    *requests, output = replies
    assert output.payload["output"] == {"runs": len(rounds) + 1}
    for request, round, run in zip(requests, rounds, expected, strict=False):
        assert (request.type, request.payload) == (round.type, round.payload)
        assert request.meta["task"] == {"input": run}
    assert {reply.trace_id for reply in replies} == {output.trace_id}
    assert [signal.type for signal in trace].count(SignalType.TASK) == len(rounds) + 1
    assert_valid_trace(trace)
