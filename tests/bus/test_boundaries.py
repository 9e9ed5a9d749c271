"""Exceptions of foreign code that are not an `Exception` end where they arose, and the TASK is answered."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_core import Axon, HookError, RejectedError, Signal, SignalType
from cosmo_core.contracts.boundary import logged_failures, must_pass
from cosmo_core.plugins import Forward, PluginManager, hookimpl
from cosmo_engram_sqlite import SqliteEngram
from tests.bus.common import Start, echo, run_loop_turns


class Panic(BaseException):
    """As a library in Rust raises it."""


class Unreadable(BaseException):
    """As a broken class has it: its text cannot be read, and it counts as false."""

    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__

    def __bool__(self) -> bool:
        return False


class UnreadableError(Exception):
    """The same, as an `Exception`."""

    __str__ = __repr__ = Unreadable.__str__
    __bool__ = Unreadable.__bool__


RAISED: list[Callable[[], BaseException]] = [
    lambda: GeneratorExit(),
    lambda: Panic("out of memory"),
    lambda: asyncio.CancelledError("of something else"),
    lambda: BaseExceptionGroup("several", [GeneratorExit(), Panic()]),
    lambda: StopIteration("too far"),
    lambda: StopAsyncIteration(),
    lambda: Unreadable(),
    lambda: UnreadableError(),
]
NAMES = ["exit", "panic", "cancelled", "group", "stop", "async-stop", "unreadable", "unreadable-error"]
every_exception = pytest.mark.parametrize("make", RAISED, ids=NAMES)


async def answer(start: Start, neuron: Any, **axon: Any) -> Signal:
    """Host a Neuron, and return its answer; the host must serve others afterwards."""
    await start(Axon(neuron_id="broken", neuron_fn=neuron, **axon), echo, role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="broken", input={}, timeout_s=5)
    assert (await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1}, timeout_s=5)).payload == {
        "output": {"a": 1}
    }
    return reply


# --- Neurons ------------------------------------------------------------------------------------------


@every_exception
@pytest.mark.parametrize("form", ["async", "plain", "stream", "fetcher"])
async def test_any_exception_of_neuron_is_answered_with_error(
    start: Start, make: Callable[[], BaseException], form: str
) -> None:
    async def broken(input: dict[str, Any], context: list[Any]) -> Any:
        raise make()

    def plain(input: dict[str, Any], context: list[Any]) -> Any:
        raise make()

    async def stream(input: dict[str, Any], context: list[Any]) -> Any:
        yield "a"
        raise make()

    async def fetch(ref: str | None) -> list[Any]:
        raise make()

    neuron = {"async": broken, "plain": plain, "stream": stream, "fetcher": echo}[form]
    reply = await answer(start, neuron, context_fetcher=fetch if form == "fetcher" else None)
    assert (reply.type, reply.payload["code"]) == (SignalType.ERROR, "NEURON_ERROR")
    assert reply.payload["recoverable"] is False


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Unreadable(), "Unreadable: its text cannot be read"),
        (lambda: UnreadableError(), "UnreadableError: its text cannot be read"),
        (lambda: ValueError("\ud800"), "ValueError: \\ud800"),
    ],
)
async def test_exposed_text_that_cannot_be_read_is_replaced(
    start: Start, make: Callable[[], BaseException], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(input: dict[str, Any], context: list[Any]) -> Any:
        raise make()

    # The processes of pytest-xdist cannot exchange a log with half of a surrogate pair.
    caplog.set_level(logging.CRITICAL + 1)

    await start(broken, role="worker", expose_errors=True)
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="broken", input={}, timeout_s=5)
    assert (reply.payload["code"], reply.payload["message"]) == ("NEURON_ERROR", text)


async def test_exit_of_generator_in_awaited_task_ends_only_its_task(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise GeneratorExit

    async def broken(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.create_task(fail())

    reply = await answer(start, broken)
    assert reply.payload["code"] == "NEURON_ERROR"
    # Nothing reaches the event loop, which would log it as a failed callback.
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_stopped_neuron_still_counts_as_cancelled(start: Start) -> None:
    running = asyncio.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        running.set()
        await asyncio.Event().wait()

    await start(stuck, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="stuck", input={})
    await running.wait()
    await orchestrator.stop_trace(pathway.trace_id)
    assert (await pathway.wait(5)).payload["code"] == "CANCELLED"


ENDING = """
import asyncio
from cosmo_core import Axon, Dendrite, connect_synapse
from cosmo_core.plugins import PluginManager, hookimpl


