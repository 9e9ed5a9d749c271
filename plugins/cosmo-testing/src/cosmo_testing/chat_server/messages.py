"""The requests and responses of the server, independent of the transport."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs


@attrs.frozen
class ReceivedRequest:
    """A received HTTP request.

    Attributes:
        method: The HTTP method, in upper case.
        path: The request target without its query.
        headers: The headers by lower-case name; not in the repr, as they may contain a key.
        body: The raw body.
    """

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)


@attrs.frozen
class Response:
    """A response, as the pieces in which it is sent.

    Attributes:
        status: The HTTP status.
        pieces: The body. Each piece is written separately, and a `Fault` counts pieces.
        content_type: The value of the Content-Type header.
        headers: Further headers.
        chunked: Whether the body is sent chunked, without a length, as a stream is.
    """

    status: int
    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    chunked: bool = False


def json_response(status: int, value: object, *, headers: Mapping[str, str] | None = None) -> Response:
    """Make a JSON response in two pieces, so that a fault can cut it in the middle."""
    body = json.dumps(value).encode()
    middle = len(body) // 2
    return Response(status, (body[:middle], body[middle:]), headers=headers or {})


def event_response(events: Iterable[object | str], *, space: str = " ") -> Response:
    """Make a stream of server-sent events, one per piece: strings as they are, other values as JSON."""
    texts = (event if isinstance(event, str) else json.dumps(event) for event in events)
    pieces = tuple(f"data:{space}{text}\n\n".encode() for text in texts)
    return Response(200, pieces, content_type="text/event-stream", chunked=True)


def line_response(lines: Iterable[object]) -> Response:
    """Make a stream of JSON objects, one per line and piece."""
    pieces = tuple(json.dumps(line).encode() + b"\n" for line in lines)
    return Response(200, pieces, content_type="application/x-ndjson", chunked=True)


@attrs.frozen
class Refusal:
    """An error response, independent of the API's format.

    Attributes:
        status: The HTTP status.
        message: The error text.
        headers: Further headers.
    """

    status: int
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def response(self) -> Response:
        """The refusal in the error format of OpenAI's API, which most others share."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": None, "code": None}
        return json_response(self.status, {"error": error}, headers=self.headers)


class RefusedError(Exception):
    """Refuses the request that is being read or answered."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(status, message, headers or {})

    @property
    def response(self) -> Response:
        """The error response in OpenAI's format."""
        return self.refusal.response
