"""Requests and responses over HTTP, within a time limit, a size limit and a number of attempts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import httpx

from cosmo_core.chat import retry_after_s
from cosmo_source_huggingface import retry
from cosmo_source_huggingface.clients import Clients
from cosmo_source_huggingface.failures import Failures

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_core.errors import NeuronError
    from cosmo_source_huggingface.options import Options

MAX_BODY_BYTES: Final = 16 << 20
"""The largest body that is read in one piece."""
MAX_STREAM_BYTES: Final = 64 << 20
"""The largest stream, as it comes over the wire: each token brings some 250 bytes of JSON with it."""
_MAX_REFUSAL_BYTES: Final = 64 << 10

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Call(NamedTuple):
    """One request, however often it is sent.

    Attributes:
        url: Where to.
        content: The JSON body.
        deadline: In the running loop's time.
    """

    url: str
    content: bytes
    deadline: float


class _Refusal(NamedTuple):
    """An attempt that brought no response to read."""

    error: NeuronError
    retriable: bool
    retry_after_s: float | None = None


class Transport:
    """Sends the calls of one Neuron; holds nothing between them but the pooled client."""

    def __init__(self, options: Options) -> None:
        self.failures = Failures(options)
        self._timeout_s = options.timeout
        self._headers = _headers(options)
        self._clients = Clients(options.endpoint, options.client)

    def call(self, url: str, content: bytes) -> Call:
        """Start the clock for one request."""
        return Call(url, content, asyncio.get_running_loop().time() + self._timeout_s)

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._clients.aclose()

    async def send(self, call: Call) -> httpx.Response:
        """Send until there is a success to read, which the caller must close.

        Raises:
            NeuronError: The provider refused, or could not be reached, and trying again is of no use or
                would take longer than the time limit.
        """
        attempt = 0
        while True:
            attempt += 1
            outcome = await self.bounded(call, self._attempt(call))
            if isinstance(outcome, httpx.Response):
                return outcome
            delay_s = retry.delay_s(attempt, outcome.retry_after_s) if outcome.retriable else None
            left_s = call.deadline - asyncio.get_running_loop().time()
            if delay_s is None or delay_s >= left_s:
                raise outcome.error
            _log.info("attempt %d failed, next in %.2f s: %s", attempt, delay_s, outcome.error)
            await asyncio.sleep(delay_s)

    async def read(self, call: Call, response: httpx.Response) -> bytes:
        """Read the whole body and close the response."""
        try:
            body, complete = await self.bounded(call, _read_up_to(MAX_BODY_BYTES, response))
        finally:
            await response.aclose()
        if not complete:
            raise self.failures.too_large(MAX_BODY_BYTES)
        return body

    async def bounded(self, call: Call, step: Awaitable[T]) -> T:
        """Await one step of a call, within its deadline.

        Raises:
            NeuronError: The deadline passed, or HTTP failed.
        """
        try:
            async with asyncio.timeout_at(call.deadline):
                return await step
        except TimeoutError:
            failure = self.failures.timed_out()
        except httpx.HTTPError as error:
            failure = self.failures.lost(error)
        # Raised out here, so that it holds no httpx exception: that holds the request, and with it the key.
        raise failure

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
            is_timeout = isinstance(error, httpx.TimeoutException)
            return _Refusal(self.failures.lost(error), retriable=not is_timeout)
        return response if response.is_success else await self._refusal(response)

    async def _refusal(self, response: httpx.Response) -> _Refusal:
        status = response.status_code
        try:
            body, _ = await _read_up_to(_MAX_REFUSAL_BYTES, response)
        except httpx.HTTPError:
            body = b""  # the status alone says enough
        finally:
            await response.aclose()
        if response.has_redirect_location:
            return _Refusal(self.failures.redirected(status, response.headers["location"]), retriable=False)
        wait_s = retry_after_s(response.headers.get("retry-after"))
        error = self.failures.refused(status, body, retry_after_s=wait_s)
        return _Refusal(error, status in retry.RETRIABLE_STATUSES, wait_s)


def _headers(options: Options) -> httpx.Headers:
    # Uncompressed, so that the bound on the bytes read is the bound on the memory used.
    headers = httpx.Headers({"content-type": "application/json", "accept-encoding": "identity"})
    if options.api_key:
        headers["authorization"] = f"Bearer {options.api_key}"
    headers.update(options.headers)
    return headers


async def _read_up_to(limit: int, response: httpx.Response) -> tuple[bytes, bool]:
    """At most the first ``limit`` bytes of the body, and whether that is all of it."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True
