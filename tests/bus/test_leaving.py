"""A Pathway that is left before the answer stops its TASK; iterations end at the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    NeuronError,
    Pathway,
    QuestionError,
    RemoteError,
    Signal,
    SignalType,
    clarify,
)
from cosmo_core.dendrite.hosting.host import Host
from cosmo_core.dendrite.life_cycle import StopTime
from tests.bus.common import Start, count

BOUND_S = 5.0


class Stuck:
    """A Neuron that streams one delta, and then waits until it is released or cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "first"
        self.running.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        yield {"response": "released"}


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
async def pathway(start: Start, stuck: Stuck) -> Pathway:
    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    orchestrator: Dendrite = await start()
    pathway = await orchestrator.dispatch(neuron="stuck", input={})
    await stuck.running.wait()
    return pathway


async def stopped(stuck: Stuck) -> None:
    async with asyncio.timeout(BOUND_S):
        await stuck.cancelled.wait()


async def cancel(work: asyncio.Task[Any]) -> None:
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def read(pathway: Pathway) -> list[Signal]:
    return [signal async for signal in pathway]


async def test_end_of_block_without_answer_stops_task(pathway: Pathway, stuck: Stuck) -> None:
    async with pathway:
        pass
    await stopped(stuck)
    assert pathway.closed


async def test_exception_in_block_stops_task(pathway: Pathway, stuck: Stuck) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pathway:
            raise ZeroDivisionError
    await stopped(stuck)


async def test_close_stops_task(pathway: Pathway, stuck: Stuck) -> None:
    pathway.close()
    await stopped(stuck)


async def test_wait_that_times_out_stops_task_and_pathway_gets_its_answer(
    pathway: Pathway, stuck: Stuck
) -> None:
    with pytest.raises(TimeoutError, match="did not answer"):
        await pathway.wait(timeout_s=0.01)
    await stopped(stuck)
    assert (await pathway.wait(timeout_s=BOUND_S)).payload["code"] == "CANCELLED"


async def test_cancelled_wait_stops_task(pathway: Pathway, stuck: Stuck) -> None:
    await cancel(asyncio.create_task(pathway.wait()))
    await stopped(stuck)


async def test_wait_that_is_cancelled_in_its_first_turn_stops_task(start: Start, stuck: Stuck) -> None:
    release = asyncio.Event()
    cancelled = asyncio.Event()

    async def silent(input: dict[str, Any], context: list[Any]) -> Any:
        try:
            await release.wait()
        finally:
            cancelled.set()

    dendrite = await start(silent)
    pathway = await dendrite.dispatch(neuron="silent", input={})
    await cancel(asyncio.create_task(pathway.wait()))
    async with asyncio.timeout(BOUND_S):
        await cancelled.wait()


@pytest.mark.parametrize("follow", [False, True])
async def test_cancelled_iteration_stops_task(pathway: Pathway, stuck: Stuck, follow: bool) -> None:
    async def read() -> None:
        async for _ in pathway.signals(follow=follow):
            pass

    await cancel(asyncio.create_task(read()))
    await stopped(stuck)


async def test_break_from_iteration_lets_task_run(pathway: Pathway, stuck: Stuck) -> None:
    async for signal in pathway:
        assert signal.payload["delta"] == "first"
        break
    stuck.release.set()
    assert await pathway.result(timeout_s=BOUND_S) == {"response": "released"}


@pytest.mark.clause("P-11.5")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("way", ["signals", "text"])
async def test_end_of_dendrite_stops_task_whose_iteration_was_left(
    start: Start, stuck: Stuck, way: str, kept: bool
) -> None:
    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    caller = await start()
    pathway = await caller.dispatch(neuron="stuck", input={})
    if kept:
        pathway.keep_running()
    reading: Any = getattr(pathway, way)()
    async for _ in reading:
        break
    await reading.aclose()
    await caller.stop()
    if not kept:
        await stopped(stuck)
    assert pathway.closed
    assert stuck.cancelled.is_set() != kept
    stuck.release.set()


