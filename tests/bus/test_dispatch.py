"""Dispatching and its three shapes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import (
    Dendrite,
    LifecycleError,
    MalformedSignalError,
    NoRouteError,
    PathwayClosedError,
    RoleError,
    Signal,
    SignalType,
    UnencodableError,
)
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return {"response": input.get("prompt")}


async def count(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    for number in range(input["to"]):
        yield str(number)
    yield {"response": "done", "meta": {}}


class Gate:
    """A Neuron that answers when it is let, and tells when it began and how it ended."""

    __name__ = "gate"

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.runs = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.runs += 1
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"runs": self.runs}


async def test_request_and_reply(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={"prompt": "hi"})
    assert reply.type is SignalType.AGENT_OUTPUT
    assert reply.payload["output"] == {"response": "hi"}


async def test_a_dendrite_may_serve_and_dispatch(start: Start) -> None:
    both = await start(echo)
    assert (await both.dispatch_and_wait(neuron="echo", input={})).type is SignalType.AGENT_OUTPUT


async def test_a_late_orchestrator_finds_who_is_there(start: Start) -> None:
    await start(echo, role="worker")
    late = await start()
    assert (await late.dispatch_and_wait(neuron="echo", input={})).type is SignalType.AGENT_OUTPUT
    assert [record.neuron_id for record in late.find_neurons()] == ["echo"]


async def test_capabilities_find_a_neuron(start: Start) -> None:
    await start(echo, role="worker", axon={"capabilities": ["text", "echo"]})
    await start(count, role="worker", axon={"capabilities": ["count"]})
    orchestrator = await start()
    for _ in range(4):
        reply = await orchestrator.dispatch_and_wait(capabilities=["echo", "text"], input={"prompt": "hi"})
        assert reply.payload["output"] == {"response": "hi"}
    with pytest.raises(NoRouteError, match=r"'count' and 'text'.*known: count, echo, text"):
        await orchestrator.dispatch_and_wait(capabilities=["count", "text"], input={})
    assert [record.neuron_id for record in orchestrator.find_neurons("count")] == ["count"]


async def test_an_unknown_neuron_is_an_error_that_names_the_known_ones(start: Start) -> None:
    await start(echo, count, role="worker")
    orchestrator = await start()
    with pytest.raises(NoRouteError, match=r"Neuron 'ekko'.*known: count, echo") as caught:
        await orchestrator.dispatch_and_wait(neuron="ekko", input={})
    assert caught.value.known == ["count", "echo"]
    assert caught.value.code == "NO_ROUTE"


async def test_a_pathway_shows_everything_to_every_reader(start: Start) -> None:
    await start(count, role="worker")
    orchestrator = await start()
    seen: list[str] = []
    pathway = await orchestrator.dispatch(neuron="count", input={"to": 3})

    @pathway.on(SignalType.THOUGHT_DELTA)
    async def on_delta(signal: Signal) -> None:
        seen.append(signal.payload["delta"])

    first, second = pathway.__aiter__(), pathway.__aiter__()
    for iterator in (first, second):
        assert [(await anext(iterator)).payload["seq"] for _ in range(3)] == [0, 1, 2]
    answer = await pathway.wait()
    assert answer.payload["output"] == {"response": "done", "meta": {}}
    assert (await pathway.wait_for(SignalType.THOUGHT_DELTA)).payload == {"delta": "0", "seq": 0}
    pathway.close()
    types = [signal.type.value async for signal in pathway]
    assert types == ["THOUGHT_DELTA"] * 3 + ["AGENT_OUTPUT"]
    assert [signal.type.value async for signal in first] == ["AGENT_OUTPUT"]
    await orchestrator.stop()
    assert seen == ["0", "1", "2"]


async def test_callbacks_can_be_in_place_before_the_task_leaves(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_output(signal: Signal) -> None:
        done.set_result(signal.payload["output"]["response"])

    await orchestrator.dispatch_and_subscribe(
        {SignalType.AGENT_OUTPUT: on_output}, neuron="echo", input={"prompt": "hi"}
    )
    gc.collect()  # nobody holds the Pathway but its handler
    assert await done == "hi"


async def test_a_handler_that_raises_is_logged_and_goes_on(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await start(count, role="worker")
    orchestrator = await start()
    seen: list[int] = []

    def on_delta(signal: Signal) -> None:
        seen.append(signal.payload["seq"])
        raise ValueError("handler broke")

    pathway = await orchestrator.dispatch_and_subscribe(
        {SignalType.THOUGHT_DELTA: on_delta}, neuron="count", input={"to": 2}
    )
    await pathway.wait()
    await orchestrator.stop()
    assert seen == [0, 1]
    assert caplog.text.count("handler of evt_") == 2


async def test_a_handler_that_never_ends_is_cancelled_when_the_dendrite_stops(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.dispatch.BACKGROUND_GRACE_S", 0.02)
    await start(echo, role="worker")
    orchestrator = await start()
    cancelled = asyncio.Event()

    async def stuck(_: Signal) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    pathway = await orchestrator.dispatch_and_subscribe(
        {SignalType.AGENT_OUTPUT: stuck}, neuron="echo", input={}
    )
    await pathway.wait()
    await orchestrator.stop()
    assert cancelled.is_set()
    assert "1 handlers of Pathways did not end" in caplog.text


async def test_a_handler_may_stop_its_dendrite(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    stopped = asyncio.Event()

    async def stop(_: Signal) -> None:
        await orchestrator.stop()
        stopped.set()

    await orchestrator.dispatch_and_subscribe({SignalType.AGENT_OUTPUT: stop}, neuron="echo", input={})
    await stopped.wait()


async def test_dispatches_on_one_trace_each_get_their_own_answer(start: Start) -> None:
    await start(echo, count, role="worker")
    orchestrator = await start()
    first = await orchestrator.dispatch(neuron="echo", input={"prompt": "0"})
    others = [
        await orchestrator.dispatch(neuron="echo", input={"prompt": str(n)}, trace_id=first.trace_id)
        for n in range(1, 5)
    ]
    for number, pathway in enumerate([first, *others]):
        assert (await pathway.wait()).payload["output"] == {"response": str(number)}
        pathway.close()
        assert len([signal async for signal in pathway]) == 1


async def test_a_late_answer_to_another_dispatch_is_not_mine(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    given_up = await orchestrator.dispatch(neuron="gate", input={})
    mine = await orchestrator.dispatch(neuron="gate", input={}, trace_id=given_up.trace_id)
    given_up.close()
    gate.open.set()
    assert (await mine.wait()).parent_id == mine.task_id


async def test_final_closes_every_pathway_of_its_trace(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    one = await orchestrator.dispatch(neuron="gate", input={})
    two = await orchestrator.dispatch(neuron="gate", input={}, trace_id=one.trace_id)
    final = Signal.new(SignalType.FINAL, {"result": 42}, trace_id=one.trace_id, parent_id=one.task_id)
    orchestrator._dispatcher._receive(final)
    assert one.closed
    assert two.closed
    assert (await two.wait()).payload == {"result": 42}


async def test_an_error_closes_its_pathway_and_is_returned(start: Start) -> None:
    async def fail(input: dict[str, Any], context: list[Any]) -> Any:
        raise ValueError("private")

    await start(fail, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="fail", input={})
    reply = await pathway.wait()
    assert reply.type is SignalType.ERROR
    assert pathway.closed
    with pytest.raises(PathwayClosedError, match="closed before AGENT_OUTPUT"):
        await pathway.wait_for(SignalType.AGENT_OUTPUT)


async def test_a_time_out_stops_the_worker(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    with pytest.raises(TimeoutError, match=r"no answer from Neuron 'gate' within 0\.05 s"):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, timeout_s=0.05)
    await gate.cancelled.wait()


async def test_waiting_on_a_pathway_times_out_and_leaves_it_open(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="gate", input={})
    with pytest.raises(TimeoutError, match=r"Neuron 'gate' did not answer evt_\w+ within 0\.02 s"):
        await pathway.wait(0.02)
    gate.open.set()
    assert (await pathway.wait(5)).type is SignalType.AGENT_OUTPUT


async def test_the_time_is_up_even_while_the_bus_is_full(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    publish, stuck = synapse.publish, asyncio.Event()

    async def full(subject: str, frame: bytes) -> None:
        if ".TASK." in subject:
            await publish(subject, frame)
            await stuck.wait()
        await publish(subject, frame)

    monkeypatch.setattr(synapse, "publish", full)
    with pytest.raises(TimeoutError, match="no answer from Neuron 'gate'"):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, timeout_s=0.02)
    await gate.cancelled.wait()


async def test_a_cancelled_caller_stops_the_worker(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    caller = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="gate", input={}))
    await gate.entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await gate.cancelled.wait()


async def test_stopping_one_task_leaves_the_others_on_its_trace(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    kept = await orchestrator.dispatch(neuron="gate", input={})
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, trace_id=kept.trace_id, timeout_s=0.05)
    await gate.cancelled.wait()
    gate.open.set()
    assert (await kept.wait()).type is SignalType.AGENT_OUTPUT


async def test_a_pathway_nobody_holds_is_gone(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    for _ in range(10):
        await (await orchestrator.dispatch(neuron="echo", input={})).wait()
    assert orchestrator._dispatcher.pathways() == []
    assert not orchestrator._dispatcher._open


async def test_the_buffer_of_a_pathway_is_bounded_and_counts(start: Start) -> None:
    await start(count, role="worker")
    orchestrator = await start(pathway_buffer=10)
    pathway = await orchestrator.dispatch(neuron="count", input={"to": 25})
    await pathway.wait()
    pathway.close()
    kept = [signal async for signal in pathway]
    assert pathway.dropped == 16
    assert [signal.payload.get("seq") for signal in kept] == [*range(16, 25), None]


async def test_a_slow_iterator_goes_on_with_what_is_left(start: Start) -> None:
    go_on = asyncio.Event()

    async def talk(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "first"
        await go_on.wait()
        for number in range(24):
            yield str(number)
        yield {"response": "done"}

    await start(talk, role="worker")
    orchestrator = await start(pathway_buffer=10)
    pathway = await orchestrator.dispatch(neuron="talk", input={})
    iterator = pathway.__aiter__()
    assert (await anext(iterator)).payload["seq"] == 0
    go_on.set()
    await pathway.wait()
    pathway.close()
    assert (await anext(iterator)).payload["seq"] == 16


async def test_waiting_ends_when_the_dendrite_stops(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    waiting = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="gate", input={}))
    await gate.entered.wait()
    await orchestrator.stop()
    with pytest.raises(PathwayClosedError):
        await waiting


async def test_a_worker_may_not_orchestrate(start: Start) -> None:
    worker = await start(echo, role="worker")
    for call in (worker.dispatch, worker.dispatch_and_wait, worker.dispatch_task):
        with pytest.raises(RoleError, match="may not emit TASK"):
            await call(neuron="echo", input={})
    stop = Signal.new(SignalType.STOP, {"rollback": False})
    with pytest.raises(RoleError, match="may not emit STOP"):
        await worker.emit(stop)


async def test_dispatch_task_only_sends(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    task = await orchestrator.dispatch_task(neuron="gate", input={"n": 1}, meta={"note": "x"})
    await gate.entered.wait()
    assert task.type is SignalType.TASK
    assert task.meta["note"] == "x"
    assert orchestrator._dispatcher.pathways() == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"neuron": "echo", "input": "hi"}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "trace_id": "t"}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "parent_id": "p"}, MalformedSignalError),
        ({"neuron": "echo.*", "input": {}}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "context_ref": 3}, MalformedSignalError),
        ({"neuron": "echo", "input": {"x": object()}}, UnencodableError),
        ({"input": {}}, TypeError),
        ({"input": {}, "capabilities": "echo"}, TypeError),
    ],
)
async def test_a_wrong_dispatch_is_refused_and_leaves_nothing(
    start: Start, options: dict[str, Any], error: type[Exception]
) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    with pytest.raises(error):
        await orchestrator.dispatch_and_wait(**options)
    assert orchestrator._dispatcher.pathways() == []


async def test_a_dendrite_that_does_not_run_says_so(start: Start) -> None:
    orchestrator = await start()
    await orchestrator.stop()
    with pytest.raises(LifecycleError, match="does not run"):
        await orchestrator.dispatch_and_wait(neuron="echo", input={})
    with pytest.raises(LifecycleError, match="make a new one"):
        await orchestrator.start()
