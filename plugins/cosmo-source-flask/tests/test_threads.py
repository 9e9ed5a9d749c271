"""The threads of WSGI views: bounded, off the event loop, and not interrupted by a cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_flask import wsgi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_source_flask import WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron]

current_user = contextvars.ContextVar("current_user", default="unset")


class Gate:
    """An app whose requests wait until ``open`` is set; ``/free`` does not wait."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.arrived = asyncio.Semaphore(0)
        self.left = asyncio.Event()
        self.threads: set[threading.Thread] = set()
        self.most = 0
        self._inside = 0
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.threads.add(threading.current_thread())
        if environ["PATH_INFO"] != "/free":
            self._wait()
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    def _wait(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._loop.call_soon_threadsafe(self.arrived.release)
        assert self.open.wait(20), "the loop was blocked"
        with self._lock:
            self._inside -= 1
        self._loop.call_soon_threadsafe(self.left.set)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


async def test_blocking_view_does_not_block_the_loop(make_wsgi: Make, ask: Ask, gate: Gate) -> None:
    call = asyncio.ensure_future(ask(make_wsgi(gate), {"path": "/a"}))
    await gate.arrived.acquire()
    gate.open.set()  # this line runs in the loop, so the loop is not blocked
    assert (await call)["response"] == "/a"
    assert threading.main_thread() not in gate.threads


async def test_threads_limits_concurrent_calls_which_share_nothing(
    make_wsgi: Make, ask: Ask, gate: Gate
) -> None:
    neuron = make_wsgi(gate, threads=4)
    calls = [asyncio.ensure_future(ask(neuron, {"path": f"/{number}"})) for number in range(20)]
    for _ in range(4):
        await gate.arrived.acquire()
    gate.open.set()
    assert [(await call)["response"] for call in calls] == [f"/{number}" for number in range(20)]
    assert (gate.most, len(gate.threads)) == (4, 4)


async def test_each_neuron_has_its_own_threads(make_wsgi: Make, ask: Ask, gate: Gate) -> None:
    busy = asyncio.ensure_future(ask(make_wsgi(gate, threads=1)))
    await gate.arrived.acquire()
    assert (await ask(make_wsgi(gate, threads=1), {"path": "/free"}))["ok"]
    gate.open.set()
    await busy


async def test_cancelled_caller_returns_at_once_and_its_view_continues(
    make_wsgi: Make, ask: Ask, gate: Gate
) -> None:
    neuron = make_wsgi(gate, threads=1)
    call = asyncio.ensure_future(ask(neuron))
    await gate.arrived.acquire()
    call.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await call
    gate.open.set()
    async with asyncio.timeout(5):
        await gate.left.wait()
    assert (await ask(neuron))["ok"]


async def test_call_cancelled_before_it_has_a_thread_does_not_run(
    make_wsgi: Make, ask: Ask, gate: Gate
) -> None:
    neuron = make_wsgi(gate, threads=1, timeout=10)
    running = asyncio.ensure_future(ask(neuron))
    await gate.arrived.acquire()
    waiting = asyncio.ensure_future(ask(neuron))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.open.set()
    await running
    assert (await ask(neuron, {"path": "/free"}))["ok"]
    assert gate.arrived.locked(), "the cancelled call reached the app"


async def test_slow_view_times_out(make_wsgi: Make, ask: Ask, gate: Gate) -> None:
    neuron = make_wsgi(gate, timeout=0.01)
    with pytest.raises(NeuronError, match=r"Gate did not answer completely within 0\.01 s") as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("TIMEOUT", True)
    assert caught.value.__context__ is None


async def test_endless_stream_ends_with_its_call(make_wsgi: Make, ask: Ask) -> None:
    loop, streaming, closed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                loop.call_soon_threadsafe(streaming.set)
                yield b""
        finally:
            loop.call_soon_threadsafe(closed.set)

    call = asyncio.ensure_future(ask(make_wsgi(app)))
    async with asyncio.timeout(5):
        await streaming.wait()
        call.cancel()
        await closed.wait()


async def test_exception_after_a_cancellation_is_logged(
    make_wsgi: Make, ask: Ask, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        gate(environ, start_response)
        raise LookupError("late")

    neuron = make_wsgi(app, threads=1)
    call = asyncio.ensure_future(ask(neuron))
    await gate.arrived.acquire()
    call.cancel()
    await asyncio.wait([call])
    gate.open.set()
    with pytest.raises(NeuronError):
        await ask(neuron, {"path": "/free"})  # on the same thread, so after the other
    assert caplog.text.count("LookupError: late") >= 2


async def test_closing_leaves_no_thread(make_wsgi: Make, ask: Ask, gate: Gate) -> None:
    neuron = make_wsgi(gate)
    gate.open.set()
    await asyncio.gather(*(ask(neuron) for _ in range(8)))
    await neuron.aclose()
    assert not any(thread.is_alive() for thread in gate.threads)
    assert (await ask(neuron))["ok"]


async def test_closing_does_not_wait_for_views_and_lets_running_and_queued_calls_end(
    make_wsgi: Make, ask: Ask, gate: Gate
) -> None:
    neuron = make_wsgi(gate, threads=1)
    calls = [asyncio.ensure_future(ask(neuron)) for _ in range(2)]
    await gate.arrived.acquire()
    await neuron.aclose()
    gate.open.set()
    assert [(await call)["ok"] for call in calls] == [True, True]
    for thread in gate.threads:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()


async def test_view_has_a_copy_of_the_callers_context(make_wsgi: Make, ask: Ask) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen = current_user.get()
        current_user.set("the view's")
        start_response("200 OK", [])
        return [seen.encode()]

    neuron = make_wsgi(app, threads=1)
    assert (await ask(neuron))["response"] == "unset"
    current_user.set("ada")
    assert (await ask(neuron))["response"] == "ada"
    assert current_user.get() == "ada"


def test_neuron_works_in_a_second_event_loop(ask: Ask) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return []

    neuron = wsgi(app=app)
    assert asyncio.run(ask(neuron))["ok"]
    assert asyncio.run(ask(neuron))["ok"]
    asyncio.run(neuron.aclose())
