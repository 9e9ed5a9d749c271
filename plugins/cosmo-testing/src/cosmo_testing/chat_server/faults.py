"""Faults that a test scripts for a server, one per request."""

from __future__ import annotations

import asyncio
from typing import Literal, Self

import attrs

from cosmo_testing.chat_server.messages import Refusal, Response


@attrs.frozen
class Fault:
    """A fault of one request. The class methods make it.

    ``after`` is the number of pieces that are sent before the fault: events of a stream, or halves of another
    body. ``None`` is before the head of the response, 0 directly after it.
    """

    response: Response | None = None
    act: Literal["cut", "wait"] | None = None
    after: int | None = None
    until: asyncio.Event | None = None
    refusal: Refusal | None = None

    @classmethod
    def none(cls) -> Self:
        """Answer normally; for a request between two faults."""
        return cls()

    @classmethod
    def status(cls, status: int, *, retry_after: float | str | None = None, message: str = "") -> Self:
        """Refuse with an HTTP status, in the error format of the requested API.

        Args:
            status: The HTTP status.
            retry_after: The ``Retry-After`` header: seconds or an HTTP date.
            message: The error text.
        """
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        refusal = Refusal(status, message or f"a scripted {status}", headers)
        return cls(refusal.response, refusal=refusal)

    @classmethod
    def redirect(cls, location: str) -> Self:
        """Answer 307 with this ``Location``."""
        return cls(Response(307, (), headers={"location": location}))

    @classmethod
    def malformed(cls, body: bytes = b"{not json", *, content_type: str = "application/json") -> Self:
        """Answer 200 with this body."""
        return cls(Response(200, (body,), content_type=content_type))

    @classmethod
    def stall(cls, after: int | None = None) -> Self:
        """Send ``after`` pieces, then nothing, and keep the connection open."""
        return cls(act="wait", after=after)

    @classmethod
    def hold(cls, until: asyncio.Event, after: int | None = None) -> Self:
        """Send ``after`` pieces, then nothing until the event is set, then the rest."""
        return cls(act="wait", after=after, until=until)

    @classmethod
    def cut(cls, after: int | None = None) -> Self:
        """Send ``after`` pieces, then close the connection."""
        return cls(act="cut", after=after)