async def test_end_of_dendrite_does_not_wait_for_task_whose_iteration_was_left(
    start: Start, stuck: Stuck
) -> None:
    dendrite = await start(Axon(neuron_id="stuck", neuron_fn=stuck), grace_s=600.0)
    pathway = await dendrite.dispatch(neuron="stuck", input={})
    async for _ in pathway:
        break
    async with asyncio.timeout(BOUND_S):
        await dendrite.stop()
    assert stuck.cancelled.is_set()


async def test_neuron_that_left_an_iteration_may_read_on_while_its_host_stops(
    start: Start, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, draining, read_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    drain = Host.drain

    async def noted_drain(self: Host, time: StopTime) -> None:
        draining.set()
        await drain(self, time)

    monkeypatch.setattr(Host, "drain", noted_drain)

    async def outer(input: dict[str, Any], context: list[Any]) -> Any:
        pathway = await dendrite.dispatch(neuron="stuck", input={})
        async for _ in pathway:
            break
        left.set()
        await read_on.wait()
        return await pathway.result()

    dendrite = await start(Axon(neuron_id="stuck", neuron_fn=stuck), outer, grace_s=600.0)
    pathway = await dendrite.dispatch(neuron="outer", input={})
    await left.wait()
    stopping = asyncio.create_task(dendrite.stop())
    await draining.wait()
    read_on.set()
    stuck.release.set()
    await stopping
    assert await pathway.result() == {"response": "released"}
    assert not stuck.cancelled.is_set()


@pytest.mark.parametrize("ends", ["times out", "is cancelled"])
async def test_other_reader_keeps_task_running(pathway: Pathway, stuck: Stuck, ends: str) -> None:
    other = asyncio.create_task(pathway.wait())
    await asyncio.sleep(0)
    if ends == "times out":
        with pytest.raises(TimeoutError):
            await pathway.wait(timeout_s=0.01)
    else:
        await cancel(asyncio.create_task(pathway.wait()))
    stuck.release.set()
    assert (await other).output == {"response": "released"}
    assert not stuck.cancelled.is_set()


async def test_time_out_inside_block_lets_task_run_until_block_ends(pathway: Pathway, stuck: Stuck) -> None:
    async with pathway:
        with pytest.raises(TimeoutError):
            await pathway.wait(timeout_s=0.01)
        stuck.release.set()
        assert await pathway.result(timeout_s=BOUND_S) == {"response": "released"}


async def test_keep_running_lets_task_run_after_every_way_of_leaving(pathway: Pathway, stuck: Stuck) -> None:
    assert pathway.keep_running() is pathway
    with pytest.raises(TimeoutError):
        await pathway.wait(timeout_s=0.01)
    await cancel(asyncio.create_task(pathway.wait()))
    await cancel(asyncio.create_task(read(pathway)))
    stuck.release.set()
    assert await pathway.result(timeout_s=BOUND_S) == {"response": "released"}
    assert not stuck.cancelled.is_set()


async def test_task_is_stopped_once(pathway: Pathway, stuck: Stuck, start: Start) -> None:
    watcher = await start()
    stops: list[Signal] = []
    await watcher.watch(SignalType.STOP, stops.append)
    async with pathway:
        pass
    pathway.close()
    await stopped(stuck)
    assert [(stop.parent_id, stop.payload["reason"]) for stop in stops] == [
        (pathway.task_id, "its caller left before the answer")
    ]


async def test_leaving_after_answer_sends_no_stop(pathway: Pathway, stuck: Stuck, start: Start) -> None:
    watcher = await start()
    stops: list[Signal] = []
    await watcher.watch(SignalType.STOP, stops.append)
    async with pathway:
        stuck.release.set()
        await pathway.wait(timeout_s=BOUND_S)
    assert not stops


# --- iterations end at the answer -------------------------------------------------------------------


async def test_iteration_ends_at_answer(start: Start) -> None:
    dendrite = await start(count)
    pathway = await dendrite.dispatch(neuron="count", input={"to": 2})
    async with asyncio.timeout(BOUND_S):
        types = [signal.type.value async for signal in pathway]
    assert types == ["THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT"]
    assert not pathway.closed


async def test_iteration_ends_at_question(start: Start) -> None:
    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("For whom?")

    dendrite = await start(asks)
    for finalize in (False, True):
        pathway = await dendrite.dispatch(neuron="asks", input={}, finalize=finalize)
        async with asyncio.timeout(BOUND_S):
            assert [signal.type.value for signal in await read(pathway)] == ["CLARIFICATION"]


async def test_iteration_goes_on_to_requested_final(start: Start) -> None:
    dendrite = await start(count)
    pathway = await dendrite.dispatch(neuron="count", input={"to": 1}, finalize=True)
    async with asyncio.timeout(BOUND_S):
        types = [signal.type.value for signal in await read(pathway)]
    assert types == ["THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"]


async def test_following_iteration_goes_on_until_pathway_closes(start: Start) -> None:
    dendrite = await start(count)
    pathway = await dendrite.dispatch(neuron="count", input={"to": 1})
    await pathway.wait()
    await dendrite.emit_plan(pathway.trace_id, ["more"])
    await dendrite.emit_final(pathway.trace_id, "done")
    types = [signal.type.value async for signal in pathway.signals(follow=True)]
    assert types == ["THOUGHT_DELTA", "AGENT_OUTPUT", "PLAN", "FINAL"]


# --- text, result, output ---------------------------------------------------------------------------


async def test_text_yields_deltas_and_ends_at_answer(start: Start) -> None:
    dendrite = await start(count)
    pathway = await dendrite.dispatch(neuron="count", input={"to": 3})
    async with asyncio.timeout(BOUND_S):
        assert [text async for text in pathway.text()] == ["0", "1", "2"]
    assert await pathway.result() == {"response": "done", "meta": {}}


@pytest.mark.parametrize(
    ("output", "texts"),
    [({"response": "all"}, ["all"]), ("all", ["all"]), ({"n": 1}, []), (7, []), ({"response": ["a"]}, [])],
)
async def test_text_of_neuron_that_does_not_stream_is_its_response(
    start: Start, output: Any, texts: list[str]
) -> None:
    async def plain(input: dict[str, Any], context: list[Any]) -> Any:
        return output

    dendrite = await start(plain)
    pathway = await dendrite.dispatch(neuron="plain", input={})
    async with asyncio.timeout(BOUND_S):
        assert [text async for text in pathway.text()] == texts


async def test_output_raises_what_ended_the_task(start: Start) -> None:
    async def fails(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "some "
        raise NeuronError("no more", code="OUT_OF_INK")

    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("For whom?")

    dendrite = await start(fails, asks)
    pathway = await dendrite.dispatch(neuron="fails", input={})
    texts = pathway.text()
    assert await anext(texts) == "some "
    with pytest.raises(RemoteError, match="OUT_OF_INK: no more"):
        await anext(texts)
    with pytest.raises(RemoteError, match="OUT_OF_INK"):
        await pathway.result()
    question = await dendrite.dispatch_and_wait(neuron="asks", input={})
    with pytest.raises(QuestionError, match="'asks' answered with CLARIFICATION: For whom\\?") as caught:
        _ = question.output
    assert caught.value.signal is question
    assert "respond_to_clarification" in str(caught.value)


def test_output_of_final_is_its_result_and_a_task_has_none() -> None:
    final = Signal.new(SignalType.FINAL, {"result": 7})
    assert final.output == 7
    with pytest.raises(TypeError, match="TASK has no output"):
        _ = Signal.new(SignalType.TASK, {"input": {}}).output


@pytest.mark.parametrize("attach", [lambda pathway: pathway.on, lambda pathway: pathway.wait_for])
@pytest.mark.parametrize("type", [print, "TAKS", None])
async def test_type_that_is_unknown_is_an_error_at_once(pathway: Pathway, attach: Any, type: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid SignalType"):
        attach(pathway)(type)


async def test_name_of_a_type_stands_for_it(pathway: Pathway, stuck: Stuck) -> None:
    heard: asyncio.Queue[Signal] = asyncio.Queue()
    name: Any = "AGENT_OUTPUT"
    pathway.on(name)(heard.put_nowait)
    stuck.release.set()
    assert await pathway.wait_for(name, BOUND_S) == await heard.get()
