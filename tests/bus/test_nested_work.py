"""Work that a Neuron starts: it belongs to the Neuron's TASK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import (
    AskFn,
    Axon,
    CurrentTask,
    Dendrite,
    NeuronError,
    RemoteError,
    RetryStrategy,
    Signal,
    SignalType,
    StreamFn,
    current_task,
)
from cosmo_core.plugins import PluginManager, hookimpl
from tests.bus.common import Start, echo

BOUND_S = 5.0
Inner = Callable[[Dendrite], Awaitable[Any]]


async def reports(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Return the trace and the time left of its own TASK."""
    task = current_task()
    assert task is not None
    return {"trace_id": task.trace_id, "left": task.time_left_s()}


async def dispatched(dendrite: Dendrite, **options: Any) -> Signal:
    return await (await dendrite.dispatch(neuron="reports", input={}, **options)).wait(BOUND_S)


WAYS: dict[str, Inner] = {
    "dispatch": dispatched,
    "dispatch_and_wait": lambda dendrite: dendrite.dispatch_and_wait(neuron="reports", input={}),
    "dispatch_and_wait with retries": lambda dendrite: dendrite.dispatch_and_wait(
        neuron="reports", input={}, retry=RetryStrategy(max_attempts=2)
    ),
    "in an asyncio task": lambda dendrite: asyncio.create_task(dispatched(dendrite)),
    "with the same trace": lambda dendrite: dispatched(dendrite, trace_id=trace_of(current_task())),
}


def trace_of(task: CurrentTask | None) -> str:
    assert task is not None
    return task.trace_id


async def run_inside(start: Start, inner: Inner, **options: Any) -> tuple[Signal, Any]:
    """Run ``inner`` in a Neuron; return the Neuron's TASK and the result."""
    dendrite: Dendrite
    results: list[Any] = []

    async def outer(input: dict[str, Any], context: list[Any]) -> Any:
        results.append(await inner(dendrite))
        return {}

    dendrite = await start(outer, reports)
    tasks: list[Signal] = []
    await dendrite.watch(SignalType.TASK, tasks.append, neuron="outer")
    (await dendrite.dispatch_and_wait(neuron="outer", input={}, **options)).raise_for_error()
    return tasks[0], results[0]


@pytest.mark.clause("P-5.21")
@pytest.mark.parametrize("way", WAYS)
async def test_dispatch_inside_neuron_inherits_trace_parent_and_time(
    start: Start, synapse: Any, way: str
) -> None:
    inner: list[Signal] = []
    watcher = await start()
    await watcher.watch(SignalType.TASK, inner.append, neuron="reports")
    task, answer = await run_inside(start, WAYS[way], timeout_s=4)
    assert answer.output["trace_id"] == task.trace_id
    assert 0 < answer.output["left"] <= 4
    assert [signal.parent_id for signal in inner] == [task.id]


@pytest.mark.clause("P-5.21")
async def test_shorter_time_limit_of_inner_work_counts(start: Start) -> None:
    _, answer = await run_inside(
        start, lambda dendrite: dendrite.dispatch_and_wait(neuron="reports", input={}, timeout_s=2)
    )
    assert answer.output["left"] <= 2


@pytest.mark.clause("P-5.21")
async def test_task_without_following_inherits_too(start: Start) -> None:
    task, sent = await run_inside(
        start, lambda dendrite: dendrite.dispatch_task(neuron="reports", input={}), timeout_s=4
    )
    assert (sent.trace_id, sent.parent_id) == (task.trace_id, task.id)
    assert 0 < sent.payload["deadline_ms"] <= 4000


@pytest.mark.clause("P-5.21")
async def test_offer_inside_neuron_inherits_trace_and_parent(start: Start) -> None:
    offers: list[Signal] = []
    watcher = await start()
    await watcher.watch(SignalType.TASK_OFFER, offers.append)

    async def offer(dendrite: Dendrite) -> None:
        with pytest.raises(TimeoutError):
            await dendrite.dispatch_offer(capabilities=["none"], input={}, deadline_ms=1)

    task, _ = await run_inside(start, offer)
    assert [(each.trace_id, each.parent_id) for each in offers] == [(task.trace_id, task.id)]


@pytest.mark.clause("P-5.21")
async def test_other_trace_has_no_parent(start: Start) -> None:
    other = Signal.new(SignalType.TASK, {"input": {}}).trace_id
    _, sent = await run_inside(
        start, lambda dendrite: dendrite.dispatch_task(neuron="reports", input={}, trace_id=other)
    )
    assert (sent.trace_id, sent.parent_id) == (other, None)


async def test_cancelled_outer_task_stops_inner_task(start: Start) -> None:
    dendrite: Dendrite
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def inner(input: dict[str, Any], context: list[Any]) -> Any:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def outer(input: dict[str, Any], context: list[Any]) -> Any:
        return (await dendrite.dispatch_and_wait(neuron="inner", input={}, timeout_s=None)).output

    await start(inner, role="worker")
    dendrite = await start(outer)
    async with asyncio.timeout(BOUND_S):
        async with await dendrite.dispatch(neuron="outer", input={}):
            await running.wait()
        await cancelled.wait()


