"""The synchronous door."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import (
    LifecycleError,
    NeuronError,
    OutputTypeError,
    RemoteError,
    UnknownPluginError,
    neuron,
    sync,
)

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
