"""Hosting Engrams: opening them, answering RECALL and IMPRINT for them, and closing them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.engram import Engram, Found, Query, Write
from cosmo_core.dendrite.dispatch.pathway_registry import Refuse
from cosmo_core.dendrite.extension import HostedEntity, Ports
from cosmo_core.dendrite.transport.link import Receiver
from cosmo_core.errors import EngramError, EngramTimeout, FrameTooLargeError, SynapseError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import Directed, Signal, new_unvalidated
from cosmo_core.protocol.signal_type import SignalType

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds that an Engram may take to close, or to finish its requests before that."""

Work = Callable[[Signal], Awaitable[dict[str, Any]]]

# Not a token, so no Engram has this id.
_EVERYONE: Final = "*"

logger = logging.getLogger("cosmo_core.dendrite")


class EngramHost:
    """Hosts the Engrams attached to one Dendrite: opens them, serves their requests, and closes them."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._servers: dict[str, EngramServer] = {}
        self._intake: dict[str, list[Subscription]] = {}
        # Engrams come at the same time.
        self._turn = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._servers)

    def attached(self) -> list[Engram]:
        """Return the Engrams attached here."""
        return [server.engram for server in self._servers.values()]

    def entities(self) -> list[HostedEntity]:
        """Return the attached Engrams, as they are announced."""
        return [self.entity(server.engram) for server in self._servers.values()]

    def entity(self, engram: Engram) -> HostedEntity:
        """Return an Engram, as it is announced."""
        kind = engram.engram_kind
        directed = Directed(id=engram.engram_id, type=kind, capabilities=(kind,))
        return HostedEntity(engram.engram_id, directed, {"role": "engram", "capabilities": [kind]}, {}, self)

    def served(self, engram_id: str) -> Engram:
        """Return an attached Engram.

        Raises:
            KeyError: No Engram of this id is attached.
        """
        return self._servers[engram_id].engram

    def serves(self, engram_id: str) -> bool:
        """Tell whether an Engram attached here is served."""
        return engram_id in self._intake

    def load(self, engram_id: str) -> int:
        """Return how many requests an Engram is answering."""
        server = self._servers.get(engram_id)
        return 0 if server is None else server.load

    # --- coming and going ---------------------------------------------------------------------------

    def attach(self, engram: Engram) -> None:
        """Have ``engram`` ready to be served.

        Raises:
            TypeError: It is no Engram.
            MalformedSignalError: Its id or its kind is no token.
            ValueError: One of this id is attached already.
        """
        if not isinstance(engram, Engram):
            raise TypeError(f"an Engram has all that cosmo_core.Engram has; {engram!r} has not")
        check_token("engram_id", engram.engram_id)
        check_token("engram_kind", engram.engram_kind)
        if engram.engram_id in self._servers:
            raise ValueError(f"an Engram {engram.engram_id!r} is attached to this Dendrite already")
        self._servers[engram.engram_id] = EngramServer(engram, self._ports)

    async def start(self) -> None:
        """Open every Engram attached so far, and listen for what it is asked."""
        for engram_id in list(self._servers):
            await self.serve(engram_id)

    async def serve(self, engram_id: str) -> None:
        """Open an Engram that is attached, and listen for what it is asked.

        Raises:
            EngramError: It does not open.
            SynapseError: The Synapse would not listen.
        """
        server = self._servers[engram_id]
        try:
            await server.engram.connect()
            async with self._turn:
                if _EVERYONE not in self._intake:
                    self._intake[_EVERYONE] = await self._listen_for_finals()
                self._intake[engram_id] = await self._listen_for(server)
        except BaseException:
            # What was opened must not outlive the failure.
            self._servers.pop(engram_id, None)
            await _close(server)
            raise

    async def _listen_for(self, server: EngramServer) -> list[Subscription]:
        engram_id, subjects = server.engram.engram_id, self._ports.subjects
        ways: list[tuple[str, Receiver, Refuse | None]] = [
            (subjects.engram(SignalType.RECALL, engram_id), server.recall, server.refuse),
            (subjects.engram(SignalType.IMPRINT, engram_id), server.imprint, server.refuse),
            # As other implementations of the protocol address an Engram.
            (subjects.broadcast(SignalType.RECALL), server.recall_addressed, None),
            (subjects.broadcast(SignalType.IMPRINT), server.imprint_addressed, None),
        ]
        async with contextlib.AsyncExitStack() as undo:
            subscriptions = []
            for pattern, receive, refuse in ways:
                subscription = await self._ports.listen(
                    pattern, receive, queue_group=engram_id, refuse=refuse
                )
                undo.push_async_callback(self._ports.unsubscribe, subscription)
                subscriptions.append(subscription)
            undo.pop_all()
            return subscriptions

    async def _listen_for_finals(self) -> list[Subscription]:
        subjects = self._ports.subjects
        # Those for everybody, and those for the inbox of whoever asked.
        patterns = (subjects.broadcast(SignalType.FINAL), subjects.addressed_pattern(SignalType.FINAL))
        return [await self._ports.listen(pattern, self._commit) for pattern in patterns]

    async def detach(self, engram_id: str) -> None:
        """Take no more for an Engram, let it finish what it has, and close it.

        Raises:
            KeyError: No Engram of this id is served.
        """
        subscriptions = self._intake.pop(engram_id)
        server = self._servers[engram_id]
        try:
            await self._end(server, subscriptions)
        finally:
            del self._servers[engram_id]

    async def close(self) -> None:
        """Take no more, let every Engram finish what it has, and close it; they stay attached."""
        for engram_id, subscriptions in list(self._intake.items()):
            if engram_id == _EVERYONE:
                for subscription in subscriptions:
                    await self._ports.unsubscribe(subscription)
            else:
                await self._end(self._servers[engram_id], subscriptions)

    async def _end(self, server: EngramServer, intake: list[Subscription]) -> None:
        try:
            for subscription in intake:
                await self._ports.unsubscribe(subscription)
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await server.wait_idle()
        except TimeoutError:
            logger.warning("%r closes with %d requests unanswered", server.engram, server.load)
        finally:
            await _close(server)

    # --- traces end ---------------------------------------------------------------------------------

    def _commit(self, final: Signal) -> Awaitable[None] | None:
        return self._commit_all(final.trace_id)

    async def _commit_all(self, trace_id: str) -> None:
        for server in self._with_rollback():
            try:
                await server.engram.commit(trace_id)
            except EngramError as error:
                logger.warning("what %s wrote can still be undone: %s", trace_id, error)

    async def roll_back(self, trace_id: str) -> dict[str, Any]:
        """Undo what a trace wrote, in every Engram here; return what STOPPED says of it (P-14.10)."""
        undone, failed = 0, {}
        for server in self._with_rollback():
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await server.wait_idle(trace_id)
                    undone += await server.engram.roll_back(trace_id)
            except EngramError as error:
                failed[server.engram.engram_id] = str(error)
            except TimeoutError:
                failed[server.engram.engram_id] = f"not undone within {CLOSE_TIMEOUT_S} s"
            except Exception as error:
                logger.exception("Engram %r did not undo %s", server.engram.engram_id, trace_id)
                failed[server.engram.engram_id] = error.__class__.__name__
        return {"rolled_back": undone, "failed": failed} if failed else {"rolled_back": undone}

    def _with_rollback(self) -> list[EngramServer]:
        return [
            server
            for engram_id, server in self._servers.items()
            if engram_id in self._intake and server.engram.guarantees.rollback
        ]


async def _close(server: EngramServer) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await server.engram.close()
    except Exception:
        logger.exception("Engram %r did not close cleanly", server.engram.engram_id)


# --- one Engram -------------------------------------------------------------------------------------


class EngramServer:
    """Answers the requests to one Engram. The Synapse's in-flight limit bounds how many run at once."""

    def __init__(self, engram: Engram, ports: Ports) -> None:
        self.engram = engram
        self._ports = ports
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
        """Answer a RECALL on the broadcast subject if it is meant for this Engram (P-14.3)."""
        directed, engram = request.directed, self.engram
        if directed is None:
            return None
        # The id, if there is one, says who is meant.
        meant = directed.id == engram.engram_id if directed.id else directed.type == engram.engram_kind
        return self.recall(request) if meant else None

    def imprint_addressed(self, request: Signal) -> Coroutine[Any, Any, None] | None:
        """Answer an IMPRINT on the broadcast subject if it is meant for this Engram (P-14.3)."""
        meant = request.directed is not None and request.directed.id == self.engram.engram_id
        return self.imprint(request) if meant else None

    async def wait_idle(self, trace_id: str | None = None) -> None:
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
        deadline = self._ports.pathways.time_limit(None if left_ms is None else left_ms / 1000)
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
        read = msgspec.json.decode if self._ports.is_observed() else msgspec.Raw
        return [{"id": each.id, "entry": read(each.document), "score": each.score} for each in found]

    async def _imprinted(self, request: Signal) -> dict[str, Any]:
        if self._ports.was_stopped(request):
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
        subject = self._ports.subjects.reply(type, request.meta.get("reply_to"))
        payload["engram_id"] = self.engram.engram_id
        answer = new_unvalidated(type, payload, request.trace_id, request.id, request.directed)
        reason: str | None = None
        try:
            dropped = await self._ports.send(subject, answer)
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
