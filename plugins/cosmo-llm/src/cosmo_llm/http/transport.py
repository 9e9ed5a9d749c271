"""Requests of one Neuron: the HTTP client, the deadline of a call, retries, and answers whole or streamed."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, TypeVar

import httpx

from cosmo_core.errors import NeuronError
from cosmo_llm.failures import INPUT_INVALID
from cosmo_llm.wire import read_up_to, retry_after_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from cosmo_llm.failures import Failures
    from cosmo_llm.http.options import Endpoint, HttpOptions

MAX_CONNECTIONS: Final = 100
"""How many calls of one Neuron are sent at the same time; further calls wait."""
MAX_BODY_BYTES: Final = 16 << 20
"""The limit on a body that is read whole."""
MAX_STREAM_BYTES: Final = 64 << 20
"""The limit on a streamed body. It is larger because each token brings some 250 bytes of JSON with it."""
LINGER_S: Final = 1.0
"""How long to wait for the end of a finished stream before its connection is closed."""
MAX_ATTEMPTS: Final = 4
"""How often a request is sent."""
FIRST_DELAY_S: Final = 0.5
"""The longest delay before the first retry; it doubles with each further retry."""
MAX_DELAY_S: Final = 8.0
"""The longest delay before any retry, unless the provider asks for a longer one."""
RETRIABLE_STATUSES: Final = frozenset({429, 503})
"""The HTTP statuses after which a request is sent again."""

_MAX_REFUSAL_BYTES: Final = 64 << 10

_log = logging.getLogger(__name__)

T = TypeVar("T")


def retry_delay_s(attempt: int, asked_s: float | None) -> float | None:
    """How long to wait after a failed attempt, in seconds; ``None`` to give up.

    Args:
        attempt: The number of the attempt that failed, from 1.
        asked_s: The delay that the provider asks for; it is used unchanged.
    """
    # Not from a library: one would need callbacks for Retry-After and for the deadline of the call, and these
    # two rules are the whole code. `test_a_wait_beyond_the_time_limit_is_not_begun` shows the deadline.
    if attempt >= MAX_ATTEMPTS:
        return None
    if asked_s is not None:
        return asked_s
    longest = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Call:
    """One request, including its retries.

    Attributes:
        url: The URL to send it to.
        content: The JSON body.
        deadline: In the running loop's time.
        failures: Makes the errors of the call.
    """

    url: str
    content: bytes
    deadline: float
    failures: Failures

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
        # Raised outside the handler, so that it does not refer to an httpx error, which holds the key.
        raise failure

    def failure_of(self, error: httpx.HTTPError) -> NeuronError:
        """The error that an exception of httpx stands for."""
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self.failures.timed_out()
        if isinstance(error, httpx.DecodingError):
            return self.failures.malformed(reason)
        if isinstance(error, httpx.ConnectError):
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
        self._chunks = response.aiter_bytes()
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
        chunk = await self._call.bounded(anext(self._chunks, None))
        self._size += len(chunk or b"")
        if self._size > MAX_STREAM_BYTES:
            raise self._call.failures.too_large(MAX_STREAM_BYTES)
        return chunk

    async def _drain(self) -> None:
        """Read to the end of the stream, so that the connection can be used again."""
        # The answer is complete: an error here costs the connection and nothing else.
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(LINGER_S):
                while await anext(self._chunks, None) is not None:
                    pass


class _Refusal(NamedTuple):
    """An attempt without a response to read."""

    error: NeuronError
    retriable: bool
    retry_after_s: float | None = None


class Transport:
    """Sends the calls of one Neuron. Between calls it holds nothing but the client's connections.

    Args:
        options: The endpoint, time limit, headers and client.
        headers: Headers of the source itself, such as a key; the user's own headers override them.
    """

    def __init__(self, options: HttpOptions, headers: Mapping[str, str] | None = None) -> None:
        self._options = options
        # Without compression, the limit on the bytes read is the limit on the memory used.
        self._headers = httpx.Headers({"content-type": "application/json", "accept-encoding": "identity"})
        self._headers.update(headers)
        self._headers.update(options.headers)
        self._clients = _Clients(options.endpoint, options.client)

    def call(self, path: str, body: Mapping[str, Any], failures: Failures) -> Call:
        """Prepare a request; its time limit begins now.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when JSON cannot carry the body.
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
        while True:
            attempt += 1
            outcome = await call.bounded(self._attempt(call))
            if isinstance(outcome, httpx.Response):
                return outcome
            delay_s = retry_delay_s(attempt, outcome.retry_after_s) if outcome.retriable else None
            if delay_s is None or delay_s >= call.left_s:
                raise outcome.error
            _log.info("attempt %d failed, next in %.2f s: %s", attempt, delay_s, outcome.error)
            await asyncio.sleep(delay_s)

    async def _attempt(self, call: Call) -> httpx.Response | _Refusal:
        client = self._clients.current()
        # Only the deadline of the call applies, not httpx's time limits for single steps.
        request = client.build_request(
            "POST", call.url, content=call.content, headers=self._headers, timeout=None
        )
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            # No byte of an answer arrived, so that nothing was yielded yet and a retry is safe.
            return _Refusal(call.failure_of(error), retriable=not isinstance(error, httpx.TimeoutException))
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
    return _Refusal(error, status in RETRIABLE_STATUSES, wait_s)


class _Clients:
    """The HTTP clients of one Neuron, one for each event loop, made on first use.

    A connection belongs to the event loop that opened it. Usually there is one loop, and so one client.

    Args:
        endpoint: The server that the clients connect to.
        injected: The user's client; it is used in every loop, and never closed here.
    """

    def __init__(self, endpoint: Endpoint, injected: httpx.AsyncClient | None = None) -> None:
        self._endpoint = endpoint
        self._injected = injected
        self._by_loop: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    def current(self) -> httpx.AsyncClient:
        """The client for the running loop, made if there is none.

        Raises:
            NeuronError: The user has closed the injected client.
        """
        if self._injected is not None:
            if self._injected.is_closed:
                raise NeuronError("the httpx client given as client= is closed: keep it open while in use")
            return self._injected
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            # The client of a loop that has ended cannot be closed any more, only dropped.
            self._by_loop = {other: kept for other, kept in self._by_loop.items() if not other.is_closed()}
            self._by_loop[loop] = self._make()
        return self._by_loop[loop]

    async def aclose(self) -> None:
        """Close the running loop's client; the next call makes a new one."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _make(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            # A proxy from the environment cannot reach a server on this machine.
            mounts={self._endpoint.base: None} if self._endpoint.is_loopback else None,
            # A call must not send cookies that the answer to another call set.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