async def test_inner_work_ends_with_time_of_outer_task(start: Start) -> None:
    dendrite: Dendrite

    async def inner(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.Event().wait()

    async def outer(input: dict[str, Any], context: list[Any]) -> Any:
        return (await dendrite.dispatch_and_wait(neuron="inner", input={}, timeout_s=60)).output

    dendrite = await start(inner, outer)
    async with asyncio.timeout(BOUND_S):
        pathway = await dendrite.dispatch(neuron="outer", input={}, deadline_s=0.05)
        answer = await pathway.wait()
    assert answer.payload["code"] == "TIMEOUT"
    assert "'inner'" in answer.payload["message"]


@pytest.mark.clause("P-5.13")
@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        ("fails", "OUT_OF_INK", "no more"),
        ("breaks", "NEURON_ERROR", "ValueError; see evt_"),
        ("absent", "NO_ROUTE", "no live Neuron 'absent' in this namespace; known: breaks, fails, outer"),
    ],
)
async def test_failure_of_inner_work_keeps_its_code_and_message(
    start: Start, asked: str, code: str, message: str
) -> None:
    dendrite: Dendrite

    async def fails(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("no more", code="OUT_OF_INK")

    async def breaks(input: dict[str, Any], context: list[Any]) -> Any:
        raise ValueError("a secret")

    async def outer(input: dict[str, Any], context: list[Any]) -> Any:
        return await dendrite.ask(asked, {})

    dendrite = await start(outer, fails, breaks)
    with pytest.raises(RemoteError) as caught:
        await dendrite.ask("outer", {})
    assert caught.value.code == code
    assert caught.value.message.startswith(message)


async def test_handler_of_a_signal_of_a_neuron_does_not_belong_to_its_task(start: Start) -> None:
    """A memory Synapse delivers in the context of the sender."""
    dendrite = await start(echo, reports)
    seen: list[Any] = []
    done = asyncio.Event()

    def plain(signal: Signal) -> None:
        seen.append(current_task())

    async def handler(signal: Signal) -> None:
        seen.append(current_task())
        if len(seen) == 4:
            done.set()

    await dendrite.watch(SignalType.AGENT_OUTPUT, plain)
    await dendrite.watch(SignalType.AGENT_OUTPUT, handler)
    pathway = await dendrite.dispatch(neuron="echo", input={})
    pathway.on(SignalType.AGENT_OUTPUT)(plain)
    pathway.on(SignalType.AGENT_OUTPUT)(handler)
    async with asyncio.timeout(BOUND_S):
        await done.wait()
    assert seen == [None] * 4


async def test_offer_handler_and_middleware_do_not_belong_to_the_task_of_the_sender() -> None:
    """A memory Synapse delivers in the context of the sender."""
    seen: dict[str, Any] = {}

    class Hooks:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def inbound(signal: Signal, next: Any) -> Any:
                seen[f"middleware of {signal.type.value}"] = current_task()
                return await next(signal)

            return inbound if direction == "inbound" else None

        @hookimpl
        def cosmo_signal_observers(self) -> Any:
            def observe(event: Any) -> None:
                if event.kind == "received":
                    seen[f"observer of {event.signal.type.value}"] = current_task()

            return observe

    async def outer(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        await caller.ask("worker", {})
        pathway = await caller.dispatch_offer(capabilities=["work"], input={})
        return {"output": await pathway.result()}

    plugins = PluginManager()
    plugins.register(Hooks(), name="hooks")
    worker = Axon(neuron_id="worker", neuron_fn=echo, capabilities=["work"])
    bus = "memory://foreign-context"
    async with (
        Dendrite.open(bus, worker, plugins=plugins) as other,
        Dendrite.open(bus, outer, wait_for=["worker"]) as caller,
    ):

        @other.on_task_offer
        async def decide(offer: Signal) -> None:
            seen["offer handler"] = current_task()
            await other.bid(offer, cost=1)

        await caller.ask("outer", {}, timeout_s=BOUND_S)
    assert {"middleware of TASK", "observer of TASK", "offer handler"} <= seen.keys()
    assert set(seen.values()) == {None}


@pytest.mark.clause("P-5.21")
@pytest.mark.parametrize("way", ["ask", "stream"])
async def test_every_way_of_waiting_ends_with_time_of_outer_task(way: str) -> None:
    async def inner(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.Event().wait()

    async def outer(input: dict[str, Any], context: list[Any], *, ask: AskFn, stream: StreamFn) -> Any:
        if way == "ask":
            return await ask("inner", {}, timeout_s=None)
        return [text async for text in stream("inner", {}, timeout_s=None)]

    async with Dendrite.open("memory://", inner, outer) as dendrite, asyncio.timeout(BOUND_S):
        pathway = await dendrite.dispatch(neuron="outer", input={}, deadline_s=0.05)
        answer = await pathway.wait()
    assert answer.payload["code"] == "TIMEOUT"
    assert "'inner'" in answer.payload["message"]


async def test_work_that_outlives_its_neuron_is_not_bound_by_the_deadline() -> None:
    passed = asyncio.Event()
    works: list[asyncio.Task[Any]] = []

    async def outer(input: dict[str, Any], context: list[Any], *, ask: AskFn) -> dict[str, Any]:
        async def later() -> Any:
            await passed.wait()
            return await ask("reports", {}, timeout_s=60)

        works.append(asyncio.create_task(later()))
        task = current_task()
        assert task is not None
        return {"trace_id": task.trace_id, "left": task.time_left_s()}

    async with Dendrite.open("memory://", reports, outer) as dendrite:
        output = await dendrite.ask("outer", {}, timeout_s=BOUND_S)
        passed.set()
        answer = await works[0]
    assert 0 < output["left"] <= BOUND_S < answer["left"] <= 60
    assert answer["trace_id"] == output["trace_id"]
