"""What the chat server receives and sends, apart from how it travels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@attrs.frozen
class ReceivedRequest:
    """One HTTP request as the server saw it.

    Attributes:
        method: The HTTP method, in upper case.
        path: The request target without its query.
        headers: By lower-case name; left out of the repr, for they may hold a key.
        body: The body as it came.
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
    """An answer, cut into the pieces in which it is sent.

    Attributes:
        status: The HTTP status.
        pieces: The body. Each is written by itself, and a `Fault` counts them.
        content_type: The value of the header.
        headers: Further headers.
        chunked: Whether the length is left open, as it is for a stream.
    """

    status: int
    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    chunked: bool = False


def json_response(status: int, value: object, *, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON body in two halves, so that it can be cut in the middle."""
    body = json.dumps(value).encode()
    middle = len(body) // 2
    return Response(status, (body[:middle], body[middle:]), headers=headers or {})


def event_response(events: Iterable[object | str], *, space: str = " ") -> Response:
    """A stream of server-sent events: one piece each, strings as they are, anything else as JSON."""
    texts = (event if isinstance(event, str) else json.dumps(event) for event in events)
    pieces = tuple(f"data:{space}{text}\n\n".encode() for text in texts)
    return Response(200, pieces, content_type="text/event-stream", chunked=True)


def line_response(lines: Iterable[object]) -> Response:
    """A stream of JSON objects, one to a line and to a piece."""
    pieces = tuple(json.dumps(line).encode() + b"\n" for line in lines)
    return Response(200, pieces, content_type="application/x-ndjson", chunked=True)


@attrs.frozen
class Refusal:
    """Why a request is not answered.

    Attributes:
        status: The HTTP status.
        message: The provider's words.
        headers: Further headers.
    """

    status: int
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def response(self) -> Response:
        """The refusal in the shape in which OpenAI's API words it, and most others do."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": None, "code": None}
        return json_response(self.status, {"error": error}, headers=self.headers)


class RefusedError(Exception):
    """Raised while a request is read or routed; the client gets the refusal."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(status, message, headers or {})

    @property
    def response(self) -> Response:
        """What the client gets, unless the API that it asked has a shape of its own."""
        return self.refusal.response
