"""Invalid answers to requests of Neurons, and requests that cannot be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    LifecycleError,
    MalformedSignalError,
    NeuronFn,
    NoRouteError,
    RoleError,
    Signal,
    SignalType,
    UnencodableError,
    clarify,
)
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse

if TYPE_CHECKING:
    from tests.bus.clarifications.conftest import Ask
    from tests.bus.common import Start


@pytest.mark.clause("P-10.2")
async def test_worker_role_cannot_answer(
    start: Start, published: list[Signal], translate: NeuronFn, delete: NeuronFn, ask: Ask
) -> None:
    await start(translate, delete, role="worker")
    orchestrator, worker = await start(), await start(role="worker")
    question = await ask(orchestrator, "translate", text="x")
    request = await ask(orchestrator, "delete", path="/")
    del published[:]
    for call in (
        worker.answer_clarification(question, "de"),
        worker.respond_to_clarification(question, "de"),
    ):
        with pytest.raises(RoleError, match="may not emit CLARIFICATION_ANSWER"):
            await call
    for decide in (
        worker.grant_permission(request),
        worker.deny_permission(request),
        worker.respond_to_permission(request, True),
    ):
        with pytest.raises(RoleError, match="may not emit PERMISSION_DECISION"):
            await decide
    # The role is checked before the Neuron is looked up.
    unaddressed = Signal.new(SignalType.CLARIFICATION, {"question": "which?"}, directed=Directed("unknown"))
    with pytest.raises(RoleError):
        await worker.respond_to_clarification(unaddressed, "x", input={})
    assert published == []


async def test_answer_to_wrong_signal_type_raises(
    start: Start, translate: NeuronFn, delete: NeuronFn, ask: Ask
) -> None:
    dendrite = await start(translate, delete)
    question = await ask(dendrite, "translate", text="x")
    request = await ask(dendrite, "delete", path="/")
    output = await (await dendrite.respond_to_clarification(question, "de")).wait(5)
    for call in (
        dendrite.answer_clarification(request, "x"),
        dendrite.respond_to_clarification(request, "x"),
    ):
        with pytest.raises(
            MalformedSignalError, match=r"is a PERMISSION, not a CLARIFICATION; use grant_perm"
        ):
            await call
    for decide in (
        dendrite.grant_permission(question),
        dendrite.deny_permission(question),
        dendrite.respond_to_permission(question, True),
    ):
        with pytest.raises(
            MalformedSignalError, match=r"is a CLARIFICATION, not a PERMISSION; use answer_cla"
        ):
            await decide
    with pytest.raises(MalformedSignalError, match=r"is a AGENT_OUTPUT, not a PERMISSION$"):
        await dendrite.grant_permission(output)


@pytest.mark.clause("P-8.8")
@pytest.mark.parametrize("meta", [{}, {"task": None}, {"task": "x"}, {"task": {"input": 1}}])
async def test_request_without_task_names_required_arguments(
    start: Start, published: list[Signal], meta: dict[str, Any], translate: NeuronFn
) -> None:
    dendrite = await start(translate)
    foreign = Signal.new(SignalType.CLARIFICATION, {"question": "which?"}, meta=meta)
    with pytest.raises(MalformedSignalError, match=r"does not carry its TASK: pass input="):
        await dendrite.respond_to_clarification(foreign, "de")
    with pytest.raises(MalformedSignalError, match=r"does not name the Neuron that asks: pass neuron="):
        await dendrite.respond_to_clarification(foreign, "de", input={})
    assert published == []
    pathway = await dendrite.respond_to_clarification(foreign, "de", input={"text": "x"}, neuron="translate")
    assert (await pathway.wait(5)).payload["output"]["language"] == "de"


async def test_answer_that_cannot_be_inserted_into_input_raises(
    start: Start, published: list[Signal], ask: Ask
) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("which?")

    dendrite = await start(asks)
    question = await ask(dendrite, "asks", clarifications="none yet")
    del published[:]
    with pytest.raises(MalformedSignalError, match=r"input\.clarifications: .* has str: pass input="):
        await dendrite.respond_to_clarification(question, "x")
    with pytest.raises(MalformedSignalError, match="an object"):
        await dendrite.respond_to_clarification(question, "x", input=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no option 'trace_id'"):
        await dendrite.respond_to_clarification(question, "x", trace_id="t")  # type: ignore[call-arg]
    with pytest.raises(UnencodableError):
        await dendrite.respond_to_clarification(question, object(), input={})
    assert published == []
    assert dendrite._pathways.pathways() == []


@pytest.mark.clause("P-8.7")
async def test_answer_is_not_sent_when_neuron_has_left(
    start: Start, published: list[Signal], translate: NeuronFn, ask: Ask
) -> None:
    worker = await start(translate, role="worker")
    orchestrator = await start()
    question = await ask(orchestrator, "translate", text="x")
    await worker.stop()
    del published[:]
    with pytest.raises(NoRouteError, match="'translate'"):
        await orchestrator.respond_to_clarification(question, "de")
    await orchestrator.stop()
    with pytest.raises(LifecycleError):
        await orchestrator.respond_to_clarification(question, "de")
    with pytest.raises(LifecycleError):
        await orchestrator.answer_clarification(question, "de")
    assert published == []


async def test_request_larger_than_frame_limit_is_output_invalid(start: Start, ask: Ask) -> None:
    synapse = MemorySynapse(max_frame=2000)
    await synapse.connect()

    async def wordy(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("x" * 1000)

    options = {"synapse": synapse, "namespace": "small", "plugins": PluginManager()}
    async with Dendrite(**options) as dendrite:  # type: ignore[arg-type]
        await dendrite.add_axon(Axon(neuron_id="wordy", neuron_fn=wordy))
        assert (await ask(dendrite, "wordy", text="y")).type is SignalType.CLARIFICATION
        reply = await ask(dendrite, "wordy", text="y" * 1000)
    await synapse.close()
    assert reply.payload["code"] == "OUTPUT_INVALID"
    assert "exceeds the limit of 2000 bytes" in reply.payload["message"]
    assert "a CLARIFICATION carries the input of its TASK" in reply.payload["message"]


async def test_request_that_is_not_json_is_output_invalid(start: Start, ask: Ask) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("which?", context=object())

    dendrite = await start(asks)
    reply = await ask(dendrite, "asks")
    assert reply.payload["code"] == "OUTPUT_INVALID"
