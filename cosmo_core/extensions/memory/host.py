"""The host of a Dendrite's Engrams: opens them, answers their RECALLs and IMPRINTs, and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.boundary import logged_failures, logger, must_pass
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
"""Seconds that an Engram may take to finish its requests, and to close."""

# Not a token, so no Engram has this id.
_BROADCAST: Final = "*"


class EngramHost:
    """Hosts the Engrams attached to one Dendrite: opens them, serves their requests, and closes them."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._servers: dict[str, EngramServer] = {}
        self._subscriptions: dict[str, list[Subscription]] = {}
        # The ids of the Engrams that are served and not being detached.
        self._accepting: set[str] = set()
        # Engrams may be attached concurrently.
        self._lock = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._servers)

    def attached(self) -> list[Engram]:
        """Return the attached Engrams."""
        return [server.engram for server in self._servers.values()]

    def entities(self) -> list[HostedEntity]:
        """Return the announcements of the attached Engrams."""
        return [self.entity(server.engram) for server in self._servers.values()]

    def entity(self, engram: Engram) -> HostedEntity:
        """Return the announcement of an Engram."""
        kind = engram.engram_kind
        directed = Directed(id=engram.engram_id, type=kind, capabilities=(kind,))
        return HostedEntity(engram.engram_id, directed, {"role": "engram", "capabilities": [kind]}, {}, self)

    def retire(self, engram_id: str) -> Engram:
        """Return a served Engram, which is then detached.

        Raises:
            KeyError: No Engram of this id is served, or it is being detached already.
        """
        self._accepting.remove(engram_id)
        return self._servers[engram_id].engram

    def serves(self, engram_id: str) -> bool:
        """Tell whether an attached Engram is served."""
        return engram_id in self._subscriptions

    def accepts(self, engram: Engram) -> bool:
        """Tell whether an Engram is served and is not being detached."""
        return engram.engram_id in self._accepting and self._servers[engram.engram_id].engram is engram

    def load(self, engram_id: str) -> int:
        """Return the number of requests that an Engram is answering; 0 if it is not attached."""
        server = self._servers.get(engram_id)
        return 0 if server is None else server.load

    # --- attaching and detaching --------------------------------------------------------------------

    def attach(self, engram: Engram) -> None:
        """Prepare ``engram`` to be served.

        Raises:
            TypeError: It does not satisfy `Engram`.
            MalformedSignalError: Its id or its kind is not a token.
            ValueError: An Engram of this id is attached already.
        """
        if not satisfies(engram, Engram):
            raise TypeError(f"an Engram must have every attribute of cosmo_core.Engram; {engram!r} does not")
        check_token("engram_id", engram.engram_id)
        check_token("engram_kind", engram.engram_kind)
        if engram.engram_id in self._servers:
            raise ValueError(f"an Engram {engram.engram_id!r} is attached to this Dendrite already")
        self._servers[engram.engram_id] = EngramServer(engram, self._ports)

    def undo_attach(self, engram: Engram) -> None:
        """Remove an Engram that `serve` was not called for; do nothing after that."""
        server = self._servers.get(engram.engram_id)
        if server is not None and server.engram is engram and not server.opened:
            del self._servers[engram.engram_id]

    async def start(self) -> None:
        """Serve every Engram attached so far."""
        for engram_id in list(self._servers):
            await self.serve(engram_id)

    async def serve(self, engram_id: str) -> None:
        """Open an attached Engram, and subscribe to its requests.

        Raises:
            EngramError: It does not open.
            SynapseError: The Synapse refused a subscription.
        """
        server = self._servers[engram_id]
        server.opened = True
        try:
            await server.engram.connect()
            async with self._lock:
                if _BROADCAST not in self._subscriptions:
                    self._subscriptions[_BROADCAST] = await self._subscribe_to_finals()
                self._subscriptions[engram_id] = await self._subscribe(server)
                self._accepting.add(engram_id)
        except BaseException:
            # An Engram that cannot be served must not stay open.
            self._servers.pop(engram_id, None)
            await _close(server)
            raise

    async def _subscribe(self, server: EngramServer) -> list[Subscription]:
        engram_id, subjects = server.engram.engram_id, self._ports.subjects
        sources: list[tuple[str, Receiver, Refuse | None]] = [
            (subjects.engram(SignalType.RECALL, engram_id), server.answer, server.refuse),
            (subjects.engram(SignalType.IMPRINT, engram_id), server.answer, server.refuse),
            # Other implementations of the protocol address an Engram on the broadcast subject.
            (subjects.broadcast(SignalType.RECALL), server.answer_addressed, None),
            (subjects.broadcast(SignalType.IMPRINT), server.answer_addressed, None),
        ]
        listen = partial(self._ports.listen, queue_group=engram_id)
        return await self._ports.listen_all(
            *(partial(listen, pattern, receive, refuse=refuse) for pattern, receive, refuse in sources)
        )

    async def _subscribe_to_finals(self) -> list[Subscription]:
        subjects = self._ports.subjects
        # FINAL to all listeners, and FINAL to the inbox of a requester.
        patterns = (subjects.broadcast(SignalType.FINAL), subjects.addressed_pattern(SignalType.FINAL))
        return await self._ports.listen_all(
            *(partial(self._ports.listen, pattern, self._commit) for pattern in patterns)
        )

    async def detach(self, engram_id: str) -> None:
        """Accept no more requests for an Engram, let it finish the others, and close it.

        Raises:
            KeyError: No Engram of this id is served.
        """
        subscriptions = self._subscriptions.pop(engram_id)
        server = self._servers[engram_id]
        try:
            await self._end(server, subscriptions)
        finally:
            del self._servers[engram_id]

    async def close(self) -> None:
        """Accept no more requests, let every Engram finish the others, and close it; all stay attached."""
        finals = self._ports.unsubscribe(*self._subscriptions.get(_BROADCAST, ()))
        served = [
            (server, self._subscriptions[id]) for id, server in self._servers.items() if self.serves(id)
        ]
        await asyncio.gather(finals, *(self._end(server, subscriptions) for server, subscriptions in served))

    async def _end(self, server: EngramServer, subscriptions: list[Subscription]) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ports.unsubscribe(*subscriptions)
                await server.wait_idle()
        except TimeoutError:
            logger.warning("%r is closed with %d unanswered requests", server.engram, server.load)
        finally:
            await _close(server)

    # --- the end of a trace -------------------------------------------------------------------------

    async def _commit(self, final: Signal) -> None:
        for server in self._with_rollback():
            with logged_failures("the writes of %s could not be committed", final.trace_id):
                await server.engram.commit(final.trace_id)

    async def roll_back(self, trace_id: str) -> dict[str, Any]:
        """Undo the writes of a trace in all Engrams; return its part of the STOPPED payload (P-14.10)."""
        undone, failed = 0, {}
        for server in self._with_rollback():
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await server.wait_idle(trace_id)
                    undone += await server.engram.roll_back(trace_id)
            except EngramError as error:
                failed[server.engram.engram_id] = str(error)
            except TimeoutError:
                failed[server.engram.engram_id] = f"not rolled back within {CLOSE_TIMEOUT_S} s"
            except BaseException as error:
                if must_pass(error):
                    raise
                logger.exception("Engram %r could not roll back %s", server.engram.engram_id, trace_id)
                failed[server.engram.engram_id] = error.__class__.__name__
        return {"rolled_back": undone, "failed": failed} if failed else {"rolled_back": undone}

    def _with_rollback(self) -> list[EngramServer]:
        return [
            server
            for engram_id, server in self._servers.items()
            if engram_id in self._subscriptions and server.engram.guarantees.rollback
        ]


