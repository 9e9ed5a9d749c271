"""Requests of one Neuron: the deadline of a call, retries, and answers whole or streamed."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, TypeVar

import httpx

from cosmo_llm.decoding import MAX_BODY_BYTES
from cosmo_llm.failures import INPUT_INVALID
from cosmo_llm.http.route import Clients
from cosmo_llm.wire import EncodingError, asked_wait_s, decoded, read_up_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence

    from cosmo_core.errors import NeuronError
    from cosmo_llm.failures import Failures
    from cosmo_llm.http.options import HttpOptions

MAX_STREAM_BYTES: Final = 64 << 20
"""The limit on a streamed body, decompressed. It is larger because each token brings 250 bytes of JSON."""
LINGER_S: Final = 1.0
"""How long to wait for the end of a finished stream before its connection is closed."""
FIRST_DELAY_S: Final = 0.5
"""The longest delay before the first retry; it doubles with each further retry."""
MAX_DELAY_S: Final = 8.0
"""The longest delay before any retry, unless the provider asks for a longer one."""
RETRIABLE_STATUSES: Final = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
"""The HTTP statuses after which a request is sent again, unless the provider says that it cannot succeed.

Gateways have 5xx statuses of their own, such as 520 to 524 and 529. Only 501 and 505 say that the server
lacks a feature.
"""

_MAX_REFUSAL_BYTES: Final = 64 << 10
_MAX_DOUBLINGS: Final = 8
_INVALID_STATUSES: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
# httpx has one type of error for a connection that was closed and for an answer that is not HTTP.
_CLOSED_EARLY: Final = ("Server disconnected", "peer closed", "peer unexpectedly closed")

_log = logging.getLogger(__name__)

T = TypeVar("T")


def retry_delay_s(attempt: int, asked_s: float | None, max_retries: int) -> float | None:
    """How long to wait after a failed attempt, in seconds; ``None`` to give up.

    Args:
        attempt: The number of the attempt that failed, from 1.
        asked_s: The delay that the provider asks for; it is used unchanged.
        max_retries: How many further attempts there can be after the first.
    """
    # Not from a library: one would need callbacks for Retry-After and for the deadline of the call, and these
    # two rules are the whole code. `test_a_wait_beyond_the_time_limit_is_not_begun` shows the deadline.
    if attempt > max_retries:
        return None
    if asked_s is not None:
        return asked_s
    longest = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Call:
    """One request, including its retries.

    Attributes:
        url: The URL to send it to.
        contents: The JSON body, and what to send instead if the server refuses to stream.
        deadline: In the running loop's time.
        failures: Makes the errors of the call.
        max_retries: How often it is sent again.
        idle_s: How long a stream may send nothing, in seconds; ``None`` is up to the deadline.
    """

    url: str
    contents: Sequence[bytes]
    deadline: float
    failures: Failures
    max_retries: int
    idle_s: float | None = None

    @property
    def left_s(self) -> float:
        """The time until the deadline, in seconds."""
        return self.deadline - asyncio.get_running_loop().time()

    async def bounded(self, step: Awaitable[T]) -> T:
        """Await one step of the call, within its deadline.

        Raises:
            NeuronError: The deadline passed, or HTTP failed.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                return await step
        except TimeoutError:
            failure = self.failures.timed_out()
        except httpx.HTTPError as error:
            failure = self.failure_of(error)
        except EncodingError as error:
            failure = self.failures.malformed(error)
        # Raised outside the handler, so that it does not refer to an httpx error, which holds the key.
        raise failure

    def failure_of(self, error: httpx.HTTPError) -> NeuronError:
        """The error that an exception of httpx stands for."""
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self.failures.timed_out()
        if isinstance(error, httpx.DecodingError) or _is_not_http(error):
            return self.failures.malformed(reason)
        if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
            return self.failures.unreachable(reason)
        return self.failures.lost(reason)


