"""Carries the SDK's HTTP requests, with the secrets put in and the failures taken out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx2
from mcp.types.jsonrpc import JSONRPCError, jsonrpc_message_adapter

from cosmo_llm import retry_after_s
from cosmo_source_mcp import limits, wire_errors
from cosmo_source_mcp.http_events import CheckedEvents, error_body, is_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_mcp.redaction import Secrets
    from cosmo_source_mcp.server_url import ServerUrl

_LIMITS: Final = httpx2.Limits(
    max_connections=limits.MAX_CONNECTIONS,
    max_keepalive_connections=limits.MAX_IDLE_CONNECTIONS,
    keepalive_expiry=limits.IDLE_CONNECTION_S,
)
_SESSION_ID: Final = "mcp-session-id"
_KEPT: Final = (_SESSION_ID, "content-type", "set-cookie")
"""The headers of an answer that still hold for its body, which is no longer encoded."""
_MEANT_FOR_THE_SDK: Final = (httpx2.codes.BAD_REQUEST, httpx2.codes.NOT_FOUND)
"""With these, an error in the body may be part of how client and server agree on a version."""


class Carrier(httpx2.AsyncBaseTransport):
    """An HTTP transport whose failures cost one request, and not the session.

    To the SDK an exception here is the end of everything, and of a refusal it tells no more than that it was
    one. So both become the JSON-RPC error of the request that they hit. Headers and query are added only
    here, where neither exceptions nor logs show them.

    Args:
        url: Where the server is.
        headers: What to send with every request.
        secrets: What to leave out of all that is quoted.
        timeout_s: How long a server may keep silent on a request that nobody waits for any more.
    """

    def __init__(
        self, url: ServerUrl, headers: Mapping[str, str], secrets: Secrets, timeout_s: float
    ) -> None:
        self._url = url
        self._secrets = secrets
        # Uncompressed, so that the bound on the bytes read is the bound on the memory used.
        self._headers = {"accept-encoding": "identity", **headers}
        self._timeout = httpx2.Timeout(timeout_s).as_dict()
        self._inner = httpx2.AsyncHTTPTransport(limits=_LIMITS, proxy=url.proxy)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return what the SDK can read without harm."""
        signed = self._signed(request)
        if request.method == "POST":
            return await self._post(signed)
        # The end of the session is a courtesy, and must not hold up the Neuron's.
        async with asyncio.timeout(limits.GOODBYE_S if request.method == "DELETE" else None):
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
            return _failure(wire_errors.UNREACHABLE, self._secrets.quote(str(error)) or type(error).__name__)

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        events = CheckedEvents(response, self._secrets)
        return httpx2.Response(response.status_code, headers=_kept(response), stream=events)

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
    body, _ = await _read_up_to(limits.MAX_REFUSAL_BYTES, response)
    error = _error_in(body)
    if _SESSION_ID in request.headers and _is_lost_session(status, body):
        return _failure(wire_errors.SESSION_LOST)
    if error is not None and status in _MEANT_FOR_THE_SDK:
        return httpx2.Response(status, json=error.model_dump(mode="json", exclude_unset=True))
    words = secrets.quote(body.decode(errors="replace") if error is None else error.error.message)
    wait_s = retry_after_s(response.headers.get("retry-after"))
    if wait_s is not None:
        words = f"it asks to wait {wait_s:g} s: {words}"
    return _failure(wire_errors.of_status(status), words)


async def _answer(response: httpx2.Response, secrets: Secrets) -> httpx2.Response:
    body, complete = await _read_up_to(limits.MAX_MESSAGE_BYTES, response)
    if not complete:
        return _failure(wire_errors.TOO_LARGE)
    if not is_message(body):
        return _failure(wire_errors.MALFORMED, secrets.quote(body.decode(errors="replace")))
    kept = [(name, value) for name, value in _kept(response) if name != "content-type"]
    headers = [*kept, ("content-type", "application/json")]  # whatever the server calls it
    return httpx2.Response(response.status_code, headers=headers, content=body)


def _kept(response: httpx2.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.multi_items() if name in _KEPT]


def _failure(code: int, words: str = "") -> httpx2.Response:
    """A response that the SDK reads as the error of the one request it belongs to."""
    return httpx2.Response(httpx2.codes.BAD_GATEWAY, json=error_body(code, words))


def _is_lost_session(status: int, body: bytes) -> bool:
    if status == httpx2.codes.BAD_REQUEST:
        # Against the protocol, but what servers do that were made after the examples of the SDKs.
        return b"session" in body.lower()
    return status == httpx2.codes.NOT_FOUND


def _error_in(body: bytes) -> JSONRPCError | None:
    try:
        message = jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValueError:
        return None
    return message if isinstance(message, JSONRPCError) else None


def _is_stream(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


async def _read_up_to(limit: int, response: httpx2.Response) -> tuple[bytes, bool]:
    """At most the first ``limit`` bytes of the body, and whether that is all of it; closes the response."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                return bytes(body[:limit]), False
    finally:
        await response.aclose()
    return bytes(body), True
