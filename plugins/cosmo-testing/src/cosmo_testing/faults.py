"""What can be made to go wrong between the chat server and its client, one request at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import attrs

from cosmo_testing._messages import Refusal, Response

if TYPE_CHECKING:
    import asyncio


@attrs.frozen
class Fault:
    """How one request is to fail; made by the class methods.

    ``after`` counts the pieces of the answer that are still sent: the events of a stream, the halves of any
    other body. ``None`` is before the head of the response, 0 right after it. ``refusal`` is what a refusing
    response says, for an API with a shape of its own.
    """

    response: Response | None = None
    act: Literal["cut", "wait"] | None = None
    after: int | None = None
    until: asyncio.Event | None = None
    refusal: Refusal | None = None

    @classmethod
    def none(cls) -> Self:
        """Answer as usual; for a request between two faults."""
        return cls()

    @classmethod
    def status(cls, status: int, *, retry_after: float | str | None = None, message: str = "") -> Self:
        """Refuse with an HTTP status, in the shape of the API that was asked.

        Args:
            status: The HTTP status.
            retry_after: The ``Retry-After`` header: seconds or an HTTP date.
            message: The provider's words.
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
        """Answer 200 with this body, whatever was asked."""
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
