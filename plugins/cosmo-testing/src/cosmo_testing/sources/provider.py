"""Stand-ins for the provider behind a source: a scenario, over a socket or over an httpx transport."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx

from cosmo_testing.chat_server.faults import Fault
from cosmo_testing.chat_server.loopback import LoopbackServer
from cosmo_testing.chat_server.messages import ReceivedRequest, RefusedError, Response
from cosmo_testing.chat_server.replies import canned_reply
from cosmo_testing.chat_server.server import refuse, respond
from cosmo_testing.conformance.steps import PATIENCE_S
from cosmo_testing.sources.faults import FAULTS


class Scenario:
    """The behavior of the provider in one check, and the calls that have reached it.

    The kit makes one for every check, in the running event loop. The provider of a test awaits `reached` in
    every call, and then behaves as `fault` says.

    Attributes:
        fault: The name of the current fault, or ``None``. It may end between two calls, and never changes to
            another one.
        words: The provider's error text. It contains every secret of the source, because real providers
            repeat what they received.
        asked: The number of calls that have reached the provider.
    """

    def __init__(self, fault: str | None = None, *, words: str = "it broke") -> None:
        self.fault = fault
        self.words = words
        self.asked = 0
        self._loop = asyncio.get_running_loop()
        self._arrival = asyncio.Condition()
        self._gate = asyncio.Event()
        self._gate.set()
        self._over = asyncio.Event()

    # --- for the provider ---------------------------------------------------------------------------

    async def reached(self) -> None:
        """Report that a call has reached the provider, and wait until it may be answered."""
        async with self._arrival:
            self.asked += 1
            self._arrival.notify_all()
        await self._gate.wait()

    async def stall(self) -> None:
        """Wait until the end of the check, like a provider that never answers."""
        await self._over.wait()

    def reached_in_thread(self) -> None:
        """Do as `reached` does, for a provider that answers in a thread."""
        self._block_on(self.reached())

    def stall_in_thread(self) -> None:
        """Do as `stall` does, for a provider that answers in a thread."""
        self._block_on(self.stall())

    def _block_on(self, waiting: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result()

    # --- for the checks -----------------------------------------------------------------------------

    def hold(self) -> None:
        """Delay all answers until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Release all delayed answers."""
        self._gate.set()

    def end(self) -> None:
        """Release every call that waits for this scenario."""
        self._gate.set()
        self._over.set()

    async def wait_asked(self, count: int) -> None:
        """Return when ``count`` calls have reached the provider.

        Raises:
            TimeoutError: They did not within half of `PATIENCE_S`, before the calls themselves time out.
        """
        async with asyncio.timeout(PATIENCE_S / 2), self._arrival:
            await self._arrival.wait_for(lambda: self.asked >= count)


Answer = Callable[[ReceivedRequest, int], Response]
"""Takes a request and its number, from 1; returns the response of a provider without a fault."""


IsCall = Callable[[ReceivedRequest], bool]
"""Tells whether a request is a call of a Neuron, and not, for example, a handshake."""


def every_request(request: ReceivedRequest) -> bool:
    """Treat every request as a call."""
    return True


def chat_answers(*, api_key: str | None = None, reply: Callable[[str], str] = canned_reply) -> Answer:
    """Return the answers of a `ChatServer`: OpenAI's chat completions, TGI's native API and Ollama's.

    Args:
        api_key: The key that requests need; ``None`` accepts all requests.
        reply: Takes the last user message; returns the answer.
    """

    def answer(request: ReceivedRequest, serial: int) -> Response:
        return respond(request, serial=serial, api_key=api_key, reply=reply)

    return answer


def recorded_fault(scenario: Scenario) -> Fault:
    """Return the fault of the next response. A fault that is not in `FAULTS` is left to the `Answer`."""
    recording = FAULTS.get(scenario.fault or "")
    return Fault.none() if recording is None else recording.over_http(scenario.words)


class ProviderServer(LoopbackServer):
    """A provider on 127.0.0.1: ``async with ProviderServer(scenario, answer) as server``.

    Args:
        scenario: The behavior of the provider.
        answer: Makes the response without a fault; may raise `RefusedError`.
        is_call: Selects the requests to which the scenario applies. Others are always answered.
    """

    def __init__(self, scenario: Scenario, answer: Answer, *, is_call: IsCall = every_request) -> None:
        super().__init__(answer, refuse=refuse)
        self._scenario = scenario
        self._is_call = is_call

    async def _record(self, request: ReceivedRequest) -> tuple[int, Fault]:
        serial, fault = await super()._record(request)
        if not self._is_call(request):
            return serial, fault
        await self._scenario.reached()
        return serial, recorded_fault(self._scenario)


def provider_transport(
    scenario: Scenario, answer: Answer, *, is_call: IsCall = every_request
) -> httpx.MockTransport:
    """Make an httpx transport that behaves like a provider: ``httpx.AsyncClient(transport=…)``.

    Args:
        scenario: The behavior of the provider.
        answer: Makes the response without a fault; may raise `RefusedError`.
        is_call: Selects the requests to which the scenario applies. Others are always answered.
    """
    serials = itertools.count(1)

    async def handle(sent: httpx.Request) -> httpx.Response:
        request, serial, fault = _received(sent), next(serials), Fault.none()
        if is_call(request):
            await scenario.reached()
            fault = recorded_fault(scenario)
        response = _response(answer, request, serial, fault)
        headers = {"content-type": response.content_type, **response.headers}
        return httpx.Response(response.status, headers=headers, stream=_Pieces(response, fault, scenario))

    return httpx.MockTransport(handle)


def _received(request: httpx.Request) -> ReceivedRequest:
    return ReceivedRequest(request.method, request.url.path, dict(request.headers), request.content)


def _response(answer: Answer, request: ReceivedRequest, serial: int, fault: Fault) -> Response:
    try:
        if fault.refusal is None:
            return fault.response or answer(request, serial)
        refusal = fault.refusal
    except RefusedError as error:
        refusal = error.refusal
    return refuse(request.path, refusal)


class _Pieces(httpx.AsyncByteStream):
    """The body of a response, up to the fault."""

    def __init__(self, response: Response, fault: Fault, scenario: Scenario) -> None:
        self._response = response
        self._fault = fault
        self._scenario = scenario

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._fault.act is None:
            for piece in self._response.pieces:
                yield piece
            return
        for piece in itertools.islice(self._response.pieces, self._fault.after):
            yield piece
        if self._fault.act == "cut":
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        await self._scenario.stall()
