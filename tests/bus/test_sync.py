"""The synchronous door."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cosmo_core import (
    CosmoError,
    LifecycleError,
    NeuronError,
    OutputTypeError,
    RemoteError,
    UnknownPluginError,
    neuron,
    sync,
)
from cosmo_core.plugins import PluginManager, hookimpl

pytestmark = pytest.mark.filterwarnings("error")


async def shout(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    return {"response": input["prompt"].upper()}


async def spell(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    for letter in input["word"]:
        yield letter


def plain(input: dict[str, Any], context: list[Any]) -> str:
    return threading.current_thread().name


async def fail(input: dict[str, Any], context: list[Any]) -> Any:
    raise NeuronError("no", code="NO_LUCK")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name == "cosmo-sync"}


def check(bus: sync.Bus) -> None:
    assert bus.ask("shout", {"prompt": "hi"}) == {"response": "HI"}
    assert bus.ask("plain", {}, output_type=str) == "cosmo-neuron"
    stream = bus.stream("spell", {"word": "tea"})
    assert list(stream) == ["t", "e", "a"]
    assert stream.output == {"response": "tea"}
    assert bus.map("shout", [{"prompt": "a"}, {"prompt": "b"}]) == [{"response": "A"}, {"response": "B"}]
    assert bus.race(["fail", "shout"], {"prompt": "a"}) == {"response": "A"}
    with pytest.raises(RemoteError, match="NO_LUCK"):
        bus.ask("fail", {})
    with pytest.raises(OutputTypeError):
        bus.ask("shout", {"prompt": "hi"}, output_type=int)
    with pytest.raises(TypeError, match="did you mean timeout_s"):
        bus.ask("shout", {}, timeout=3)  # type: ignore[call-overload]
    reply = bus.run(bus.dendrite.dispatch_and_wait(neuron="shout", input={"prompt": "hi"}))
    assert reply.output == {"response": "HI"}


def test_bus_works_without_event_loop() -> None:
    with sync.open("memory://", shout, spell, plain, fail) as bus:
        check(bus)
    assert not threads()


async def test_bus_works_inside_running_event_loop() -> None:
    with sync.open("memory://", shout, spell, plain, fail) as bus:
        check(bus)
    assert not threads()


def test_bus_can_be_closed_by_hand_and_is_closed_afterwards() -> None:
    bus = sync.open("memory://", shout)
    bus.close()
    bus.close()
    with pytest.raises(LifecycleError, match="this bus is closed"):
        bus.ask("shout", {"prompt": "hi"})
    assert not threads()


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("absent://", {}, UnknownPluginError),
        ("memory://", {"namspace": "x"}, TypeError),
        ("memory://", {"wait_for": ["absent"], "timeout_s": 0.01}, TimeoutError),
    ],
)
def test_errors_of_opening_are_raised(url: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        sync.open(url, **options)
    assert not threads()


def test_leaving_a_stream_stops_its_neuron() -> None:
    cancelled = threading.Event()

    async def endless(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0)
        finally:
            cancelled.set()

    with sync.open("memory://", endless) as bus:
        for text in bus.stream("endless", {}):
            assert text == "x"
            break
        assert cancelled.wait(5)


def test_plain_neuron_may_use_the_bus_itself() -> None:
    def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return bus.ask("shout", input)

    with sync.open("memory://", shout, asks) as bus:
        assert bus.ask("asks", {"prompt": "hi"}) == {"response": "HI"}


def test_async_neuron_that_uses_the_bus_gets_an_error() -> None:
    errors: list[RuntimeError] = []

    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        try:
            bus.ask("shout", input)
        except RuntimeError as error:
            errors.append(error)
        return {}

    with sync.open("memory://", shout, asks) as bus:
        bus.ask("asks", {})
    assert "await" in str(errors[0])


@pytest.mark.parametrize("ends", [SystemExit(3), KeyboardInterrupt()])
def test_neuron_that_ends_the_program_ends_the_caller(ends: BaseException) -> None:
    @neuron(id="ends")
    async def end(input: dict[str, Any], context: list[Any]) -> Any:
        raise ends

    def use() -> None:
        with sync.open("memory://", end) as bus:
            bus.ask("ends", {}, timeout_s=5)

    with pytest.raises(type(ends)):
        use()
    assert not threads()


def test_interrupted_call_stops_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    running, cancelled = threading.Event(), threading.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def interrupted(self: Any, timeout: float | None = None) -> Any:
        running.wait(5)
        raise KeyboardInterrupt

    with sync.open("memory://", stuck) as bus:
        with monkeypatch.context() as patch:
            patch.setattr("concurrent.futures.Future.result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bus.ask("stuck", {})
        assert cancelled.wait(5)


# --- the end ----------------------------------------------------------------------------------------


async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
    await asyncio.Event().wait()


async def endless(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
    while True:
        yield "x"
        await asyncio.sleep(0)


def test_close_ends_what_other_threads_wait_for() -> None:
    bus = sync.open("memory://", stuck, grace_s=0)
    waits = [
        lambda: bus.run(asyncio.Event().wait()),
        lambda: bus.ask("stuck", {}, timeout_s=None),
        lambda: list(bus.stream("endless", {})),
    ]
    with ThreadPoolExecutor(3) as pool:
        works = [pool.submit(wait) for wait in waits]
        bus.run(bus.dendrite.add_axon(neuron(endless)))
        while not bus.dendrite._host.load("stuck"):
            bus.run(asyncio.sleep(0))
        bus.close()
        errors = [work.exception(timeout=5) for work in works]
    assert [isinstance(error, CosmoError) for error in errors] == [True] * 3


def test_call_that_overtakes_the_end_gets_an_error() -> None:
    bus = sync.open("memory://", shout)
    errors: list[Exception] = []

    def call() -> None:
        try:
            while True:
                bus.ask("shout", {"prompt": "hi"})
        except CosmoError as error:
            errors.append(error)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(call)
        bus.ask("shout", {"prompt": "hi"})
        bus.close()
    assert len(errors) == 8


def test_stream_of_closed_bus_ends_with_error_and_is_dropped_silently() -> None:
    with sync.open("memory://", endless, grace_s=0) as bus:
        texts, dropped = iter(bus.stream("endless", {})), iter(bus.stream("endless", {}))
        assert next(texts) == next(dropped) == "x"
    with pytest.raises(LifecycleError, match="bus is closed"):
        next(texts)
    # What it raises would fail the test, as an exception that is ignored.
    del dropped
    gc.collect()


def test_stream_is_read_once() -> None:
    with sync.open("memory://", spell) as bus:
        stream = bus.stream("spell", {"word": "\u00e4\U0001f389"})
        assert list(stream) == ["\u00e4", "\U0001f389"]
        with pytest.raises(LifecycleError, match="read or left before"):
            list(stream)


def test_neuron_may_close_its_own_bus() -> None:
    buses: list[sync.Bus] = []

    async def closes(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        buses[0].close()
        return {"closed": True}

    with sync.open("memory://", closes) as bus:
        buses.append(bus)
        assert bus.ask("closes", {}) == {"closed": True}
    assert not threads()


class Ends:
    """A hook that ends the program when its Dendrite starts."""

    @hookimpl
    def cosmo_dendrite_started(self) -> None:
        raise SystemExit(4)


def test_program_that_ends_while_it_opens_is_not_kept() -> None:
    plugins = PluginManager()
    plugins.register(Ends(), name="ends")
    with pytest.raises(SystemExit):
        sync.open("memory://", plugins=plugins)
    assert not threads()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_bus_of_the_parent_is_an_error_in_a_forked_process() -> None:
    with sync.open("memory://", shout) as bus:
        if (child := os.fork()) == 0:
            try:
                bus.ask("shout", {"prompt": "hi"})
            except LifecycleError as error:
                os._exit(7 if "was opened before this process was forked" in str(error) else 8)
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert bus.ask("shout", {"prompt": "hi"}) == {"response": "HI"}


INTERRUPTED = """
import asyncio
from cosmo_core import sync