class Decoder(Protocol):
    """Decodes the bytes of one stream.

    Attributes:
        done: Whether the answer is complete, so that the rest of the stream can be ignored.
    """

    done: bool

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Decode the next bytes and yield the texts that they complete.

        Raises:
            NeuronError: They are malformed, or report an error.
        """
        ...

    def end(self) -> Iterator[str]:
        """Handle the end of the stream and yield the texts that it completes.

        Raises:
            NeuronError: The answer is not complete.
        """
        ...


class AnswerStream:
    """The texts of an answer as they arrive, for use with ``async with``.

    It is not an async generator. An abandoned generator is closed by the event loop at some later time, and a
    deadline inside one would cancel its consumer.

    Args:
        call: The call that is answered; its deadline applies to every wait.
        response: The successful response.
        decoder: Converts the bytes of the response to texts.
    """

    def __init__(self, call: Call, response: httpx.Response, decoder: Decoder) -> None:
        self._call = call
        self._response = response
        self._decoder = decoder
        self._chunks: AsyncIterator[bytes] | None = None
        self._size = 0
        self._ended = False
        self._texts: Iterator[str] = iter(())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # Returns the connection to the pool, or closes it when a part of the body is unread.
        await self._response.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """The next text.

        Raises:
            NeuronError: The answer is cut, late, too large or malformed.
        """
        while (text := next(self._texts, None)) is None:
            if self._ended:
                await self._drain()
                raise StopAsyncIteration
            chunk = None if self._decoder.done else await self._read()
            self._ended = chunk is None
            self._texts = self._decoder.end() if chunk is None else self._decoder.feed(chunk)
        return text

    async def _read(self) -> bytes | None:
        chunk = await self._call.bounded(self._next_chunk())
        self._size += len(chunk or b"")
        if self._size > MAX_STREAM_BYTES:
            raise self._call.failures.too_large(MAX_STREAM_BYTES)
        return chunk

    async def _next_chunk(self) -> bytes | None:
        if self._chunks is None:
            self._chunks = decoded(self._response)
        limit = asyncio.timeout(self._call.idle_s)
        try:
            async with limit:
                return await anext(self._chunks, None)
        except TimeoutError:
            if not limit.expired():
                raise
        raise self._call.failures.idle(self._call.idle_s or 0)

    async def _drain(self) -> None:
        """Read to the end of the stream, so that the connection can be used again."""
        # The answer is complete: an error here costs the connection and nothing else.
        with suppress(TimeoutError, httpx.HTTPError, EncodingError):
            async with asyncio.timeout(LINGER_S):
                while self._chunks is not None and await anext(self._chunks, None) is not None:
                    pass


class _Refusal(NamedTuple):
    """An attempt without a response to read."""

    error: NeuronError
    retriable: bool
    retry_after_s: float | None = None
    refuses_stream: bool = False


class Transport:
    """Sends the calls of one Neuron. Between calls it holds nothing but the client's connections.

    Args:
        options: The endpoint, time limit, headers and client.
        headers: Headers of the source itself, such as a key; the user's own headers override them.
    """

    def __init__(self, options: HttpOptions, headers: Mapping[str, str] | None = None) -> None:
        self._options = options
        self._headers = httpx.Headers({"content-type": "application/json", "accept-encoding": "identity"})
        self._headers.update(headers)
        self._headers.update(options.headers)
        self._clients = Clients(options.endpoint, options.client)

    def call(
        self,
        path: str,
        body: Mapping[str, Any],
        failures: Failures,
        *,
        options: HttpOptions | None = None,
        instead: Sequence[Mapping[str, Any]] = (),
    ) -> Call:
        """Prepare a request; its time limit begins now.

        Args:
            path: The path of the API under the endpoint.
            body: What is sent, as JSON.
            failures: Makes the errors of the call.
            options: The time limits and the retries of this call; those of the Neuron by default.
            instead: What is sent, one after the other, if the server refuses a request because of what it
                says about streaming.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when JSON cannot carry the body.
        """
        options = options or self._options
        try:
            contents = [json.dumps(each, allow_nan=False).encode() for each in (body, *instead)]
        except (TypeError, ValueError, RecursionError) as error:
            raise INPUT_INVALID.error(f"the input cannot be sent as JSON: {error}") from None
        return Call(
            url=self._options.endpoint.url(path),
            contents=contents,
            deadline=asyncio.get_running_loop().time() + options.timeout,
            failures=failures,
            max_retries=options.max_retries,
            idle_s=options.idle_timeout,
        )

    async def fetch(self, call: Call) -> bytes:
        """Send a call and read the whole answer.

        Raises:
            NeuronError: The provider refused, did not answer in time, or exceeded the size limit.
        """
        response = await self._send(call)
        body, complete = await call.bounded(read_up_to(MAX_BODY_BYTES, response))
        if not complete:
            raise call.failures.too_large(MAX_BODY_BYTES)
        return body

    async def open(self, call: Call, decoder: Decoder) -> AnswerStream:
        """Send a call and return its answer as a stream, which the caller closes.

        Raises:
            NeuronError: The provider refused, or did not answer in time.
        """
        return AnswerStream(call, await self._send(call), decoder)

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._clients.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        """Send until there is a success to read, or another attempt is useless or would be too late."""
        attempt = 0
        contents = list(call.contents)
        while True:
            attempt += 1
            outcome = await call.bounded(self._attempt(call, contents[0]))
            if isinstance(outcome, httpx.Response):
                return outcome
            if outcome.refuses_stream and len(contents) > 1:
                del contents[0]
                attempt -= 1
                continue
            delay_s = (
                retry_delay_s(attempt, outcome.retry_after_s, call.max_retries) if outcome.retriable else None
            )
            if delay_s is None or delay_s >= call.left_s:
                raise outcome.error
            _log.info("attempt %d failed, next in %.2f s: %s", attempt, delay_s, outcome.error)
            await asyncio.sleep(delay_s)

    async def _attempt(self, call: Call, content: bytes) -> httpx.Response | _Refusal:
        client = await self._clients.current()
        # Only the time limits of the call apply, not httpx's for single steps.
        request = client.build_request("POST", call.url, content=content, headers=self._headers, timeout=None)
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            # No byte of an answer arrived, so that nothing was yielded yet and a retry is safe.
            is_final = isinstance(error, httpx.TimeoutException) or _is_not_http(error)
            return _Refusal(call.failure_of(error), retriable=not is_final)
        return response if response.is_success else await _refusal(call, response)


async def _refusal(call: Call, response: httpx.Response) -> _Refusal:
    status = response.status_code
    try:
        body, _ = await read_up_to(_MAX_REFUSAL_BYTES, response)
    except (httpx.HTTPError, EncodingError):
        body = b""  # the status alone says enough
    if response.has_redirect_location:
        return _Refusal(call.failures.redirected(status, response.headers["location"]), retriable=False)
    wait_s = asked_wait_s(response.headers)
    error = call.failures.refused(status, body, retry_after_s=wait_s)
    return _Refusal(
        error,
        retriable=status in RETRIABLE_STATUSES and error.recoverable,
        retry_after_s=wait_s,
        refuses_stream=status in _INVALID_STATUSES and b"stream" in body,
    )


def _is_not_http(error: httpx.HTTPError) -> bool:
    """Whether the server answered, but not in HTTP, such as with two lengths: asking again does not help."""
    is_protocol = isinstance(error, (httpx.RemoteProtocolError, httpx.LocalProtocolError))
    return is_protocol and not str(error).startswith(_CLOSED_EARLY)
