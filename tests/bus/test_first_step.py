"""A Neuron's first step runs inside the dispatch, within limits, and otherwise as any asyncio task does."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

from cosmo_core import SignalType
from cosmo_core.contracts import eager_tasks
from cosmo_core.contracts.eager_tasks import EagerTasks
from tests.bus.common import Start

place: ContextVar[str] = ContextVar("place", default="nowhere")


async def test_neuron_that_awaits_nothing_answers_before_dispatch_returns(start: Start) -> None:
    ran: list[str] = []

    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append("echo")
        return input

    dendrite = await start(echo)
    pathway = await dendrite.dispatch(neuron="echo", input={"a": 1})
    assert ran == ["echo"]
    assert pathway.answer is SignalType.AGENT_OUTPUT
    assert (await pathway.wait()).payload == {"output": {"a": 1}}


async def test_first_step_runs_in_a_task_of_its_own(start: Start) -> None:
    seen: list[Any] = []

    async def look(input: dict[str, Any], context: list[Any]) -> Any:
        first = asyncio.current_task()
        place.set("inside")
        await asyncio.sleep(0)
        assert first is not None
        seen.append((first is asyncio.current_task(), first.get_name(), place.get()))
        return {}

    dendrite = await start(look)
    caller = asyncio.current_task()
    place.set("outside")
    pathway = await dendrite.dispatch(neuron="look", input={})
    assert asyncio.current_task() is caller
    await pathway.wait(timeout_s=5)
    assert seen == [(True, "look", "inside")]
    assert place.get() == "outside"


async def test_time_limit_of_the_first_step_ends_only_the_neuron(start: Start) -> None:
    async def patient(input: dict[str, Any], context: list[Any]) -> Any:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return {"timed": "out"}

    dendrite = await start(patient)
    reply = await dendrite.dispatch_and_wait(neuron="patient", input={}, timeout_s=5)
    assert reply.payload == {"output": {"timed": "out"}}


async def test_cancellation_in_the_first_step_ends_only_the_neuron(start: Start) -> None:
    async def quits(input: dict[str, Any], context: list[Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    dendrite = await start(quits)
    reply = await dendrite.dispatch_and_wait(neuron="quits", input={}, timeout_s=5)
    assert reply.payload["code"] == "CANCELLED"
    caller = asyncio.current_task()
    assert caller is not None
    assert not caller.cancelling()


async def test_trace_can_be_stopped_in_the_first_step(start: Start) -> None:
    async def stops(input: dict[str, Any], context: list[Any]) -> Any:
        stopped = await dendrite.stop_trace(input["trace"], timeout_s=5)
        return {"cancelled": stopped[0].payload["cancelled"]}

    dendrite = await start(stops)
    other = await dendrite.dispatch(neuron="stops", input={"trace": "trc_" + "0" * 26})
    await other.wait(timeout_s=5)
    trace_id = other.trace_id
    pathway = await dendrite.dispatch(neuron="stops", input={"trace": trace_id}, trace_id=trace_id)
    assert (await pathway.wait(timeout_s=10)).payload["code"] == "CANCELLED"


@pytest.mark.parametrize("depth", [3, 1000])
async def test_nested_dispatch_works_at_any_depth(start: Start, depth: int) -> None:
    async def dig(input: dict[str, Any], context: list[Any]) -> Any:
        if not input["left"]:
            return {"depth": 0}
        reply = await dendrite.dispatch_and_wait(neuron="dig", input={"left": input["left"] - 1})
        return {"depth": reply.payload["output"]["depth"] + 1}

    dendrite = await start(dig, axon={"max_concurrency": 2000})
    reply = await dendrite.dispatch_and_wait(neuron="dig", input={"left": depth})
    assert reply.payload == {"output": {"depth": depth}}


async def test_other_tasks_get_turns_beside_a_busy_caller(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock takes a tenth of the share, so the caller uses its share after a few TASKs.
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += eager_tasks.SHARE_S / 10
        return now

    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    dendrite = await start(echo)
    monkeypatch.setattr(eager_tasks, "monotonic", clock)
    counting = asyncio.create_task(count())
    for _ in range(1000):
        await dendrite.dispatch_and_wait(neuron="echo", input={})
    counting.cancel()
    assert turns >= 1000 / 11


async def test_no_further_task_starts_eagerly_when_the_turn_is_used(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    ran: list[int] = []

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        nonlocal now
        now += 0.6 * eager_tasks.MAX_TURN_S
        ran.append(input["number"])
        return {}

    dendrite = await start(slow)
    await asyncio.sleep(0)
    monkeypatch.setattr(eager_tasks, "monotonic", lambda: now + 1)
    pathways = [await dendrite.dispatch(neuron="slow", input={"number": number}) for number in range(5)]
    assert ran == [0, 1]
    for pathway in pathways:
        await pathway.wait(timeout_s=5)
    assert ran == [0, 1, 2, 3, 4]


async def test_depth_is_limited() -> None:
    eager = EagerTasks(asyncio.get_running_loop())
    depth = deepest = 0

    async def nest() -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if total := len(started) < 10:
            started.append(total)
            tasks.append(eager.start(nest(), "nest"))
        depth -= 1

    started: list[int] = []
    tasks: list[asyncio.Task[None]] = []
    tasks.append(eager.start(nest(), "nest"))
    for task in tasks:
        await asyncio.wait_for(task, timeout=5)
    assert len(started) == 10
    # The task beyond the limit started in a later turn, below no other.
    assert deepest == eager_tasks.MAX_DEPTH + 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.eager_task_factory is new in Python 3.12")
async def test_other_tasks_get_turns_with_the_eager_factory_of_asyncio(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(vars(asyncio)["eager_task_factory"])
    try:
        await test_other_tasks_get_turns_beside_a_busy_caller(start, monkeypatch)
    finally:
        loop.set_task_factory(None)


async def test_task_factory_of_the_event_loop_is_used() -> None:
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        made.append("task")
        return asyncio.Task(work, loop=loop, **options)

    async def nothing() -> None:
        pass

    loop.set_task_factory(factory)
    try:
        task = EagerTasks(loop).start(nothing(), "nothing")
        assert not task.done()
        await task
    finally:
        loop.set_task_factory(None)
    assert made == ["task"]


# --- what a program may do to its event loop ---------------------------------------------------------


async def test_task_factory_that_is_set_later_is_used(start: Start) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    loop = asyncio.get_running_loop()
    made: list[str | None] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        made.append(options.get("name"))
        return asyncio.Task(work, loop=loop, **options)

    dendrite = await start(echo)
    await dendrite.dispatch_and_wait(neuron="echo", input={})
    await asyncio.sleep(0)
    loop.set_task_factory(factory)
    try:
        await dendrite.dispatch_and_wait(neuron="echo", input={}, timeout_s=5)
    finally:
        loop.set_task_factory(None)
    assert len(made) == 1


async def test_call_soon_that_the_program_replaced_later_is_kept(start: Start) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    loop = asyncio.get_running_loop()
    own, calls = loop.call_soon, 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return own(*args, **options)

    dendrite = await start(echo)
    await dendrite.dispatch_and_wait(neuron="echo", input={})
    loop.call_soon = counted  # type: ignore[method-assign, assignment]
    try:
        await dendrite.dispatch_and_wait(neuron="echo", input={}, timeout_s=5)
        assert vars(loop)["call_soon"] is counted
        before = calls
        loop.call_soon(int)
        assert calls == before + 1
    finally:
        del loop.call_soon


async def test_finalizer_that_uses_the_event_loop_while_a_task_is_made_loses_nothing() -> None:
    # The garbage collector may run finalizers at any time; here, the name of the task takes its place.
    loop = asyncio.get_running_loop()
    ran: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def run(name: str) -> None:
        ran.append(name)

    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            loop.call_soon(ran.append, "plain")
            loop.call_soon(partial(ran.append, "with context"), context=copy_context())
            tasks.append(loop.create_task(run("other task")))
            return "name"

    tasks.append(EagerTasks(loop).start(run("task"), Name("eager")))
    for task in tasks:
        await asyncio.wait_for(task, timeout=5)
    assert sorted(ran) == ["other task", "plain", "task", "with context"]


async def test_failure_to_begin_a_turn_does_not_end_eager_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    eager = EagerTasks(loop)

    async def nothing() -> None:
        pass

    def fail(*args: Any, **options: Any) -> Any:
        raise RecursionError

    # Each look at the clock is a second later, so every turn is used up by one task.
    clock = itertools.count(1.0)
    monkeypatch.setattr(eager_tasks, "monotonic", lambda: next(clock))
    work = nothing()
    with monkeypatch.context() as patch:
        patch.setattr(type(loop), "call_soon", fail)
        with pytest.raises(RecursionError):
            eager.start(work)
    work.close()
    for _ in range(3):
        task = eager.start(nothing())
        assert task.done()
        await asyncio.sleep(0)
