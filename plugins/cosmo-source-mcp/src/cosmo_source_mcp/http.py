"""The transport to a server over Streamable HTTP: that of the SDK, with limits and secrets handled."""

from __future__ import annotations

import asyncio
import json
import ssl
from codecs import BOM_UTF8
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.types.jsonrpc import JSONRPCError

from cosmo_core.errors import NeuronError
from cosmo_llm import EncodingError, read_up_to, retry_after_s
from cosmo_source_mcp import codes, limits
from cosmo_source_mcp.codes import parse_message
from cosmo_source_mcp.events import Event, EventReader, TooLargeError
from cosmo_source_mcp.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cosmo_llm import Secrets
    from cosmo_source_mcp.failures import McpFailures
    from cosmo_source_mcp.options import McpOptions
    from cosmo_source_mcp.targets import ServerUrl

_LIMITS: Final = httpx2.Limits(
    max_connections=limits.MAX_CONNECTIONS,
    max_keepalive_connections=limits.MAX_IDLE_CONNECTIONS,
    keepalive_expiry=limits.IDLE_CONNECTION_S,
)
_SESSION_ID: Final = "mcp-session-id"
_KEPT_HEADERS: Final = (_SESSION_ID, "content-type", "set-cookie")
"""The headers of a response that are still valid for its body after decoding."""
_NEGOTIATION_STATUSES: Final = (httpx2.codes.BAD_REQUEST, httpx2.codes.NOT_FOUND)
"""With these, a JSON-RPC error in the body may be part of the SDK's negotiation of a version."""
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""The codings of a body that are decompressed. What they can do to a few bytes is bounded."""
_BODY_HEADERS: Final = ("content-encoding", "content-length", "transfer-encoding")
_TO_SERVER: Final = "cosmo_source_mcp.to_server"
"""Marks the requests to the MCP server, unlike those of OAuth."""


class HttpLink:
    """One connection to a server. The calls get the errors that end it.

    Args:
        url: The URL of the server.
        options: How to authorize requests, and the headers of every request.
        failures: Has the time limit of one call, and the secrets that no quote may show.

    Attributes:
        exit_report: Always empty: how a server elsewhere ended is not known.
        failure: Always ``None``: this side does not end the connection.
    """

    exit_report: Final = ""
    failure: Final = None

    def __init__(self, url: ServerUrl, options: McpOptions, failures: McpFailures) -> None:
        self._url = url
        self._options = options
        self._failures = failures

    @asynccontextmanager
    async def open(self, on_end: Callable[[], None], is_ready: Callable[[], bool]) -> AsyncGenerator[Any]:
        """Provide the SDK's streams, and close the connections at the end.

        Args:
            on_end: Never called.
            is_ready: Tells whether the session is open.

        Raises:
            NeuronError: The environment names certificates or a proxy that cannot be used.
        """
        # In a thread: loading the certificates takes up to a second.
        connections = await asyncio.to_thread(self._connections)
        transport = GuardedTransport(self._url, self._options, self._failures, connections, is_ready)
        # Without a time limit and a size limit of the SDK: the calls and the transport have them.
        client = httpx2.AsyncClient(transport=transport, timeout=None)
        connect = streamable_http_client(self._url.shown, http_client=client, max_sse_event_size=None)
        async with client, connect as streams:
            yield streams

    def _connections(self) -> httpx2.AsyncHTTPTransport:
        needs_certificates = self._options.auth is not None or self._url.shown.startswith("https:")
        verify = True if needs_certificates else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return httpx2.AsyncHTTPTransport(verify=verify, limits=_LIMITS, proxy=self._url.proxy)
        except (ImportError, OSError, ValueError) as error:
            failure = self._failures.no_connections(error)
        raise failure


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Connections whose responses cannot fill the memory, whatever their encoding.

    Responses are asked for uncompressed. One that is compressed once, by gzip or deflate, is decompressed in
    small pieces, so that a limit stops it early; any other is refused.

    It also adds the query of the URL, which is secret, below the client, which logs the URL.

    Args:
        inner: The connections.
        url: The URL of the server.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: ServerUrl) -> None:
        self._inner = inner
        self._url = url

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. The whole response to a request of OAuth is read, up to a limit.

        Raises:
            httpx2.DecodingError: The response is compressed in another way, or too large.
        """
        is_to_server = _TO_SERVER in request.extensions
        sent = httpx2.Request(
            request.method,
            self._url.with_query(request.url) if is_to_server else request.url,
            headers={**request.headers, "accept-encoding": "identity"},
            stream=request.stream,
            extensions=request.extensions,
        )
        response = await self._inner.handle_async_request(sent)
        codings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
        codings = [name for name in codings if name not in ("", "identity")]
        if len(codings) > 1 or not set(codings) <= _CODINGS:
            await response.aclose()
            raise httpx2.DecodingError(f"a body in content-encoding {', '.join(codings)} is refused")
        if codings:
            stream = SlicedBody(response)
            response = httpx2.Response(response.status_code, headers=response.headers, stream=stream)
        if is_to_server:
            return response
        body, is_complete = await read_up_to(limits.MAX_AUTH_BYTES, response)
        if not is_complete:
            raise httpx2.DecodingError(f"a body of more than {limits.MAX_AUTH_BYTES} bytes is refused")
        headers = [pair for pair in response.headers.multi_items() if pair[0] not in _BODY_HEADERS]
        return httpx2.Response(response.status_code, headers=headers, content=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class SlicedBody(httpx2.AsyncByteStream):
    """The compressed body of a response in pieces of `SLICE_BYTES`."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """The pieces."""
        async for chunk in self._response.aiter_raw():
            for start in range(0, len(chunk), limits.SLICE_BYTES):
                yield chunk[start : start + limits.SLICE_BYTES]

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """An HTTP transport whose failures end one request, and not the session.

    In the SDK an exception of the transport ends the session, and the reason of an error response is lost.
    So this transport turns both into the JSON-RPC error of their request. It also adds the headers
    and the token, which are secret: added here, they are in neither an exception nor a log. Requests of
    OAuth, which go to other servers, get none of them.

    Args:
        url: The URL of the server.
        options: How to authorize requests, and the headers of every request.
        failures: Has the secrets that no quote may show, and the time limit of one call, which is also how
            long a server may stay silent on a request that was abandoned.
        connections: Sends the requests.
        is_ready: Tells whether the session is open. Before that, a server may stay silent for the time limit
            of its start.
    """

    def __init__(
        self,
        url: ServerUrl,
        options: McpOptions,
        failures: McpFailures,
        connections: httpx2.AsyncBaseTransport,
        is_ready: Callable[[], bool],
    ) -> None:
        self._secrets = failures.secrets
        self._headers = options.headers or {}
        self._token = options.token
        self._failures = failures
        self._is_ready = is_ready
        self._inner = BoundedTransport(connections, url)
        # A client, because that runs the flow of an `Auth`.
        self._client = httpx2.AsyncClient(
            transport=self._inner, auth=options.auth, timeout=None, trust_env=False
        )
        self._has_auth = options.auth is not None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return a response that the SDK can process."""
        if request.method == "POST":
            return await self._post(request)
        # DELETE ends the session. It is optional, and must not delay the closing of the Neuron.
        async with asyncio.timeout(limits.SESSION_DELETE_S if request.method == "DELETE" else None):
            response = await self._send(await self._signed(request))
        return self._checked(response) if _is_stream(response) else response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        if self._has_auth:
            return await self._client.send(request, stream=True)
        return await self._inner.handle_async_request(request)

    async def _post(self, request: httpx2.Request) -> httpx2.Response:
        try:
            signed = await self._signed(request)
            limit_s = self._failures.timeout_s if self._is_ready() else self._failures.start_timeout_s
            signed.extensions["timeout"] = httpx2.Timeout(limit_s).as_dict()
            response = await self._send(signed)
            if response.is_error:
                return await _refusal(signed, response, self._secrets)
            if _is_stream(response):
                return self._checked(response)
            if response.status_code == httpx2.codes.ACCEPTED or not response.is_success:
                return response
            return await _answer(response, self._secrets)
        except (httpx2.DecodingError, EncodingError) as error:
            return _error_response(codes.MALFORMED, self._secrets.quote(str(error)))
        except httpx2.RequestError as error:
            return _error_response(codes.UNREACHABLE, self._secrets.quote(str(error)) or type(error).__name__)
        except NeuronError as error:
            return _error_response(codes.NO_TOKEN, str(error))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the user's `auth` may raise anything
            text = self._secrets.quote(str(error))
            return _error_response(codes.NO_TOKEN, f"{type(error).__name__}: {text}" if text else repr(error))

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        events = CheckedEvents(response, self._secrets)
        return httpx2.Response(response.status_code, headers=_kept_headers(response), stream=events)

    async def _signed(self, request: httpx2.Request) -> httpx2.Request:
        headers = httpx2.Headers(request.headers)
        headers.update(self._headers)
        if self._token is not None:
            headers["authorization"] = await self._token.header()
        return httpx2.Request(
            request.method,
            request.url,
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, _TO_SERVER: True},
        )