class Printing:
    @hookimpl
    def cosmo_signal_observers(self):
        return self.show

    def show(self, event):
        if event.kind == "sent" and event.signal.type.value == "ERROR":
            print(event.signal.payload["code"], flush=True)


{neuron}

async def main():
    plugins = PluginManager()
    plugins.register(Printing(), name="printing")
    synapse = await connect_synapse("memory://")
    async with Dendrite(synapse=synapse, plugins=plugins) as dendrite:
        await dendrite.add_axon(Axon(neuron_id="ending", neuron_fn=ending))
        await dendrite.dispatch_and_wait(neuron="ending", input={{}})
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(("raised", "status"), [("SystemExit(3)", 3), ("KeyboardInterrupt", -2)])
def test_neuron_that_exits_is_answered_and_ends_process(kind: str, raised: str, status: int) -> None:
    neuron = f"{kind} ending(input, context):\n    raise {raised}\n"
    program = [sys.executable, "-c", textwrap.dedent(ENDING).format(neuron=neuron)]
    ended = subprocess.run(  # noqa: S603 - this program
        program, capture_output=True, text=True, timeout=60, check=False
    )
    # A shell runs Python with SIGINT ignored in the background; then KeyboardInterrupt ends it with 1 or 130.
    allowed = {status} if status > 0 else {status, 1, 130}
    assert ended.returncode in allowed, ended.stderr
    assert ended.stdout.splitlines() == ["NEURON_ERROR"]
    assert "never retrieved" not in ended.stderr


BIDDING = """
import asyncio
from cosmo_core import Axon, Dendrite, connect_synapse


async def echo(input, context):
    return input


async def exit(offer):
    raise SystemExit(3)


async def main():
    synapse = await connect_synapse("memory://")
    async with Dendrite(synapse=synapse) as dendrite:
        await dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=echo, capabilities=["x"]))
        dendrite.on_task_offer(exit)
        await dendrite.dispatch_offer(capabilities=["x"], input={}, deadline_s=30)

asyncio.run(main())
"""


def test_handler_of_offers_that_exits_ends_process_without_further_reports() -> None:
    ended = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-c", BIDDING], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 3, ended.stderr
    assert "never retrieved" not in ended.stderr


# --- hooks --------------------------------------------------------------------------------------------


def plugins_with(**hooks: Any) -> PluginManager:
    plugins = PluginManager()
    plugin = type("Plugin", (), {name: hookimpl(staticmethod(hook)) for name, hook in hooks.items()})
    plugins.register(plugin(), name="broken")
    return plugins


@every_exception
async def test_observer_affects_no_caller(
    start: Start, make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def observe(event: object) -> None:
        raise make()

    plugins = plugins_with(cosmo_signal_observers=lambda dendrite: observe)
    dendrite = await start(echo, plugins=plugins)
    reply = await dendrite.dispatch_and_wait(neuron="echo", input={"a": 1}, timeout_s=5)
    assert reply.payload == {"output": {"a": 1}}
    assert caplog.text.count("an observer of broken failed") == 1


@every_exception
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_middleware_of_worker_affects_its_signal_only(
    start: Start, make: Callable[[], BaseException], direction: str
) -> None:
    async def fail(signal: Signal, forward: Forward) -> Any:
        if signal.type in {SignalType.TASK, SignalType.AGENT_OUTPUT}:
            raise make()
        return await forward(signal)

    wanted = direction
    plugins = plugins_with(cosmo_signal_middleware=lambda direction: fail if direction == wanted else None)
    await start(echo, role="worker", plugins=plugins)
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={}, timeout_s=5)
    assert reply.payload["code"] == "REJECTED"


@pytest.mark.parametrize("make", RAISED[:4])
async def test_middleware_of_caller_raises_hook_error(
    start: Start, make: Callable[[], BaseException]
) -> None:
    async def fail(signal: Signal, forward: Forward) -> Any:
        if signal.type is SignalType.TASK:
            raise make()
        return await forward(signal)

    plugins = plugins_with(
        cosmo_signal_middleware=lambda direction: fail if direction == "outbound" else None
    )
    dendrite = await start(echo, plugins=plugins)
    with pytest.raises(HookError, match="the middleware of broken raised"):
        await dendrite.dispatch(neuron="echo", input={})


