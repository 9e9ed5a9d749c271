"""Watchers: a handler sees all Signals of a type in its namespace, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    MalformedSignalError,
    Signal,
    SignalType,
    encode,
)
from cosmo_core.contracts.watcher import OnType
from cosmo_core.plugins import Dropped, Forward, PluginManager, hookimpl
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, WaitUntilIdle, echo


async def other(input: dict[str, Any], context: list[Any]) -> Any:
    return input


async def test_watcher_sees_signals_of_type_for_any_address(
    start: Start, wait_until_idle: WaitUntilIdle
) -> None:
    await start(echo, other, role="worker")
    orchestrator = await start()
    watcher = await start(role="worker")
    tasks: list[Signal] = []
    outputs: list[Signal] = []

    async def on_output(signal: Signal) -> None:
        outputs.append(signal)

    await watcher.watch(SignalType.TASK, tasks.append)
    await watcher.watch(SignalType.AGENT_OUTPUT, on_output)
    answers = [
        await orchestrator.dispatch_and_wait(neuron=neuron, input={"n": n})
        for n, neuron in enumerate(["echo", "other", "echo"])
    ]
    await wait_until_idle(watcher)
    assert [task.payload["input"] for task in tasks] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert outputs == answers
    assert [answer.parent_id for answer in answers] == [task.id for task in tasks]


@pytest.mark.clause("P-11.6")
async def test_watcher_does_not_consume_tasks_of_neuron(start: Start) -> None:
    ran: list[int] = []

    async def note(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(input["n"])
        return {}

    both = await start(note)
    await both.watch(SignalType.TASK, lambda _: None)
    for n in range(20):
        await both.dispatch_and_wait(neuron="note", input={"n": n})
    assert ran == list(range(20))


@pytest.mark.clause("P-3.4")
async def test_watcher_does_not_see_other_namespace(start: Start) -> None:
    here, elsewhere = await start(), await start(namespace="elsewhere")
    seen: list[Signal] = []
    await elsewhere.watch(SignalType.PLAN, seen.append)
    async with await elsewhere.observe_pathway(new_trace_id()) as pathway:
        await here.emit_plan(pathway.trace_id, [])
        pathway.close()
        assert [signal async for signal in pathway] == seen == []


async def test_watcher_sees_signal_of_own_dendrite_once(start: Start, wait_until_idle: WaitUntilIdle) -> None:
    dendrite = await start()
    seen: list[Signal] = []
    dendrite.on(SignalType.PLAN)(seen.append)
    await wait_until_idle(dendrite)
    plan = await dendrite.emit_plan(new_trace_id(), [])
    assert seen == [plan]


@pytest.mark.clause("P-11.7")
async def test_watcher_sees_duplicate_frame_once(start: Start, synapse: MemorySynapse) -> None:
    dendrite = await start()
    seen: list[Signal] = []
    plan = Signal.new(SignalType.PLAN, {"steps": []})
    pathway = await dendrite.observe_pathway(plan.trace_id)
    await dendrite.watch(SignalType.PLAN, seen.append)
    for subject in ("PLAN", "PLAN", "PLAN.inbox.other"):
        await synapse.publish(f"cosmonapse.test.{subject}", encode(plan))
    pathway.close()
    assert seen == [signal async for signal in pathway] == [plan]


async def test_watcher_ignores_other_type_on_its_subject(start: Start, synapse: MemorySynapse) -> None:
    dendrite = await start()
    seen: list[Signal] = []
    await dendrite.watch(SignalType.PLAN, seen.append)
    await synapse.publish("cosmonapse.test.PLAN", encode(Signal.new(SignalType.FINAL, {"result": 1})))
    await synapse.publish("cosmonapse.test.PLAN", b"garbage")
    assert seen == []
    assert dendrite.counters["malformed"] == 2


async def test_watch_filters_by_neuron_capability_and_trace(start: Start) -> None:
    dendrite = await start()
    trace_id = new_trace_id()
    seen: dict[str, list[Any]] = {}

    def note(name: str) -> Callable[[Signal], None]:
        return lambda signal: seen.setdefault(name, []).append(signal.payload["args"]["n"])

    await dendrite.watch(SignalType.TOOL_CALL, note("all"))
    await dendrite.watch(SignalType.TOOL_CALL, note("neuron"), neuron="browser")
    await dendrite.watch(SignalType.TOOL_CALL, note("capability"), capability="search")
    await dendrite.watch(SignalType.TOOL_CALL, note("trace"), trace_id=trace_id)
    await dendrite.watch(SignalType.TOOL_CALL, note("both"), trace_id=trace_id, neuron="browser")
    directions = [None, Directed("browser"), Directed("shell"), Directed(capabilities=("search",))]
    for n, directed in enumerate(directions):
        await dendrite.emit_tool_call(new_trace_id(), "t", {"n": n}, directed=directed)
    await dendrite.emit_tool_call(trace_id, "t", {"n": 4})
    await dendrite.emit_tool_call(trace_id, "t", {"n": 5}, directed=Directed("browser"))
    assert seen == {
        "all": [0, 1, 2, 3, 4, 5],
        "neuron": [1, 5],
        "capability": [3],
        "trace": [4, 5],
        "both": [5],
    }


async def test_watch_filters_match_answers_by_neuron_and_tasks_by_capability(start: Start) -> None:
    await start(Axon(neuron_id="echo", neuron_fn=echo, capabilities=["text", "echo"]), other, role="worker")
    orchestrator = await start()
    tasks: list[Signal] = []
    outputs: list[Signal] = []
    registered: list[Signal] = []
    await orchestrator.watch(SignalType.TASK, tasks.append, capability="echo")
    await orchestrator.watch(SignalType.AGENT_OUTPUT, outputs.append, neuron="echo")
    await orchestrator.watch(SignalType.REGISTER, registered.append, capability="echo")
    await orchestrator.dispatch_and_wait(neuron="other", input={"n": 0})
    await orchestrator.dispatch_and_wait(capabilities=["echo"], input={"n": 1}, trace_id=new_trace_id())
    assert [task.payload["input"] for task in tasks] == [{"n": 1}]
    assert [output.payload["output"] for output in outputs] == [{"n": 1}]
    await start(Axon(neuron_id="more", neuron_fn=echo, capabilities=["echo"]), role="worker")
    # "echo" answers the DISCOVER of the new worker; "other" also does, but lacks the capability.
    assert {signal.directed and signal.directed.id for signal in registered} == {"echo", "more"}


@pytest.mark.parametrize("filters", [{"neuron": "a.b"}, {"capability": "*"}, {"trace_id": "my trace"}])
async def test_watch_rejects_invalid_filter(start: Start, filters: dict[str, str]) -> None:
    dendrite = await start()
    with pytest.raises(MalformedSignalError, match=next(iter(filters))):
        dendrite.on(SignalType.TASK, **filters)
    with pytest.raises(MalformedSignalError, match=next(iter(filters))):
        await dendrite.watch(SignalType.TASK, print, **filters)
    assert dendrite.watchers == []


@pytest.mark.parametrize("type", [type for type in SignalType if type is not SignalType.TASK_OFFER])
async def test_every_signal_type_has_on_shortcut(type: SignalType) -> None:
    dendrite = Dendrite(synapse=MemorySynapse(), plugins=PluginManager())
    shortcut: OnType = getattr(dendrite, f"on_{type.value.lower()}")

    @shortcut
    def plain(_: Signal) -> None: ...

    @shortcut(neuron="echo")
    def filtered(_: Signal) -> None: ...

    assert [watcher.type for watcher in dendrite.watchers] == [type, type]
    assert plain.__name__ == "plain"
    assert filtered.__name__ == "filtered"


async def test_watcher_sees_only_signals_that_middleware_forwards(start: Start) -> None:
    class DropSecrets:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            return self.check if direction == "inbound" else None

        async def check(self, signal: Signal, forward: Forward) -> Signal | Dropped:
            if signal.payload.get("rationale") == "secret":
                return Dropped("secret")
            return await forward(signal)

    manager = PluginManager()
    manager.register(DropSecrets(), name="drop-secrets")
    dendrite, emitter = await start(plugins=manager), await start()
    trace_id = new_trace_id()
    pathway = await dendrite.observe_pathway(trace_id)
    seen: list[Any] = []
    await dendrite.watch(SignalType.PLAN, lambda plan: seen.append(plan.payload["steps"]))
    await emitter.emit_plan(trace_id, [1], rationale="secret")
    await emitter.emit_plan(trace_id, [2])
    await emitter.emit_final(trace_id, "done")
    assert [signal.type.value async for signal in pathway] == ["PLAN", "FINAL"]
    assert seen == [[2]]


# --- one at a time ----------------------------------------------------------------------------------


async def test_handler_runs_one_signal_at_a_time_in_order(
    start: Start, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start()
    seen: list[int] = []
    busy = 0

    async def slow(plan: Signal) -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await asyncio.sleep(0)
        seen.append(plan.payload["steps"][0])
        busy -= 1

    await dendrite.watch(SignalType.PLAN, slow)
    for n in range(50):
        await dendrite.emit_plan(new_trace_id(), [n])
    await wait_until_idle(dendrite)
    assert seen == list(range(50))


async def test_slow_handler_drops_signals_without_blocking_others(
    start: Start, caplog: pytest.LogCaptureFixture, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start(pathway_buffer=10)
    release = asyncio.Event()
    slow_saw: list[int] = []
    quick_saw: list[int] = []

    async def slow(plan: Signal) -> None:
        await release.wait()
        slow_saw.append(plan.payload["steps"][0])

    watcher = await dendrite.watch(SignalType.PLAN, slow)
    await dendrite.watch(SignalType.PLAN, lambda plan: quick_saw.append(plan.payload["steps"][0]))
    for n in range(50):
        await dendrite.emit_plan(new_trace_id(), [n])
    assert quick_saw == list(range(50))
    release.set()
    await wait_until_idle(dendrite)
    assert slow_saw == [0, *range(40, 50)]
    assert watcher.dropped == 39
    assert caplog.text.count("slow of PLAN> is too slow") == 1


async def test_watcher_handler_error_is_logged_and_isolated(
    start: Start, caplog: pytest.LogCaptureFixture, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start()
    seen: list[Signal] = []
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    def plain(_: Signal) -> None:
        raise ValueError("plain broke")

    async def coroutine(_: Signal) -> None:
        raise ValueError("coroutine broke")

    async def waits_for_what_is_cancelled(_: Signal) -> None:
        await cancelled

    for handler in (plain, coroutine, waits_for_what_is_cancelled):
        await dendrite.watch(SignalType.PLAN, handler)
    await dendrite.watch(SignalType.PLAN, seen.append)
    for _ in range(3):
        await dendrite.emit_plan(new_trace_id(), [])
    await wait_until_idle(dendrite)
    assert len(seen) == 3
    for name in ("plain", "coroutine", "waits_for_what_is_cancelled"):
        assert caplog.text.count(f"{name} of PLAN> failed on evt_") == 3, name


async def test_handler_can_emit_and_dispatch(start: Start) -> None:
    both = await start(echo)
    trace_id = new_trace_id()
    results: list[Any] = []

    async def work(plan: Signal) -> None:
        for step in plan.payload["steps"]:
            reply = await both.dispatch_and_wait(
                neuron="echo", input={"step": step}, trace_id=plan.trace_id, parent_id=plan.id
            )
            results.append(reply.payload["output"]["step"])
        await both.emit_final(plan.trace_id, results)

    await both.watch(SignalType.PLAN, work)
    async with asyncio.timeout(5), await both.observe_pathway(trace_id) as pathway:
        await both.emit_plan(trace_id, ["look", "write"])
        assert (await pathway.wait_for(SignalType.FINAL)).payload["result"] == ["look", "write"]


@pytest.mark.parametrize("type", [print, "TAKS", None])
async def test_unknown_type_is_an_error_before_a_handler_is_given(start: Start, type: Any) -> None:
    dendrite = await start()
    with pytest.raises(ValueError, match="is not a valid SignalType"):
        dendrite.on(type)
