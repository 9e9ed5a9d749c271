"""Hooks on a running Dendrite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Directed, HookError, NeuronFn, RejectedError, Signal, SignalType
from cosmo_core.plugins import Dropped, ErrorInfo, Forward, PluginManager, SignalEvent, hookimpl
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, echo

Middleware = Callable[[Signal, Forward], Awaitable[Any]]


def plugins(*hooks: object) -> PluginManager:
    manager = PluginManager()
    for number, hook in enumerate(hooks):
        manager.register(hook, name=f"hook{number}")
    return manager


def middleware(direction: str, function: Middleware) -> object:
    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Middleware | None:
            return function if direction == wanted else None

    wanted = direction
    return Plugin()


async def redact(signal: Signal, forward: Forward) -> Signal | Dropped:
    payload = {key: value for key, value in signal.payload.items() if key != "secret"}
    if signal.type is SignalType.TASK:
        payload["input"] = {key: value for key, value in payload["input"].items() if key != "secret"}
    return await forward(signal.replace(payload=payload))


async def drop_tasks(signal: Signal, forward: Forward) -> Signal | Dropped:
    return Dropped("no work on Sundays") if signal.type is SignalType.TASK else await forward(signal)


async def drop_answers(signal: Signal, forward: Forward) -> Signal | Dropped:
    if signal.type is SignalType.AGENT_OUTPUT:
        return Dropped("classified")
    return await forward(signal)


async def change_the_id(signal: Signal, forward: Forward) -> Signal | Dropped:
    if signal.type is not SignalType.TASK:
        return await forward(signal)
    return await forward(signal.reply(SignalType.TASK, signal.payload))


async def return_nothing(signal: Signal, forward: Forward) -> None:
    await forward(signal)


async def explode(signal: Signal, forward: Forward) -> Signal | Dropped:
    if signal.type in {SignalType.TASK, SignalType.AGENT_OUTPUT}:
        raise ZeroDivisionError
    return await forward(signal)


@pytest.mark.clause("P-1.13")
@pytest.mark.parametrize("side", ["outbound", "inbound"])
async def test_middleware_changes_inbound_and_outbound_payloads(start: Start, side: str) -> None:
    worker_hooks = [middleware("inbound", redact)] if side == "inbound" else []
    caller_hooks = [middleware("outbound", redact)] if side == "outbound" else []
    await start(echo, role="worker", plugins=plugins(*worker_hooks))
    orchestrator = await start(plugins=plugins(*caller_hooks))
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1, "secret": 2})
    assert reply.payload["output"] == {"a": 1}


async def test_middleware_runs_nested_in_registration_order(start: Start) -> None:
    log: list[str] = []

    def logging(name: str) -> object:
        async def note(signal: Signal, forward: Forward) -> Signal | Dropped:
            if signal.type is not SignalType.TASK:
                return await forward(signal)
            log.append(f"{name} before")
            result = await forward(signal)
            log.append(f"{name} after")
            return result

        return middleware("outbound", note)

    await start(echo, role="worker")
    orchestrator = await start(plugins=plugins(logging("outer"), logging("inner")))
    await orchestrator.dispatch_and_wait(neuron="echo", input={})
    assert log == ["outer before", "inner before", "inner after", "outer after"]


async def test_dispatch_raises_when_middleware_drops_task(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start(plugins=plugins(middleware("outbound", drop_tasks)))
    with pytest.raises(RejectedError, match=r"TASK evt_\w+: no work on Sundays"):
        await orchestrator.dispatch_and_wait(neuron="echo", input={})
    assert orchestrator._pathways.pathways() == []


async def test_emit_raises_when_middleware_drops_task(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start(plugins=plugins(middleware("outbound", drop_tasks)))
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed("echo"))
    with pytest.raises(RejectedError, match=f"TASK {task.id}: no work on Sundays"):
        await orchestrator.emit(task)
    with pytest.raises(RejectedError, match="no work on Sundays"):
        await orchestrator.dispatch_task(neuron="echo", input={})


async def test_task_through_a_middleware_is_reported_when_undeliverable(
    start: Start, connect_faulty: Any
) -> None:
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse, plugins=plugins(middleware("outbound", redact)))
    synapse.task_fault = "no_consumers"
    pathway = await orchestrator.dispatch(neuron="echo", input={})
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "NO_ROUTE"
    sent = [signal.id for signal in synapse.sent].index(pathway.task_id)
    assert synapse.message_ids[sent] == pathway.task_id
    assert synapse.undelivered_handlers[sent] is not None


@pytest.mark.clause("P-5.12")
@pytest.mark.parametrize(
    ("direction", "function", "reason"),
    [
        ("inbound", drop_tasks, "no work on Sundays"),
        ("outbound", drop_answers, "classified"),
        ("inbound", explode, "the middleware of hook0 failed"),
        ("outbound", explode, "middleware of the worker failed"),
    ],
)
async def test_worker_answers_with_reason_of_its_middleware(
    start: Start, direction: str, function: Middleware, reason: str
) -> None:
    await start(echo, role="worker", plugins=plugins(middleware(direction, function)))
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={})
    assert reply.payload["code"] == "REJECTED"
    assert reason in reply.payload["message"]


async def test_middleware_that_fails_after_forward_does_not_answer_twice(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await start(echo, role="worker", plugins=plugins(middleware("inbound", return_nothing)))
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="echo", input={})
    await pathway.wait()
    await orchestrator.stop()
    assert [signal.type.value async for signal in pathway] == ["AGENT_OUTPUT"]
    assert "hook0 returned None" in caplog.text


@pytest.mark.clause("P-1.13")
@pytest.mark.parametrize("afterwards", ["raises", "drops"])
async def test_middleware_outcome_after_forward_is_ignored_for_sent_signal(
    start: Start, afterwards: str
) -> None:
    async def too_late(signal: Signal, forward: Forward) -> Signal | Dropped:
        result = await forward(signal)
        if signal.type not in {SignalType.TASK, SignalType.AGENT_OUTPUT}:
            return result
        if afterwards == "raises":
            raise ZeroDivisionError
        return Dropped("too late")

    await start(echo, role="worker", plugins=plugins(middleware("outbound", too_late)))
    orchestrator = await start(plugins=plugins(middleware("outbound", too_late)))
    pathway = await orchestrator.dispatch(neuron="echo", input={"a": 1})
    assert (await pathway.wait(timeout_s=5)).payload["output"] == {"a": 1}
    assert not pathway.closed


async def test_middleware_cannot_change_envelope(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start(plugins=plugins(middleware("outbound", change_the_id)))
    with pytest.raises(HookError, match="hook0 changed the envelope"):
        await orchestrator.dispatch_and_wait(neuron="echo", input={})


async def test_observers_see_every_signal_and_their_errors_are_isolated(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str | None]] = []

    def observe(event: SignalEvent) -> None:
        seen.append((event.kind, event.signal.type.value if event.signal else None))
        raise RuntimeError("observer broke")

    class Watcher:
        @hookimpl
        def cosmo_signal_observers(self) -> Callable[[SignalEvent], None]:
            return observe

    await start(echo, role="worker")
    orchestrator = await start(plugins=plugins(Watcher()))
    await orchestrator.dispatch_and_wait(neuron="echo", input={})
    await synapse.publish("cosmonapse.test.REGISTER", b"garbage")
    assert ("sent", "DISCOVER") in seen
    assert ("sent", "TASK") in seen
    assert ("received", "AGENT_OUTPUT") in seen
    assert seen[-1] == ("malformed", None)
    assert caplog.text.count("further failures are not logged") == 1


async def test_wrapper_retries_neuron_and_wrapped_neuron_is_closed(start: Start) -> None:
    class Flaky:
        __name__ = "flaky"
        calls = 0
        closed = False

        async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
            self.calls += 1
            if self.calls < 3:
                raise ConnectionError
            return {"calls": self.calls}

        async def aclose(self) -> None:
            self.closed = True

    class Retry:
        @hookimpl
        def cosmo_neuron_wrappers(self) -> Callable[[NeuronFn], NeuronFn]:
            return self.wrap

        def wrap(self, neuron: NeuronFn) -> NeuronFn:
            async def retrying(input: dict[str, Any], context: list[Any]) -> Any:
                for _ in range(2):
                    with contextlib.suppress(ConnectionError):
                        return await neuron(input, context)
                return await neuron(input, context)

            return retrying

    flaky = Flaky()
    worker = await start(flaky, role="worker", plugins=plugins(Retry()))
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="flaky", input={})
    assert reply.payload["output"] == {"calls": 3}
    await worker.stop()
    assert flaky.closed


@pytest.mark.clause("P-5.13")
async def test_error_info_hook_maps_exception_to_error(start: Start) -> None:
    class Translator:
        @hookimpl
        def cosmo_error_info(self, error: Exception) -> ErrorInfo | None:
            if isinstance(error, LookupError):
                return ErrorInfo(code="NOT_FOUND", message="no such thing", recoverable=True)
            return None

    async def lookup(input: dict[str, Any], context: list[Any]) -> Any:
        raise KeyError("private")

    await start(lookup, role="worker", plugins=plugins(Translator()))
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="lookup", input={})
    assert reply.payload == {"code": "NOT_FOUND", "message": "no such thing", "recoverable": True}


async def test_slow_inbound_middleware_keeps_order(start: Start) -> None:
    async def slow_first(signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.payload.get("seq") == 0:
            for _ in range(10):
                await asyncio.sleep(0)
        return await forward(signal)

    async def words(input: dict[str, Any], context: list[Any]) -> Any:
        for word in "abc":
            yield word

    await start(words, role="worker")
    orchestrator = await start(plugins=plugins(middleware("inbound", slow_first)))
    pathway = await orchestrator.dispatch(neuron="words", input={})
    await pathway.wait()
    pathway.close()
    assert [signal.payload.get("delta") async for signal in pathway] == ["a", "b", "c", None]


async def test_lifecycle_hooks_can_dispatch(start: Start) -> None:
    log: list[str] = []

    class Life:
        @hookimpl
        async def cosmo_dendrite_started(self, dendrite: Dendrite) -> None:
            reply = await dendrite.dispatch_and_wait(neuron="echo", input={"from": "started"})
            log.append(reply.payload["output"]["from"])

        @hookimpl
        async def cosmo_dendrite_stopping(self, dendrite: Dendrite) -> None:
            reply = await dendrite.dispatch_and_wait(neuron="echo", input={"from": "stopping"})
            log.append(reply.payload["output"]["from"])

    both = await start(echo, plugins=plugins(Life()))
    await both.stop()
    assert log == ["started", "stopping"]


async def test_failed_start_hook_leaves_no_subscriptions(synapse: MemorySynapse) -> None:
    class Fails:
        @hookimpl
        async def cosmo_dendrite_started(self) -> None:
            raise OSError("no port")

    dendrite = Dendrite(synapse=synapse, plugins=plugins(Fails()))
    with pytest.raises(OSError, match="no port"):
        await dendrite.start()
    assert not synapse._subscriptions