async def endless(input, context):
    try:
        while True:
            yield "x"
            await asyncio.sleep(0)
    finally:
        print("cancelled", flush=True)

with sync.open("memory://", endless) as bus:
    for count, text in enumerate(bus.stream("endless", {})):
        if count == 100:
            print("running", flush=True)
"""

FORGOTTEN = """
from cosmo_core import sync

async def shout(input, context):
    return {"response": input["prompt"].upper()}

bus = sync.open("memory://", shout)
print(bus.ask("shout", {"prompt": "hi"}))
"""


def test_interrupted_program_stops_its_neurons_without_noise() -> None:
    program = subprocess.Popen(  # noqa: S603 - the program is a constant of this test
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "running\n"
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=20)
    assert out == "cancelled\n"
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")


STUBBORN = """
import asyncio
from cosmo_core import sync

async def stubborn(input, context):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

with sync.open("memory://", stubborn, grace_s=0) as bus:
    try:
        bus.ask("stubborn", {}, timeout_s=0.1)
    except TimeoutError:
        print("closing", flush=True)
"""


def test_neuron_that_ignores_its_cancellation_does_not_keep_the_program() -> None:
    done = subprocess.run(  # noqa: S603 - the program is a constant of this test
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "closing\n"


def test_bus_that_was_not_closed_ends_with_the_program() -> None:
    done = subprocess.run(  # noqa: S603 - the program is a constant of this test
        [sys.executable, "-X", "dev", "-W", "error", "-c", FORGOTTEN],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "{'response': 'HI'}\n"
    assert "Traceback" not in done.stderr