@every_exception
async def test_error_info_hook_does_not_hide_error(start: Start, make: Callable[[], BaseException]) -> None:
    def info(error: BaseException, task: Signal) -> Any:
        raise make()

    async def broken(input: dict[str, Any], context: list[Any]) -> Any:
        raise ValueError

    await start(broken, plugins=plugins_with(cosmo_error_info=info), role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="broken", input={}, timeout_s=5)
    assert reply.payload["code"] == "NEURON_ERROR"


@pytest.mark.parametrize("make", RAISED[:4])
async def test_life_cycle_hook_fails_start_with_hook_error(
    start: Start, make: Callable[[], BaseException]
) -> None:
    async def started(dendrite: object) -> None:
        raise make()

    with pytest.raises(HookError, match="plugin broken of this program raised"):
        await start(plugins=plugins_with(cosmo_dendrite_started=started))


# --- handlers, extensions, Engrams --------------------------------------------------------------------


@every_exception
@pytest.mark.parametrize("plain", [True, False])
async def test_handler_and_watcher_receive_next_signal(
    start: Start, make: Callable[[], BaseException], plain: bool
) -> None:
    dendrite = await start(echo)
    seen: list[str] = []

    def fail(signal: Signal) -> None:
        seen.append(signal.type.value)
        raise make()

    async def fail_later(signal: Signal) -> None:
        fail(signal)

    handler: Any = fail if plain else fail_later
    async with await dendrite.watch(SignalType.TASK, handler):
        for _ in range(2):
            pathway = await dendrite.dispatch(neuron="echo", input={})
            pathway.on(SignalType.AGENT_OUTPUT)(handler)
            await pathway.wait(5)
            await run_loop_turns(10)
    assert sorted(seen) == ["AGENT_OUTPUT"] * 2 + ["TASK"] * 2


@every_exception
async def test_selecting_function_fails_its_offer(start: Start, make: Callable[[], BaseException]) -> None:
    await start(echo, axon={"capabilities": ["x"]}, role="worker")
    orchestrator = await start()

    def select(bids: list[Any]) -> Any:
        raise make()

    with pytest.raises((RuntimeError, StopAsyncIteration, UnreadableError)):
        await orchestrator.dispatch_offer(capabilities=["x"], input={}, select=select, deadline_ms=200)


@every_exception
async def test_engram_answers_with_error(start: Start, make: Callable[[], BaseException]) -> None:
    class Broken(SqliteEngram):
        async def recall(self, query: Any) -> Any:
            raise make()

    dendrite = await start()
    await dendrite.attach_engram(Broken(engram_id="notes", engram_kind="context"))
    with pytest.raises(Exception, match=r"Engram 'notes' failed with"):
        await dendrite.recall("notes", {"text": "a"}, timeout_s=5)


async def test_aclose_of_one_neuron_does_not_affect_others(start: Start) -> None:
    closed: list[str] = []

    class Closing:
        def __init__(self, name: str, error: BaseException | None) -> None:
            self.name, self.error = name, error

        async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
            return {}

        async def aclose(self) -> None:
            closed.append(self.name)
            if self.error is not None:
                raise self.error

    neurons = {"a": GeneratorExit(), "b": Panic(), "c": None}
    axons = [Axon(neuron_id=name, neuron_fn=Closing(name, error)) for name, error in neurons.items()]
    worker = await start(*axons)
    await worker.stop()
    assert sorted(closed) == ["a", "b", "c"]


# --- the rule -----------------------------------------------------------------------------------------


async def test_only_own_cancellation_and_exit_pass() -> None:
    assert must_pass(SystemExit())
    assert must_pass(KeyboardInterrupt())
    assert not any(must_pass(make()) for make in RAISED)

    async def cancelled() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            return must_pass(error)
        raise AssertionError

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    assert await task


def test_logged_failure_does_not_end_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise Panic

    with logged_failures("%s failed", "this"):
        fail()
    assert "this failed" in caplog.text


def test_coroutine_closed_by_collector_is_not_failure() -> None:
    assert must_pass(GeneratorExit())


def test_rejected_error_is_no_boundary_case() -> None:
    assert not must_pass(RejectedError("no"))
