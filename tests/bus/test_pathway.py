"""The Pathway: its three forms of reading, its buffer and its end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import (
    PathwayClosedError,
    Signal,
    SignalType,
)
from tests.bus.common import Start, count


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return {"response": input.get("prompt")}


@pytest.mark.clause("P-6.1", "P-11.1")
async def test_pathway_shows_every_signal_to_every_reader(start: Start) -> None:
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


async def test_dispatch_and_subscribe_registers_handlers_before_task_is_sent(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_output(signal: Signal) -> None:
        done.set_result(signal.payload["output"]["response"])

    await orchestrator.dispatch_and_subscribe(
        {SignalType.AGENT_OUTPUT: on_output}, neuron="echo", input={"prompt": "hi"}
    )
    gc.collect()  # only its handler references the Pathway
    assert await done == "hi"


async def test_pathway_handler_error_is_logged_and_handler_continues(
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


async def test_stop_cancels_pathway_handler_that_never_ends(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.dispatch.pathway_registry.BACKGROUND_GRACE_S", 0.02)
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
    assert "1 handlers did not finish in time" in caplog.text


async def test_pathway_handler_can_stop_its_dendrite(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    stopped = asyncio.Event()

    async def stop(_: Signal) -> None:
        await orchestrator.stop()
        stopped.set()

    await orchestrator.dispatch_and_subscribe({SignalType.AGENT_OUTPUT: stop}, neuron="echo", input={})
    await stopped.wait()


async def test_stop_leaves_no_timer_of_waiting_callers(start: Start) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        started.set()
        await release.wait()

    await start(slow, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="slow", input={})
    waiting = asyncio.create_task(pathway.wait(timeout_s=60))
    await started.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the caller waits now
    assert orchestrator._pathways.deadlines._timer is not None
    await orchestrator.stop()
    release.set()
    with pytest.raises(PathwayClosedError):
        await waiting
    assert orchestrator._pathways.deadlines._timer is None


async def test_repr_of_pathway_tells_whether_it_is_open(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="echo", input={})
    place = f"{pathway.task_id} to 'echo' on {pathway.trace_id}>"
    assert repr(pathway) == f"<Pathway open {place}"
    await pathway.wait()
    pathway.close()
    assert repr(pathway) == f"<Pathway closed {place}"


async def test_unreferenced_pathway_is_collected(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    for _ in range(10):
        await (await orchestrator.dispatch(neuron="echo", input={})).wait()
    assert orchestrator._pathways.pathways() == []
    assert orchestrator._pathways._open.keys() <= {""}


@pytest.mark.clause("P-6.5")
async def test_pathway_buffer_is_bounded_and_counts_drops(start: Start) -> None:
    await start(count, role="worker")
    orchestrator = await start(pathway_buffer=10)
    pathway = await orchestrator.dispatch(neuron="count", input={"to": 25})
    await pathway.wait()
    pathway.close()
    kept = [signal async for signal in pathway]
    assert pathway.dropped == 16
    assert [signal.payload.get("seq") for signal in kept] == [*range(16, 25), None]


async def test_slow_iterator_continues_with_remaining_signals(start: Start) -> None:
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
