"""Questions to Engrams, and the answers that come back for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.dendrite.dispatch.work import in_ms
from cosmo_core.errors import EngramError, EngramTimeout, NoRouteError, RejectedError
from cosmo_core.protocol.signal import Signal, address, mint

if TYPE_CHECKING:
    from cosmo_core.contracts.synapse import Undelivered
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.discovery.resolver import Finder
    from cosmo_core.dendrite.dispatch.deadlines import Deadlines
    from cosmo_core.dendrite.transport.link import Link
    from cosmo_core.protocol.signal_type import SignalType

_FATES: Final[dict[Undelivered, tuple[str, str, bool]]] = {
    "overloaded": (
        "ENGRAM_OVERLOADED",
        "no host of Engram {!r} has room for more; try again later, or host it more often",
        True,
    ),
    "lost": (
        "ENGRAM_UNAVAILABLE",
        "the host of Engram {!r} was lost before it answered, and there is no other",
        True,
    ),
    "failed": (
        "ENGRAM_UNAVAILABLE",
        "no host of Engram {!r} was ever done with the request; the Synapse has it among its dead letters",
        False,
    ),
}


class _NobodyError(Exception):
    """No host listens for the Engram."""


class Requests:
    """Asks Engrams for one Dendrite.

    Args:
        link: The way to the bus.
        view: Where an Engram is forgotten that nobody hosts.
        finder: Finds it, should it be announced again.
        deadlines: Those of the Dendrite.
        inbox: Where answers come to.
    """

    def __init__(self, link: Link, view: View, finder: Finder, deadlines: Deadlines, *, inbox: str) -> None:
        self._link = link
        self._view = view
        self._finder = finder
        self._deadlines = deadlines
        self._meta = {"reply_to": inbox}
        self._waiting: dict[str, asyncio.Future[Signal]] = {}
        self._closed = False

    async def ask(
        self,
        type: SignalType,
        engram_id: str,
        payload: dict[str, Any],
        timeout_s: float,
        trace_id: str | None,
        parent_id: str | None,
    ) -> Signal:
        """Send a RECALL or IMPRINT to an Engram, and return what answers it.

        Raises:
            EngramTimeout: No answer in time.
            EngramError: No Engram of this id, or it could not do it.
            RejectedError: A middleware of this Dendrite dropped the request.
            UnencodableError: JSON cannot carry it.
            SynapseError: The Synapse could not take it.
        """
        if self._closed:
            raise _stopped()
        deadline = self._deadlines.within(timeout_s)
        try:
            with deadline:
                request = mint(
                    type,
                    {**payload, "deadline_ms": in_ms(timeout_s)},
                    trace_id,
                    parent_id,
                    address(engram_id),
                    dict(self._meta),
                )
                try:
                    answer = await self._exchange(engram_id, request)
                except _NobodyError:
                    # Its host may be about to start.
                    await self._find(engram_id)
                    answer = await self._exchange(engram_id, request)
        except _NobodyError:
            raise self._no_route(f"no host of Engram {engram_id!r} listens") from None
        except TimeoutError:
            if not deadline.expired:
                raise
            raise EngramTimeout(f"no answer from Engram {engram_id!r} within {timeout_s:g} s") from None
        error = answer.payload.get("error")
        if error is not None:
            raise _told(engram_id, error)
        return answer

    async def _exchange(self, engram_id: str, request: Signal) -> Signal:
        answer: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            subject = self._link.subjects.engram(request.type, engram_id)
            dropped = await self._link.send_shared(subject, request)
            if dropped is not None:
                raise RejectedError(
                    f"a middleware dropped {request.type.value} {request.id}: {dropped.reason}"
                )
            return await answer
        finally:
            del self._waiting[request.id]

    async def _find(self, engram_id: str) -> None:
        try:
            await self._finder.route(engram_id, ())
        except NoRouteError as error:
            raise self._no_route(str(error)) from None

    def _no_route(self, reason: str) -> EngramError:
        return EngramError(reason, code="ENGRAM_NO_ROUTE", recoverable=True)

    # --- in -----------------------------------------------------------------------------------------

    def take(self, answer: Signal) -> None:
        """Take a RECALLED or IMPRINTED from the inbox."""
        waiting = self._waiting.get(answer.parent_id or "")
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def refuse(self, answer: Signal, reason: str) -> None:
        """Tell who waits for an answer that a middleware dropped it on its way in."""
        waiting = self._waiting.get(answer.parent_id or "")
        if waiting is not None and not waiting.done():
            told = f"the answer {answer.type.value} came, but {reason}"
            waiting.set_exception(EngramError(told, code="ENGRAM_REJECTED"))

    def take_back(self, request: Signal, why: Undelivered) -> None:
        """Take back what the Synapse could not deliver."""
        waiting = self._waiting.get(request.id)
        if waiting is None or waiting.done():
            return
        engram_id = "" if request.directed is None else request.directed.id or ""
        if why == "nobody":
            self._view.forget(engram_id)
            waiting.set_exception(_NobodyError())
            return
        code, message, recoverable = _FATES[why]
        waiting.set_exception(EngramError(message.format(engram_id), code=code, recoverable=recoverable))

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_stopped())


def _stopped() -> EngramError:
    message = "the Dendrite stopped before the Engram answered"
    return EngramError(message, code="ENGRAM_STOPPED", recoverable=True)


def _told(engram_id: str, error: object) -> EngramError:
    """Return the error that an Engram answered with; other implementations may send a mere text."""
    if not isinstance(error, Mapping):
        return EngramError(f"Engram {engram_id!r}: {error}")
    code, message = str(error.get("code", "ENGRAM_ERROR")), str(error.get("message", error))
    if code == "ENGRAM_TIMEOUT":
        return EngramTimeout(message)
    return EngramError(message, code=code, recoverable=error.get("recoverable") is True)
