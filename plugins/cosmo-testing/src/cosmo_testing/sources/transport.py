"""A provider inside the process, for sources that take an httpx client. Needs httpx."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import httpx

from cosmo_testing._messages import ReceivedRequest, RefusedError
from cosmo_testing._routes import refuse
from cosmo_testing.faults import Fault
from cosmo_testing.sources.http import every_request, recorded_fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cosmo_testing._messages import Response
    from cosmo_testing.sources.http import Answer, IsCall
    from cosmo_testing.sources.scenario import Scenario


def provider_transport(
    scenario: Scenario, answer: Answer, *, is_call: IsCall = every_request
) -> httpx.MockTransport:
    """Make a transport that answers as a scenario says: ``httpx.AsyncClient(transport=…)``.

    Args:
        scenario: What the provider is to do.
        answer: What it answers while nothing is wrong; may raise `RefusedError`.
        is_call: Which requests the scenario is about. All others are answered.
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
    """The body of a response, up to where it fails."""

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
