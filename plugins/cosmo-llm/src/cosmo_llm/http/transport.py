"""Sends requests, again where that helps, and hands out what comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from cosmo_llm import retry
from cosmo_llm.failures import INPUT_INVALID
from cosmo_llm.http.call import Call
from cosmo_llm.http.clients import Clients
from cosmo_llm.http.stream import AnswerStream
from cosmo_llm.wire import read_up_to, retry_after_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_core.errors import NeuronError
    from cosmo_llm.failures import Failures
    from cosmo_llm.http.options import HttpOptions
    from cosmo_llm.http.stream import Decoder

MAX_BODY_BYTES: Final = 16 << 20
"""The largest body that is read in one piece."""
_MAX_REFUSAL_BYTES: Final = 64 << 10

_log = logging.getLogger(__name__)


class _Refusal(NamedTuple):
    """An attempt that brought no response to read."""

    error: NeuronError
    retriable: bool
    retry_after_s: float | None = None


class Transport:
    """Sends the calls of one Neuron; holds nothing between them but the pooled client.

    Args:
        options: Where to, and how.
        headers: What the source itself sends, such as a key; the user's own headers win.
    """

    def __init__(self, options: HttpOptions, headers: Mapping[str, str] | None = None) -> None:
        self._options = options
        # Uncompressed, so that the bound on the bytes read is the bound on the memory used.
        self._headers = httpx.Headers({"content-type": "application/json", "accept-encoding": "identity"})
        self._headers.update(headers)
        self._headers.update(options.headers)
        self._clients = Clients(options.endpoint, options.client)

    def call(self, path: str, body: Mapping[str, Any], failures: Failures) -> Call:
        """Word one request, and start its clock.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the body holds what JSON cannot carry.
        """
        try:
            content = json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise INPUT_INVALID.error(f"the input cannot be sent as JSON: {error}") from None
        deadline = asyncio.get_running_loop().time() + self._options.timeout
        return Call(self._options.endpoint.url(path), content, deadline, failures)

    async def fetch(self, call: Call) -> bytes:
        """Send a call and read the whole answer.

        Raises:
            NeuronError: The provider refused, was not reached in time, or sent more than is read.
        """
        response = await self._send(call)
        body, complete = await call.bounded(read_up_to(MAX_BODY_BYTES, response))
        if not complete:
            raise call.failures.too_large(MAX_BODY_BYTES)
        return body

    async def open(self, call: Call, decoder: Decoder) -> AnswerStream:
        """Send a call and return its answer to be taken as it comes; the caller closes it.

        Raises:
            NeuronError: The provider refused, or was not reached in time.
        """
        return AnswerStream(call, await self._send(call), decoder)

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._clients.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        """Send until there is a success to read, or trying again is of no use or would take too long."""
        attempt = 0
        while True:
            attempt += 1
            outcome = await call.bounded(self._attempt(call))
            if isinstance(outcome, httpx.Response):
                return outcome
            delay_s = retry.delay_s(attempt, outcome.retry_after_s) if outcome.retriable else None
            if delay_s is None or delay_s >= call.left_s:
                raise outcome.error
            _log.info("attempt %d failed, next in %.2f s: %s", attempt, delay_s, outcome.error)
            await asyncio.sleep(delay_s)

    async def _attempt(self, call: Call) -> httpx.Response | _Refusal:
        client = self._clients.current()
        # One clock only: the deadline of the call, not httpx's limits for each step of it.
        request = client.build_request(
            "POST", call.url, content=call.content, headers=self._headers, timeout=None
        )
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            # Not one byte of an answer came, so that nobody has seen a part of it.
            return _Refusal(call.broken(error), retriable=not isinstance(error, httpx.TimeoutException))
        return response if response.is_success else await _refusal(call, response)


async def _refusal(call: Call, response: httpx.Response) -> _Refusal:
    status = response.status_code
    try:
        body, _ = await read_up_to(_MAX_REFUSAL_BYTES, response)
    except httpx.HTTPError:
        body = b""  # the status alone says enough
    if response.has_redirect_location:
        return _Refusal(call.failures.redirected(status, response.headers["location"]), retriable=False)
    wait_s = retry_after_s(response.headers.get("retry-after"))
    error = call.failures.refused(status, body, retry_after_s=wait_s)
    return _Refusal(error, status in retry.RETRIABLE_STATUSES, wait_s)