async def _refusal(request: httpx2.Request, response: httpx2.Response, secrets: Secrets) -> httpx2.Response:
    status = response.status_code
    body, _ = await read_up_to(limits.MAX_REFUSAL_BYTES, response)
    message = parse_message(body)
    error = message if isinstance(message, JSONRPCError) else None
    if _SESSION_ID in request.headers and _is_lost_session(status, body):
        return _error_response(codes.SESSION_LOST)
    if error is not None and status in _NEGOTIATION_STATUSES:
        return httpx2.Response(status, json=error.model_dump(mode="json", exclude_unset=True))
    text = secrets.quote(body.decode(errors="replace") if error is None else error.error.message)
    wait_s = retry_after_s(response.headers.get("retry-after"))
    if wait_s is not None:
        text = f"it asks to wait {wait_s:g} s: {text}"
    return _error_response(codes.code_of_status(status), text)


async def _answer(response: httpx2.Response, secrets: Secrets) -> httpx2.Response:
    body, is_complete = await read_up_to(MAX_MESSAGE_BYTES, response)
    if not is_complete:
        return _error_response(codes.TOO_LARGE)
    if parse_message(body) is None:
        return _error_response(codes.MALFORMED, secrets.quote(body.decode(errors="replace")))
    kept = [(name, value) for name, value in _kept_headers(response) if name != "content-type"]
    # The body is JSON, so the content type is set to that of JSON, even if the server sent another one.
    headers = [*kept, ("content-type", "application/json")]
    return httpx2.Response(response.status_code, headers=headers, content=body.removeprefix(BOM_UTF8))