async def _close(server: EngramServer) -> None:
    with logged_failures("Engram %r did not close cleanly", server.engram.engram_id):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await server.engram.close()


# --- one Engram -------------------------------------------------------------------------------------


class EngramServer:
    """Answers the requests to one Engram. The in-flight limit of the Synapse bounds their number.

    Attributes:
        engram: The Engram.
        opened: Whether it was opened, or an attempt was made.
    """

    def __init__(self, engram: Engram, ports: Ports) -> None:
        self.engram = engram
        self.opened = False
        self._ports = ports
        self._name = f"Engram {engram.engram_id!r}"
        # The requests that are being answered, each with its trace if it is an IMPRINT.
        self._requests: dict[object, str | None] = {}
        self._change: asyncio.Future[None] | None = None

    @property
    def load(self) -> int:
        """The number of requests that are being answered."""
        return len(self._requests)

    def answer_addressed(self, request: Signal) -> Coroutine[Any, Any, None] | None:
        """Answer a request on the broadcast subject if it is directed to this Engram (P-14.3)."""
        directed, engram = request.directed, self.engram
        if directed is None:
            return None
        # A RECALL may be directed to a kind; an id takes precedence.
        by_kind = request.type is SignalType.RECALL and not directed.id
        matches = directed.type == engram.engram_kind if by_kind else directed.id == engram.engram_id
        return self.answer(request) if matches else None

    async def wait_idle(self, trace_id: str | None = None) -> None:
        """Return when no request is being answered, or no IMPRINT of one trace."""
        while self._is_busy(trace_id):
            if self._change is None:
                self._change = asyncio.get_running_loop().create_future()
            # Shielded: several callers may wait for the same change.
            await asyncio.shield(self._change)

    def _is_busy(self, trace_id: str | None) -> bool:
        return bool(self._requests) if trace_id is None else trace_id in self._requests.values()

    # --- answering ----------------------------------------------------------------------------------

    async def answer(self, request: Signal) -> None:
        """Answer a RECALL with RECALLED (P-14.4), or an IMPRINT with IMPRINTED (P-14.5)."""
        # Not the id of the request: a bus may deliver a request twice.
        key = object()
        self._requests[key] = request.trace_id if request.type is SignalType.IMPRINT else None
        try:
            await self._send(request, await self._outcome(request))
        finally:
            del self._requests[key]
            change, self._change = self._change, None
            if change is not None:
                change.set_result(None)

    async def _outcome(self, request: Signal) -> dict[str, Any]:
        try:
            return await self._answer_in_time(request)
        except EngramError as error:
            return _failure(request, error)
        except BaseException as error:
            if must_pass(error):
                raise
            logger.exception("%s failed on %s", self._name, request.id)
            message = f"{self._name} failed with {error.__class__.__name__}; see its host's log"
            return _failure(request, EngramError(message))

    async def _answer_in_time(self, request: Signal) -> dict[str, Any]:
        left_ms = request.payload.get("deadline_ms")
        if left_ms == 0:
            raise EngramTimeout(f"the deadline passed before {self._name} could start; allow more time")
        deadline = self._ports.pathways.time_limit(None if left_ms is None else left_ms / 1000)
        try:
            with deadline:
                recalls = request.type is SignalType.RECALL
                return await (self._recall(request) if recalls else self._imprint(request))
        except TimeoutError:
            if not deadline.expired:
                raise
            message = f"{self._name} did not answer within {left_ms} ms; allow more time"
            raise EngramTimeout(message) from None

    async def _recall(self, request: Signal) -> dict[str, Any]:
        query = Query.parse(request.payload["query"])
        guarantees = self.engram.guarantees
        if query.words is not None and not guarantees.text:
            raise self._unsupported("find entries by their text")
        if query.vector is not None and not guarantees.vectors:
            raise self._unsupported("find entries by a vector")
        findings = await self.engram.recall(query)
        return {"hits": self._hits(findings.found), "truncated": findings.truncated}

    def _unsupported(self, what: str) -> EngramError:
        return EngramError(f"{self._name} cannot {what}; use an Engram that can", code="ENGRAM_UNSUPPORTED")

    def _hits(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        # Without middleware and observers, the stored JSON goes into the frame without decoding.
        read = msgspec.json.decode if self._ports.is_observed() else msgspec.Raw
        return [{"id": each.id, "entry": read(each.document), "score": each.score} for each in found]

    async def _imprint(self, request: Signal) -> dict[str, Any]:
        if self._ports.was_stopped(request):
            message = f"trace {request.trace_id} was stopped; {self._name} writes nothing for it"
            raise EngramError(message, code="ENGRAM_STOPPED")
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

    # --- replies ------------------------------------------------------------------------------------

    async def refuse(self, request: Signal, reason: str) -> None:
        """Answer a request that a middleware dropped."""
        rejected = EngramError(f"the request did not reach {self._name}: {reason}", code="ENGRAM_REJECTED")
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
            await self._send(request, self._shortened(request, payload, error))
        except SynapseError as error:
            logger.warning("%s was not answered with %s: %s", request.id, type.value, error)
        except Exception:
            logger.exception("an outbound middleware failed on the %s to %s", type.value, request.id)
            reason = "a middleware of its host failed on the answer"
        if reason is not None and "error" not in payload:
            rejected = EngramError(f"{self._name} answered, but {reason}", code="ENGRAM_REJECTED")
            await self._send(request, _failure(request, rejected))

    def _shortened(
        self, request: Signal, payload: dict[str, Any], error: FrameTooLargeError
    ) -> dict[str, Any]:
        hits = payload.get("hits") or []
        if len(hits) > 1:
            # Only the better half; ``truncated`` tells that there are more.
            return {"hits": hits[: len(hits) // 2], "truncated": True}
        return _failure(request, EngramError(f"the answer of {self._name} is too large: {error}"))


def _failure(request: Signal, error: EngramError) -> dict[str, Any]:
    details = {"code": error.code, "message": str(error), "recoverable": error.recoverable}
    if request.type is SignalType.RECALL:
        return {"hits": [], "truncated": False, "error": details}
    return {"op": request.payload["op"], "error": details}
