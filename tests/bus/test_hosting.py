"""Hosting: forms of Neurons, their outputs, errors and limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    MalformedSignalError,
    NeuronError,
    Signal,
    SignalType,
    encode,
)
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, echo


async def ask(start: Start, neuron: Any, input: dict[str, Any] | None = None, **options: Any) -> Signal:
    """Host a Neuron, send it one TASK, and check that its Dendrite still serves."""
    await start(neuron, echo, role="worker", **options)
    orchestrator = await start()
    name = neuron.neuron_id if isinstance(neuron, Axon) else neuron.__name__
    reply = await orchestrator.dispatch_and_wait(neuron=name, input=input or {})
    again = await orchestrator.dispatch_and_wait(neuron="echo", input={"still": "here"})
    assert again.payload["output"] == {"still": "here"}
    return reply


def assert_error(reply: Signal, code: str, *, recoverable: bool = False) -> None:
    assert reply.type is SignalType.ERROR
    assert (reply.payload["code"], reply.payload["recoverable"]) == (code, recoverable), reply.payload


async def test_synchronous_function_can_be_neuron(start: Start) -> None:
    def shout(input: dict[str, Any], context: list[Any]) -> Any:
        return {"loud": input["text"].upper()}

    reply = await ask(start, shout, {"text": "hi"})
    assert reply.payload["output"] == {"loud": "HI"}


async def test_lambda_that_returns_coroutine_can_be_neuron(start: Start) -> None:
    axon = Axon(neuron_id="wrapped", neuron_fn=lambda input, context: echo(input, context))
    assert (await ask(start, axon, {"a": 1})).payload["output"] == {"a": 1}


async def test_callable_object_can_be_neuron(start: Start) -> None:
    class Doubler:
        __name__ = "doubler"

        async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
            return {"twice": input["n"] * 2}

    assert (await ask(start, Doubler(), {"n": 4})).payload["output"] == {"twice": 8}


@pytest.mark.clause("P-6.3")
async def test_stream_without_final_object_is_joined(start: Start) -> None:
    async def words(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "one "
        yield "two"

    assert (await ask(start, words)).payload["output"] == {"response": "one two"}


@pytest.mark.clause("P-5.8")
async def test_scalar_output_is_wrapped_in_value(start: Start) -> None:
    async def answer(input: dict[str, Any], context: list[Any]) -> Any:
        return 42

    assert (await ask(start, answer)).payload["output"] == {"value": 42}


@pytest.mark.clause("P-5.8")
async def test_neuron_that_returns_none_gets_output_invalid(start: Start) -> None:
    async def nothing(input: dict[str, Any], context: list[Any]) -> None:
        pass

    reply = await ask(start, nothing)
    assert_error(reply, "OUTPUT_INVALID")
    assert "'nothing' returned nothing" in reply.payload["message"]


@pytest.mark.clause("P-1.11", "P-5.12")
async def test_neuron_output_that_is_not_json_gets_output_invalid(start: Start) -> None:
    async def unencodable(input: dict[str, Any], context: list[Any]) -> Any:
        return {"odd": object()}

    assert_error(await ask(start, unencodable), "OUTPUT_INVALID")


@pytest.mark.clause("P-1.12", "P-5.12")
async def test_output_larger_than_frame_limit_gets_output_invalid(start: Start) -> None:
    async def flood(input: dict[str, Any], context: list[Any]) -> Any:
        return {"flood": "x" * 2_000_000}

    reply = await ask(start, flood)
    assert_error(reply, "OUTPUT_INVALID")
    assert "exceeds the limit of 1044480 bytes" in reply.payload["message"]


@pytest.mark.clause("P-5.13")
async def test_neuron_exception_text_stays_in_worker_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async def boom(input: dict[str, Any], context: list[Any]) -> Any:
        raise KeyError("hf_s3cr3t")

    reply = await ask(start, boom)
    assert_error(reply, "NEURON_ERROR")
    assert "KeyError" in reply.payload["message"]
    assert str(reply.parent_id) in reply.payload["message"]
    assert "s3cr3t" not in reply.payload["message"]
    assert "s3cr3t" in caplog.text


@pytest.mark.clause("P-5.13")
async def test_expose_errors_sends_exception_text(start: Start) -> None:
    async def boom(input: dict[str, Any], context: list[Any]) -> Any:
        raise ValueError("no such city")

    reply = await ask(start, boom, expose_errors=True)
    assert reply.payload["message"] == "ValueError: no such city"


@pytest.mark.clause("P-5.12")
async def test_neuron_error_sets_code_message_and_recoverable(start: Start) -> None:
    async def busy(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("come back at nine", code="CLOSED", recoverable=True)

    reply = await ask(start, busy)
    assert_error(reply, "CLOSED", recoverable=True)
    assert reply.payload["message"] == "come back at nine"


@pytest.mark.clause("P-6.4")
async def test_failed_stream_ends_with_error(start: Start) -> None:
    async def breaks(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "so far"
        raise NeuronError("cut", code="PROVIDER_UNREACHABLE", recoverable=True)

    await start(breaks, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="breaks", input={})
    assert [signal.type.value async for signal in pathway] == ["THOUGHT_DELTA", "ERROR"]


class Question(TypedDict):
    city: str


@pytest.mark.clause("P-5.12", "P-5.14")
async def test_axon_validates_input_and_output_types(start: Start) -> None:
    async def weather(input: dict[str, Any], context: list[Any]) -> Any:
        return {"degrees": "warm"} if input["city"] == "Rome" else {"degrees": 3}

    class Answer(TypedDict):
        degrees: int

    axon = Axon(neuron_id="weather", neuron_fn=weather, input_type=Question, output_type=Answer)
    await start(axon, role="worker")
    orchestrator = await start()
    wrong = await orchestrator.dispatch_and_wait(neuron="weather", input={"town": "Oslo"})
    assert_error(wrong, "INPUT_INVALID")
    assert "missing required field `city`" in wrong.payload["message"]
    assert_error(
        await orchestrator.dispatch_and_wait(neuron="weather", input={"city": "Rome"}), "OUTPUT_INVALID"
    )
    fine = await orchestrator.dispatch_and_wait(neuron="weather", input={"city": "Oslo"})
    assert fine.payload["output"] == {"degrees": 3}


async def test_context_fetcher_supplies_context(start: Start) -> None:
    async def fetch(ref: str | None) -> list[Any]:
        return [ref, "notes"]

    async def reader(input: dict[str, Any], context: list[Any]) -> Any:
        return {"context": context}

    await start(Axon(neuron_id="reader", neuron_fn=reader, context_fetcher=fetch), role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="reader", input={}, context_ref="chapter-1")
    assert reply.payload["output"] == {"context": ["chapter-1", "notes"]}


@pytest.mark.clause("P-3.1")
@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "a\n", "x" * 65, "\u0435cho"])
def test_invalid_names_are_rejected(name: str) -> None:
    with pytest.raises(MalformedSignalError):
        Axon(neuron_id=name, neuron_fn=echo)
    with pytest.raises(MalformedSignalError):
        Axon(neuron_id="fine", neuron_fn=echo, capabilities=[name])
    with pytest.raises(MalformedSignalError):
        Dendrite(synapse=MemorySynapse(), namespace=name)


def test_axon_rejects_invalid_arguments() -> None:
    with pytest.raises(TypeError, match="async function"):
        Axon(neuron_id="x", neuron_fn="echo")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not 'chat'"):
        Axon(neuron_id="x", neuron_fn=echo, capabilities="chat")
    with pytest.raises(ValueError, match="max_concurrency"):
        Axon(neuron_id="x", neuron_fn=echo, max_concurrency=0)


@pytest.mark.clause("P-3.6")
async def test_replicas_share_tasks_and_run_each_once(start: Start) -> None:
    ran: list[list[int]] = [[], []]

    def replica(into: list[int]) -> Axon:
        async def work(input: dict[str, Any], context: list[Any]) -> Any:
            into.append(input["n"])
            return {}

        return Axon(neuron_id="work", neuron_fn=work)

    for into in ran:
        await start(replica(into), role="worker")
    orchestrator = await start()
    await asyncio.gather(*(orchestrator.dispatch_and_wait(neuron="work", input={"n": n}) for n in range(20)))
    assert sorted(ran[0] + ran[1]) == list(range(20))
    assert len(ran[0]) == len(ran[1]) == 10


@pytest.mark.clause("P-3.12", "P-5.6")
async def test_duplicate_task_id_runs_once(start: Start, synapse: MemorySynapse) -> None:
    runs: list[int] = []

    async def once(input: dict[str, Any], context: list[Any]) -> Any:
        runs.append(1)
        return {}

    worker = await start(once, role="worker")
    orchestrator = await start()
    task = await orchestrator.dispatch_task(neuron="once", input={})
    for _ in range(1000):
        await synapse.publish("cosmonapse.test.TASK.neuron.once", encode(task))
    await orchestrator.dispatch_and_wait(neuron="once", input={})
    assert len(runs) == 2
    assert worker.counters["duplicates"] == 1000


@pytest.mark.clause("P-5.11")
async def test_axon_rejects_tasks_beyond_limits(start: Start) -> None:
    release = asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        return {"n": input["n"]}

    await start(Axon(neuron_id="slow", neuron_fn=slow, max_concurrency=2, max_backlog=3), role="worker")
    orchestrator = await start()
    pathways = [await orchestrator.dispatch(neuron="slow", input={"n": n}) for n in range(7)]
    for refused in pathways[5:]:
        reply = await refused.wait()
        assert_error(reply, "OVERLOADED", recoverable=True)
        assert "is full: 2 TASKs run, 3 wait" in reply.payload["message"]
    release.set()
    for number, pathway in enumerate(pathways[:5]):
        assert (await pathway.wait()).payload["output"] == {"n": number}


@pytest.mark.clause("P-1.10")
async def test_malformed_frames_are_counted_and_ignored(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start(echo, role="worker")
    orchestrator = await start()
    good = encode(Signal.new(SignalType.TASK, {"input": {}}))
    for frame in [b"", b"{}", b"\xff", b"[" * 10_000, good.replace(b'"input"', b'"output"')] * 4:
        await synapse.publish("cosmonapse.test.TASK.neuron.echo", frame)
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1})
    assert reply.payload["output"] == {"a": 1}
    assert worker.counters["malformed"] == 20
    assert orchestrator.counters["malformed"] == 0
    assert caplog.text.count("malformed frame ignored") == 2


@pytest.mark.clause("P-3.8", "P-3.9")
async def test_task_on_broadcast_subject_reaches_addressed_neuron(
    start: Start, synapse: MemorySynapse
) -> None:
    await start(echo, role="worker")
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    await synapse.subscribe("cosmonapse.test.AGENT_OUTPUT", answer.set_result)
    frame = (
        b'{"v":"1","id":"evt_01M7XHM3F0C57SYYYWS7WN72E4","trace_id":"trc_01M7XHM3F0C57SYYYWS7WN72E3",'
        b'"parent_id":null,"type":"TASK","directed":{"id":"echo","type":null,"capabilities":[]},'
        b'"ts":"2026-11-20T22:35:51.136131Z","payload":{"input":{"a":1}},"meta":{}}'
    )
    await synapse.publish("cosmonapse.test.TASK", frame)
    assert b'"parent_id":"evt_01M7XHM3F0C57SYYYWS7WN72E4"' in await answer


async def test_attach_axon_rejects_duplicate_id(start: Start) -> None:
    dendrite = Dendrite(synapse=MemorySynapse(), plugins=PluginManager())
    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    with pytest.raises(ValueError, match="'echo' is attached"):
        dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))


async def test_neuron_that_blocks_event_loop_still_answers(start: Start) -> None:
    async def blocks(input: dict[str, Any], context: list[Any]) -> Any:
        threading.Event().wait(0.05)
        return {"done": True}

    assert (await ask(start, blocks)).payload["output"] == {"done": True}


async def test_blocking_synchronous_function_does_not_block_event_loop(start: Start) -> None:
    release = threading.Event()

    def blocks(input: dict[str, Any], context: list[Any]) -> Any:
        return {"released": release.wait(10)}

    await start(blocks, echo, role="worker")
    orchestrator = await start()
    blocked = await orchestrator.dispatch(neuron="blocks", input={})
    await orchestrator.dispatch_and_wait(neuron="echo", input={})
    release.set()
    assert (await blocked.wait()).payload["output"] == {"released": True}
