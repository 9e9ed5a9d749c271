"""The transport to a server over Streamable HTTP: that of the SDK, with limits and secrets handled."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.types.jsonrpc import JSONRPCError

from cosmo_llm import read_up_to, retry_after_s
from cosmo_source_mcp import codes, limits
from cosmo_source_mcp.codes import parse_message
from cosmo_source_mcp.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from cosmo_llm import Secrets
    from cosmo_source_mcp.failures import McpFailures
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
_EVENT_END: Final = re.compile(rb"\r?\n\r?\n")
_EVENT_DATA: Final = re.compile(rb"^data:? ?([^\r\n]*)", re.MULTILINE)


class HttpLink:
    """One connection to a server. The calls get the errors that end it.

    Args:
        url: The URL of the server.
        headers: Sent with every request.
        failures: Has the time limit of one call, and the secrets that no quote may show.

    Attributes:
        exit_report: Always empty: how a server elsewhere ended is not known.
        failure: Always ``None``: this side does not end the connection.
    """

    exit_report: Final = ""
    failure: Final = None

    def __init__(self, url: ServerUrl, headers: Mapping[str, str], failures: McpFailures) -> None:
        self._url = url
        self._transport = GuardedTransport(url, headers, failures)

    @asynccontextmanager
    async def open(self, on_end: Callable[[], None]) -> AsyncGenerator[Any]:
        """Provide the SDK's streams, and close the connections at the end; ``on_end`` is never called."""
        # Without a time limit and a size limit of the SDK: the calls and the transport have them.
        client = httpx2.AsyncClient(transport=self._transport, timeout=None)
        connect = streamable_http_client(self._url.shown, http_client=client, max_sse_event_size=None)
        async with client, connect as streams:
            yield streams


class GuardedTransport(httpx2.AsyncBaseTransport):
    """An HTTP transport whose failures end one request, and not the session.

    In the SDK an exception of the transport ends the session, and the reason of an error response is lost.
    So this transport turns both into the JSON-RPC error of their request. It also adds the headers and the
    query, which are secret: added here, they are in neither an exception nor a log.

    Args:
        url: The URL of the server.
        headers: Sent with every request.
        failures: Has the secrets that no quote may show, and the time limit of one call, which is also how
            long a server may stay silent on a request that was abandoned.
    """

    def __init__(self, url: ServerUrl, headers: Mapping[str, str], failures: McpFailures) -> None:
        self._url = url
        self._secrets = failures.secrets
        # Uncompressed, so that the limit on the bytes read is the limit on the memory used.
        self._headers = {"accept-encoding": "identity", **headers}
        self._timeout = httpx2.Timeout(failures.timeout_s).as_dict()
        self._inner = httpx2.AsyncHTTPTransport(limits=_LIMITS, proxy=url.proxy)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return a response that the SDK can process."""
        signed = self._signed(request)
        if request.method == "POST":
            return await self._post(signed)
        # DELETE ends the session. It is optional, and must not delay the closing of the Neuron.
        async with asyncio.timeout(limits.SESSION_DELETE_S if request.method == "DELETE" else None):
            response = await self._inner.handle_async_request(signed)
        return self._checked(response) if _is_stream(response) else response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _post(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["timeout"] = self._timeout
        try:
            response = await self._inner.handle_async_request(request)
            if response.is_error:
                return await _refusal(request, response, self._secrets)
            if _is_stream(response):
                return self._checked(response)
            if response.status_code == httpx2.codes.ACCEPTED or not response.is_success:
                return response
            return await _answer(response, self._secrets)
        except httpx2.RequestError as error:
            return _error_response(codes.UNREACHABLE, self._secrets.quote(str(error)) or type(error).__name__)

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        events = CheckedEvents(response, self._secrets)
        return httpx2.Response(response.status_code, headers=_kept_headers(response), stream=events)

    def _signed(self, request: httpx2.Request) -> httpx2.Request:
        headers = httpx2.Headers(request.headers)
        headers.update(self._headers)
        return httpx2.Request(
            request.method,
            self._url.with_query(request.url),
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
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
    return httpx2.Response(response.status_code, headers=headers, content=body)


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
        self._held = bytearray()

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """The bytes of complete events."""
        async for chunk in self._response.aiter_bytes():
            searched = max(0, len(self._held) - 3)  # two chunks may share the end of an event
            self._held += chunk
            while end := _EVENT_END.search(self._held, searched):
                event = bytes(self._held[: end.end()])
                del self._held[: end.end()]
                searched = 0
                yield self._checked(event)
            if len(self._held) > MAX_MESSAGE_BYTES:
                yield _error_event(codes.TOO_LARGE)
                return

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()

    def _checked(self, event: bytes) -> bytes:
        data = b"\n".join(_EVENT_DATA.findall(event))
        # An event without data is a comment, or sets the id to resume from.
        if not data or parse_message(data) is not None:
            return event
        return _error_event(codes.MALFORMED, self._secrets.quote(data.decode(errors="replace")))
