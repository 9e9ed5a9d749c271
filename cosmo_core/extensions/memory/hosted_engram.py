"""One Engram in its host: the RECALLs and IMPRINTs that it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from cosmo_core.contracts.engram import Found, Query, Write
from cosmo_core.errors import EngramError, EngramTimeout, FrameTooLargeError, SynapseError
from cosmo_core.protocol.signal import Signal, mint
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Engram
    from cosmo_core.dendrite.dispatch.deadlines import Deadlines
    from cosmo_core.dendrite.hosting.stopped_traces import StoppedTraces
    from cosmo_core.dendrite.transport.link import Link

Work = Callable[[Signal], Awaitable[dict[str, Any]]]

logger = logging.getLogger("cosmo_core.dendrite")


class HostedEngram:
    """Answers for one Engram. Its handlers are awaited by the Synapse, whose in-flight limit bounds them.

    Args:
        engram: The Engram.
        link: The way to the bus.
        stopped: The traces that were stopped lately.
        deadlines: Those of its Dendrite.
    """

    def __init__(self, engram: Engram, link: Link, stopped: StoppedTraces, deadlines: Deadlines) -> None:
        self.engram = engram
        self._link = link
        self._stopped = stopped
        self._deadlines = deadlines
        self._about = f"Engram {engram.engram_id!r}"
        # What is being answered; of IMPRINTs, with the trace.
        self._at_work: dict[object, str | None] = {}
        self._change: asyncio.Future[None] | None = None

    @property
    def load(self) -> int:
        """How many requests are being answered."""
        return len(self._at_work)

    def recall(self, request: Signal) -> Coroutine[Any, Any, None]:
        """Answer a RECALL with RECALLED (P-14.4)."""
        return self._answer(request, self._recalled)

    def imprint(self, request: Signal) -> Coroutine[Any, Any, None]:
        """Answer an IMPRINT with IMPRINTED (P-14.5)."""
        return self._answer(request, self._imprinted)

    def recall_addressed(self, request: Signal) -> Coroutine[Any, Any, None] | None:
        """Answer a RECALL on everybody's subject if it is meant for this Engram (P-14.3)."""
        directed, engram = request.directed, self.engram
        if directed is None:
            return None
        # The id, if there is one, says who is meant.
        meant = directed.id == engram.engram_id if directed.id else directed.type == engram.engram_kind
        return self.recall(request) if meant else None

    def imprint_addressed(self, request: Signal) -> Coroutine[Any, Any, None] | None:
        """Answer an IMPRINT on everybody's subject if it is meant for this Engram (P-14.3)."""
        meant = request.directed is not None and request.directed.id == self.engram.engram_id
        return self.imprint(request) if meant else None

    async def settle(self, trace_id: str | None = None) -> None:
        """Return when nothing is being answered, or when nothing is being written for a trace."""
        while self._is_busy(trace_id):
            if self._change is None:
                self._change = asyncio.get_running_loop().create_future()
            # Shielded: several may wait for the same change.
            await asyncio.shield(self._change)

    def _is_busy(self, trace_id: str | None) -> bool:
        return bool(self._at_work) if trace_id is None else trace_id in self._at_work.values()

    # --- answering ----------------------------------------------------------------------------------

    async def _answer(self, request: Signal, work: Work) -> None:
        # Not under its id: a bus may bring a request twice.
        key = object()
        self._at_work[key] = request.trace_id if request.type is SignalType.IMPRINT else None
        try:
            await self._send(request, await self._outcome(request, work))
        finally:
            del self._at_work[key]
            change, self._change = self._change, None
            if change is not None:
                change.set_result(None)

    async def _outcome(self, request: Signal, work: Work) -> dict[str, Any]:
        try:
            return await self._in_time(request, work)
        except EngramError as error:
            return _failure(request, error)
        except Exception as error:
            logger.exception("%s failed on %s", self._about, request.id)
            told = f"{self._about} failed with {error.__class__.__name__}; see its host's log"
            return _failure(request, EngramError(told))

    async def _in_time(self, request: Signal, work: Work) -> dict[str, Any]:
        left_ms = request.payload.get("deadline_ms")
        if left_ms == 0:
            raise EngramTimeout(f"{self._about} was asked too late; allow more time")
        deadline = self._deadlines.within(None if left_ms is None else left_ms / 1000)
        try:
            with deadline:
                return await work(request)
        except TimeoutError:
            if not deadline.expired:
                raise
            message = f"{self._about} did not answer within {left_ms} ms; allow more time"
            raise EngramTimeout(message) from None

    async def _recalled(self, request: Signal) -> dict[str, Any]:
        query = Query.parse(request.payload["query"])
        guarantees = self.engram.guarantees
        if query.words is not None and not guarantees.text:
            raise self._unsupported("find entries by their text")
        if query.vector is not None and not guarantees.vectors:
            raise self._unsupported("find entries by a vector")
        findings = await self.engram.recall(query)
        return {"hits": self._hits(findings.found), "truncated": findings.truncated}

    def _unsupported(self, what: str) -> EngramError:
        return EngramError(f"{self._about} cannot {what}; ask another one", code="ENGRAM_UNSUPPORTED")

    def _hits(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        # What nobody here looks at goes from the store into the frame as it is.
        read = msgspec.json.decode if self._link.is_watched else msgspec.Raw
        return [{"id": each.id, "entry": read(each.document), "score": each.score} for each in found]

    async def _imprinted(self, request: Signal) -> dict[str, Any]:
        if self._stopped and self._stopped.covers_cause(request):
            told = f"trace {request.trace_id} was stopped: {self._about} writes nothing for it"
            raise EngramError(told, code="ENGRAM_STOPPED")
        payload = request.payload
        own_id = payload.get("imprint_id")
        write = Write.parse(
            payload["op"],
            payload["entry"],
            imprint_id=request.id if own_id is None else own_id,
            merge_key=payload.get("merge_key"),
            trace_id=request.trace_id,
        )
        receipt = await self.engram.imprint(write)
        return {"op": receipt.op, "id": receipt.id, "version": receipt.version}

    # --- out ----------------------------------------------------------------------------------------

    async def refuse(self, request: Signal, reason: str) -> None:
        """Answer what a middleware dropped on its way in."""
        rejected = EngramError(f"{self._about} was not asked: {reason}", code="ENGRAM_REJECTED")
        await self._send(request, _failure(request, rejected))

    async def _send(self, request: Signal, payload: dict[str, Any]) -> None:
        type = SignalType.RECALLED if request.type is SignalType.RECALL else SignalType.IMPRINTED
        subject = self._link.subjects.reply(type, request.meta.get("reply_to"))
        payload["engram_id"] = self.engram.engram_id
        answer = mint(type, payload, request.trace_id, request.id, request.directed)
        reason: str | None = None
        try:
            dropped = await self._link.send(subject, answer)
            if dropped is not None:
                reason = f"a middleware dropped the answer: {dropped.reason}"
        except FrameTooLargeError as error:
            await self._send(request, self._smaller(request, payload, error))
        except SynapseError as error:
            logger.warning("%s was not answered with %s: %s", request.id, type.value, error)
        except Exception:
            logger.exception("an outbound middleware failed on the %s to %s", type.value, request.id)
            reason = "a middleware of its host failed on the answer"
        if reason is not None and "error" not in payload:
            told = EngramError(f"{self._about} answered, but {reason}", code="ENGRAM_REJECTED")
            await self._send(request, _failure(request, told))

    def _smaller(self, request: Signal, payload: dict[str, Any], error: FrameTooLargeError) -> dict[str, Any]:
        hits = payload.get("hits") or []
        if len(hits) > 1:
            # Fewer, the best of them: the asker is told that there are more.
            return {"hits": hits[: len(hits) // 2], "truncated": True}
        return _failure(request, EngramError(f"what {self._about} found does not fit: {error}"))


def _failure(request: Signal, error: EngramError) -> dict[str, Any]:
    told = {"code": error.code, "message": str(error), "recoverable": error.recoverable}
    if request.type is SignalType.RECALL:
        return {"hits": [], "truncated": False, "error": told}
    return {"op": request.payload["op"], "error": told}