def _kept_headers(response: httpx2.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.multi_items() if name in _KEPT_HEADERS]


def _is_lost_session(status: int, body: bytes) -> bool:
    if status == httpx2.codes.BAD_REQUEST:
        # The protocol requires 404, but servers made after the examples of the SDKs send 400.
        return b"session" in body.lower()
    return status == httpx2.codes.NOT_FOUND


def _is_stream(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


def _error_body(code: int, text: str) -> dict[str, object]:
    """A JSON-RPC error without an id. The SDK assigns it to the request that it answers."""
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}}


def _error_response(code: int, text: str = "") -> httpx2.Response:
    return httpx2.Response(httpx2.codes.BAD_GATEWAY, json=_error_body(code, text))


def _error_event(code: int, text: str = "") -> bytes:
    return b"data: " + json.dumps(_error_body(code, text)).encode() + b"\n\n"


class CheckedEvents(httpx2.AsyncByteStream):
    """The server-sent events of a response. A malformed or too large one becomes an error of the request.

    The SDK would log such an event with any secret in it, or end the stream without a reason.
    """

    def __init__(self, response: httpx2.Response, secrets: Secrets) -> None:
        self._response = response
        self._secrets = secrets

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """The bytes of complete events."""
        reader = EventReader(MAX_MESSAGE_BYTES)
        try:
            async for chunk in self._response.aiter_bytes():
                for event in reader.feed(chunk):
                    if encoded := self._checked(event):
                        yield encoded
        except TooLargeError:
            yield _error_event(codes.TOO_LARGE)
            return
        except httpx2.DecodingError as error:
            yield _error_event(codes.MALFORMED, self._secrets.quote(str(error)))
            return
        last = reader.end()
        if last.message and parse_message(last.message) is not None:
            yield last.encode(last.message)

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()

    def _checked(self, event: Event) -> bytes:
        data = event.message
        # An event without data is a comment, or sets the id to resume from.
        if not data or parse_message(data) is not None:
            return event.encode(data)
        return _error_event(codes.MALFORMED, self._secrets.quote(data.decode(errors="replace")))
