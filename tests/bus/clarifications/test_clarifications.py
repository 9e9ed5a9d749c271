"""Clarifications and permissions: requests of Neurons, and responses from any Dendrite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import (
    Axon,
    NeuronFn,
    Signal,
    SignalType,
    ask_permission,
    clarify,
    decode,
    encode,
)
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import assert_valid_trace

if TYPE_CHECKING:
    from tests.bus.clarifications.conftest import Ask
    from tests.bus.common import Start


def marks(input: dict[str, Any], context: list[Any]) -> Any:
    if "clarifications" in input:
        return input
    return {"__clarification__": True, "question": "which?"}


async def streams(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    if "clarifications" in input:
        yield input
    else:
        yield "let me see"
        yield clarify("which?")


async def streams_marks(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    if "clarifications" in input:
        yield input
    else:
        yield {"__clarification__": True, "question": "which?"}


# --- the Neuron runs again ------------------------------------------------------------------------


@pytest.mark.clause("P-8.1", "P-8.6")
async def test_clarification_answer_reruns_neuron(
    start: Start, published: list[Signal], translate: NeuronFn, ask: Ask
) -> None:
    await start(translate, role="worker")
    orchestrator = await start()
    question = await ask(orchestrator, "translate", text="hello")
    assert question.type is SignalType.CLARIFICATION
    assert question.payload == {"question": "into which language?", "context": ["de", "fr"]}
    pathway = await orchestrator.respond_to_clarification(question, "de")
    reply = await pathway.wait(5)
    assert reply.payload["output"] == {"language": "de", "text": "hello", "context": []}
    assert [signal.type.value for signal in published] == [
        "TASK",
        "CLARIFICATION",
        "CLARIFICATION_ANSWER",
        "TASK",
        "AGENT_OUTPUT",
    ]
    assert [signal.parent_id for signal in published] == [None, *(signal.id for signal in published[:-1])]
    assert {signal.trace_id for signal in published} == {pathway.trace_id}
    assert_valid_trace(published)


@pytest.mark.clause("P-8.1", "P-8.6")
@pytest.mark.parametrize("granted", [True, False])
async def test_permission_decision_reruns_neuron(
    start: Start, published: list[Signal], granted: bool, delete: NeuronFn, ask: Ask
) -> None:
    await start(delete, role="worker")
    orchestrator = await start()
    request = await ask(orchestrator, "delete", path="/a")
    assert request.payload == {"action": "delete", "scope": "/a", "reason": "the disk is full"}
    pathway = await orchestrator.respond_to_permission(request, granted, "so be it")
    entry = {"action": "delete", "scope": "/a", "granted": granted, "reason": "so be it"}
    assert (await pathway.wait(5)).payload["output"] == {"permissions": [entry]}
    decision = published[2]
    assert decision.type is SignalType.PERMISSION_DECISION
    assert decision.payload == {"granted": granted, "reason": "so be it"}
    assert_valid_trace(published)


@pytest.mark.clause("P-8.6")
async def test_unset_permission_fields_are_none_in_input(start: Start, ask: Ask) -> None:
    async def bare(input: dict[str, Any], context: list[Any]) -> Any:
        return input if "permissions" in input else ask_permission("delete")

    dendrite = await start(bare)
    pathway = await dendrite.respond_to_permission(await ask(dendrite, "bare"), True)
    entry = {"action": "delete", "scope": None, "granted": True, "reason": None}
    assert (await pathway.wait(5)).payload["output"] == {"permissions": [entry]}


@pytest.mark.clause("P-8.1", "P-8.3")
@pytest.mark.parametrize("neuron", [marks, streams, streams_marks])
async def test_every_neuron_form_can_ask_back(start: Start, neuron: NeuronFn, ask: Ask) -> None:
    dendrite = await start(neuron)
    question = await ask(dendrite, neuron.__name__, n=1)  # type: ignore[attr-defined]
    assert question.payload == {"question": "which?"}
    pathway = await dendrite.respond_to_clarification(question, {"any": ["json"]})
    answers = [{"question": "which?", "answer": {"any": ["json"]}}]
    assert (await pathway.wait(5)).payload["output"] == {"n": 1, "clarifications": answers}


@pytest.mark.clause("P-8.2")
async def test_other_dendrite_can_respond(start: Start, translate: NeuronFn, ask: Ask) -> None:
    await start(translate, role="worker")
    asker = await start()
    question = decode(encode(await ask(asker, "translate", text="hello")))
    await asker.stop()
    other = await start()
    pathway = await other.respond_to_clarification(question, "fr")
    assert (await pathway.wait(5)).payload["output"]["language"] == "fr"


async def test_watcher_can_respond(start: Start, translate: NeuronFn) -> None:
    await start(translate, role="worker")
    asker, terminal = await start(), await start()
    questions: asyncio.Queue[Signal] = asyncio.Queue()
    await terminal.watch(SignalType.CLARIFICATION, questions.put_nowait)
    await asker.dispatch_task(neuron="translate", input={"text": "hello"})
    async with asyncio.timeout(5):
        pathway = await terminal.respond_to_clarification(await questions.get(), "fr")
        assert (await pathway.wait()).payload["output"]["language"] == "fr"


@pytest.mark.clause("P-8.2", "P-8.6")
async def test_response_dispatches_task_with_same_payload(
    start: Start, published: list[Signal], translate: NeuronFn
) -> None:
    async def fetch(ref: str | None) -> list[Any]:
        return [ref]

    axon = Axon(neuron_id="translate", neuron_fn=translate, capabilities=["a", "b"], context_fetcher=fetch)
    await start(axon, role="worker")
    orchestrator = await start()
    question = await orchestrator.dispatch_and_wait(
        capabilities=["b"], input={"text": "x"}, context_ref="c1", scope="terminal"
    )
    pathway = await orchestrator.respond_to_clarification(question, "de")
    assert (await pathway.wait_for(SignalType.FINAL, 5)).payload["result"]["context"] == ["c1"]
    first, again = (signal.payload for signal in published if signal.type is SignalType.TASK)
    assert {**first, "deadline_ms": 0, "input": 0} == {**again, "deadline_ms": 0, "input": 0}


async def test_response_overrides_dispatch_options(
    start: Start, published: list[Signal], translate: NeuronFn, ask: Ask
) -> None:
    await start(translate, role="worker")
    orchestrator = await start()
    question = await ask(orchestrator, "translate", text="hello")
    pathway = await orchestrator.respond_to_clarification(
        question, "de", input={"text": "bye"}, scope="terminal", deadline_s=60, context_ref="c", meta={"m": 1}
    )
    final = await pathway.wait(5)
    assert (final.type, final.payload["result"]["text"]) == (SignalType.FINAL, "bye")
    task = published[3]
    assert (task.payload["context_ref"], task.meta["m"]) == ("c", 1)
    assert "deadline_ms" in task.payload
    assert "deadline_ms" not in published[2].payload


async def test_two_answers_run_neuron_twice(start: Start, translate: NeuronFn, ask: Ask) -> None:
    dendrite = await start(translate)
    question = await ask(dendrite, "translate", text="hello")
    pathways = [await dendrite.respond_to_clarification(question, answer) for answer in ("de", "fr")]
    outputs = [(await pathway.wait(5)).payload["output"]["language"] for pathway in pathways]
    assert outputs == ["de", "fr"]


async def test_repeated_clarification_is_received_once(
    start: Start, synapse: MemorySynapse, translate: NeuronFn
) -> None:
    await start(translate, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="translate", input={"text": "x"})
    question = await pathway.wait(5)
    orchestrator._pathways.receive(question)
    again = await orchestrator.respond_to_clarification(question, "de")
    orchestrator._pathways.receive(question)
    assert (await again.wait(5)).type is SignalType.AGENT_OUTPUT
    again.close()
    assert SignalType.CLARIFICATION not in {signal.type async for signal in again}


async def test_neuron_wrapper_sees_and_passes_clarification(
    start: Start, translate: NeuronFn, ask: Ask
) -> None:
    seen: list[Any] = []

    class Watches:
        @hookimpl
        def cosmo_neuron_wrappers(self) -> Callable[[NeuronFn], NeuronFn]:
            return self.wrap

        def wrap(self, neuron: NeuronFn) -> NeuronFn:
            async def watching(input: dict[str, Any], context: list[Any]) -> Any:
                seen.append(await neuron({**input, "prompt": "put together"}, context))
                return seen[-1]

            return watching

    plugins = PluginManager()
    plugins.register(Watches(), name="watches")
    await start(translate, role="worker", plugins=plugins)
    orchestrator = await start()
    question = await ask(orchestrator, "translate", text="hello")
    assert seen == [clarify("into which language?", context=["de", "fr"])]
    assert question.meta["task"]["input"] == {"text": "hello"}
    pathway = await orchestrator.respond_to_clarification(question, "de")
    assert (await pathway.wait(5)).type is SignalType.AGENT_OUTPUT


# --- broadcast answers ------------------------------------------------------------------------------


@pytest.mark.clause("P-8.5")
async def test_answer_signals_stay_on_trace_and_start_no_task(
    start: Start, published: list[Signal], translate: NeuronFn, delete: NeuronFn
) -> None:
    await start(translate, delete, role="worker")
    orchestrator = await start()
    one = await orchestrator.dispatch(neuron="translate", input={"text": "x"})
    question = await one.wait(5)
    sent = [await orchestrator.answer_clarification(question, None)]
    assert await one.wait_for(SignalType.CLARIFICATION_ANSWER, 5) == sent[0]
    two = await orchestrator.dispatch(neuron="delete", input={"path": "/"})
    request = await two.wait(5)
    sent.append(await orchestrator.grant_permission(request, reason="fine", ttl_ms=5))
    sent.append(await orchestrator.deny_permission(request))
    assert [(signal.type.value, signal.payload) for signal in sent] == [
        ("CLARIFICATION_ANSWER", {"answer": None}),
        ("PERMISSION_DECISION", {"granted": True, "reason": "fine", "ttl_ms": 5}),
        ("PERMISSION_DECISION", {"granted": False}),
    ]
    for signal, cause in zip(sent, [question, request, request], strict=True):
        assert (signal.trace_id, signal.parent_id) == (cause.trace_id, cause.id)
        assert signal.directed == cause.directed
        assert signal in published
    assert [signal.type for signal in published].count(SignalType.TASK) == 2


@pytest.mark.clause("P-8.5")
async def test_clarification_answer_is_broadcast(
    start: Start, synapse: MemorySynapse, translate: NeuronFn, ask: Ask
) -> None:
    dendrite = await start(translate)
    listening: asyncio.Queue[bytes] = asyncio.Queue()
    await synapse.subscribe("cosmonapse.test.CLARIFICATION_ANSWER", listening.put_nowait)
    question = await ask(dendrite, "translate", text="x")
    await (await dendrite.respond_to_clarification(question, "de")).wait(5)
    async with asyncio.timeout(5):
        published = decode(await listening.get())
    assert (published.payload, published.parent_id) == ({"answer": "de"}, question.id)


# --- shutdown ---------------------------------------------------------------------------------------


async def test_cancelled_responder_leaves_no_pathway(start: Start, synapse: MemorySynapse, ask: Ask) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        if "clarifications" not in input:
            return clarify("which?")
        entered.set()
        try:
            return await asyncio.Event().wait()
        finally:
            ended.set()

    await start(slow, role="worker")
    orchestrator = await start()
    question = await ask(orchestrator, "slow")

    async def respond() -> Signal:
        async with await orchestrator.respond_to_clarification(question, "x") as pathway:
            return await pathway.wait()

    responding = asyncio.create_task(respond())
    async with asyncio.timeout(5):
        await entered.wait()
        responding.cancel()
        await asyncio.wait([responding])
        assert orchestrator._pathways.pathways() == []
        await orchestrator.stop_trace(question.trace_id)
        await ended.wait()


async def test_stop_with_open_clarification_closes_pathway(start: Start, translate: NeuronFn) -> None:
    await start(translate, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="translate", input={"text": "x"})
    question = await pathway.wait(5)
    assert orchestrator._pathways.pathways() == [pathway]
    await orchestrator.stop()
    assert pathway.closed
    assert await pathway.wait() == question
    assert orchestrator._pathways.pathways() == []
