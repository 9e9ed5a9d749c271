"""Asking Engrams: recalling from one or several, and imprinting to one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import attrs

from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.contracts.engram import (
    DEFAULT_LIMIT,
    OPS,
    RECALL_MODES,
    EngramBinding,
    Hit,
    ImprintReceipt,
    RecallMode,
    RecallResult,
    invalid,
)
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.discovery.resolver import Resolver
from cosmo_core.dendrite.extension import Ports
from cosmo_core.errors import (
    CosmoError,
    EngramError,
    EngramNotBound,
    EngramTimeout,
    NoRouteError,
    RejectedError,
)
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Signal, address, deadline_ms, new_unvalidated
from cosmo_core.protocol.signal_type import SignalType

_OUTCOMES: Final[dict[Undelivered, tuple[str, str, bool]]] = {
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


@attrs.frozen
class Cause:
    """What a request to an Engram belongs to.

    Attributes:
        trace_id: Its trace; None for a new one.
        parent_id: The Signal that causes it.
        time_left_s: For how many seconds an answer is of use; None for ever.
    """

    trace_id: str | None = None
    parent_id: str | None = None
    time_left_s: float | None = None


class _NoHostError(Exception):
    """No host listens for the Engram."""


class Requests:
    """Sends requests to single Engrams, and waits for their answers."""

    def __init__(self, ports: Ports, directory: Directory, resolver: Resolver) -> None:
        self._ports = ports
        self._directory = directory
        self._resolver = resolver
        self._meta = {"reply_to": ports.dendrite_id}
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
        deadline = self._ports.pathways.time_limit(timeout_s)
        try:
            with deadline:
                request = new_unvalidated(
                    type,
                    {**payload, "deadline_ms": deadline_ms(timeout_s)},
                    trace_id,
                    parent_id,
                    address(engram_id),
                    dict(self._meta),
                )
                try:
                    answer = await self._exchange(engram_id, request)
                except _NoHostError:
                    # Its host may be about to start.
                    await self._find(engram_id)
                    answer = await self._exchange(engram_id, request)
        except _NoHostError:
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
            subject = self._ports.subjects.engram(request.type, engram_id)
            dropped = await self._ports.send_shared(subject, request)
            if dropped is not None:
                raise RejectedError(
                    f"a middleware dropped {request.type.value} {request.id}: {dropped.reason}"
                )
            return await answer
        finally:
            del self._waiting[request.id]

    async def _find(self, engram_id: str) -> None:
        try:
            await self._resolver.resolve(engram_id, ())
        except NoRouteError as error:
            raise self._no_route(str(error)) from None

    def _no_route(self, reason: str) -> EngramError:
        return EngramError(reason, code="ENGRAM_NO_ROUTE", recoverable=True)

    # --- in -----------------------------------------------------------------------------------------

    def receive(self, answer: Signal) -> None:
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

    def undeliverable(self, request: Signal, why: Undelivered) -> None:
        """Fail a request that the Synapse could not deliver."""
        waiting = self._waiting.get(request.id)
        if waiting is None or waiting.done():
            return
        engram_id = "" if request.directed is None else request.directed.id or ""
        if why == "no_consumers":
            self._directory.mark_unreachable(engram_id)
            waiting.set_exception(_NoHostError())
            return
        code, message, recoverable = _OUTCOMES[why]
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


class EngramClient:
    """Recalls from and imprints to the Engrams of a binding: one, or all of a kind."""

    def __init__(self, requests: Requests, directory: Directory, resolver: Resolver) -> None:
        self._requests = requests
        self._directory = directory
        self._resolver = resolver
        self._loop: asyncio.AbstractEventLoop | None = None

    def connect(self) -> None:
        """Serve the threads of this event loop's Neurons, too, from now on."""
        self._loop = asyncio.get_running_loop()

    def from_thread(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the event loop, and return its result to the thread that waits for it.

        Raises:
            RuntimeError: The caller is in the event loop: it would wait for itself.
        """
        if self._loop is None or self._loop is _running_loop():
            work.close()
            raise RuntimeError(
                "a Neuron that is a plain function calls recall and imprint from its own thread only; make it"
                " `async def`, and await them"
            )
        # What the thread knows of its TASK goes along.
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def recall(
        self,
        binding: EngramBinding,
        query: Mapping[str, Any],
        mode: RecallMode | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> RecallResult:
        """Ask the Engrams of a binding; see `RecallFn`."""
        mode = mode or binding.recall_mode
        if mode not in RECALL_MODES:
            raise invalid(f"mode is one of {', '.join(RECALL_MODES)}, not {mode!r}")
        timeout_s = _time(binding, timeout_s, cause)
        payload = {"query": query, "recall_mode": mode}
        if binding.directed_type is None:
            return await self._recall_one(binding.directed_id or "", payload, timeout_s, cause)
        engrams = await self._of_kind(binding.directed_type)
        asking = {engram: self._outcome(engram, payload, timeout_s, cause) for engram in engrams}
        outcomes = await _asked(asking, until_first=mode == "first")
        answers = [each for each in outcomes.values() if isinstance(each, RecallResult)]
        if mode == "first" and answers:
            return answers[0]
        return joined(outcomes, query if mode == "merge" else None)

    async def _outcome(
        self, engram_id: str, payload: dict[str, Any], timeout_s: float, cause: Cause
    ) -> Outcome:
        try:
            return await self._recall_one(engram_id, payload, timeout_s, cause)
        except CosmoError as error:
            return error

    async def _recall_one(
        self, engram_id: str, payload: dict[str, Any], timeout_s: float, cause: Cause
    ) -> RecallResult:
        ask = self._requests.ask
        answer = await ask(SignalType.RECALL, engram_id, payload, timeout_s, cause.trace_id, cause.parent_id)
        return RecallResult(_hits(engram_id, answer), answer.payload["truncated"], (engram_id,))

    async def imprint(
        self,
        binding: EngramBinding,
        op: str,
        entry: Mapping[str, Any] | None,
        merge_key: str | None,
        imprint_id: str | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> ImprintReceipt:
        """Write to the Engram of a binding; see `ImprintFn`."""
        # What breaks the protocol nobody would answer; everything else the Engram's host checks.
        if op not in OPS:
            raise invalid(f"op is one of {', '.join(OPS)}, not {op!r}")
        for name, value in (("merge_key", merge_key), ("imprint_id", imprint_id)):
            if not isinstance(value, str | None):
                raise invalid(f"{name} is text, not {value!r}")
        engram_id = binding.directed_id or await self._only(binding)
        timeout_s = _time(binding, timeout_s, cause)
        payload = {
            "op": op,
            "entry": {} if entry is None else entry,
            **without_none(merge_key=merge_key, imprint_id=imprint_id),
        }
        ask = self._requests.ask
        answer = await ask(SignalType.IMPRINT, engram_id, payload, timeout_s, cause.trace_id, cause.parent_id)
        told = answer.payload
        return ImprintReceipt(engram_id, told["op"], told.get("id"), told.get("version"))

    async def _only(self, binding: EngramBinding) -> str:
        kind = binding.directed_type or ""
        engrams = await self._of_kind(kind)
        if len(engrams) > 1:
            raise EngramNotBound(
                f"{binding.name!r} is bound to the kind {kind!r}, of which there are {', '.join(engrams)}:"
                " give its EngramBinding a directed_id to say which one is written to"
            )
        return engrams[0]

    async def _of_kind(self, kind: str) -> list[str]:
        try:
            await self._resolver.resolve(None, (kind,))
        except NoRouteError as error:
            raise EngramError(str(error), code="ENGRAM_NO_ROUTE", recoverable=True) from None
        return list(dict.fromkeys(record.neuron_id for record in self._directory.records(kind)))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _time(binding: EngramBinding, timeout_s: float | None, cause: Cause) -> float:
    """Return for how long to wait: not longer than the answer to the TASK is of use."""
    allowed = binding.timeout_s if timeout_s is None else timeout_s
    if allowed <= 0:
        raise EngramTimeout(f"{binding.name!r} was asked with no time left")
    if cause.time_left_s is None or allowed <= cause.time_left_s:
        return allowed
    if cause.time_left_s <= 0:
        raise EngramTimeout(f"{binding.name!r} was not asked: the TASK's deadline has passed")
    return cause.time_left_s


def _hits(engram_id: str, recalled: Signal) -> list[Hit]:
    hits = recalled.payload["hits"]
    try:
        found = [Hit(hit["id"], hit["entry"], hit.get("score", 1.0), engram_id) for hit in hits]
    except (AttributeError, KeyError, TypeError):
        found = []
    if len(found) < len(hits) or not all(type(hit.entry) is dict for hit in found):
        raise EngramError(f"Engram {engram_id!r} answered with hits that have no id and entry")
    return found


async def _asked(
    asking: Mapping[str, Coroutine[Any, Any, Outcome]], *, until_first: bool
) -> dict[str, Outcome]:
    """Return what became of each, by id; or of each that ended until the first answer came."""
    outcomes: dict[str, Outcome] = {}
    async with asyncio.TaskGroup() as group:
        works = {group.create_task(work): engram for engram, work in asking.items()}
        pending, when = set(works), asyncio.FIRST_COMPLETED if until_first else asyncio.ALL_COMPLETED
        while pending:
            done, pending = await asyncio.wait(pending, return_when=when)
            outcomes.update((works[work], work.result()) for work in done)
            if until_first and any(isinstance(outcome, RecallResult) for outcome in outcomes.values()):
                for work in pending:
                    work.cancel()
                break
    return {engram: outcomes[engram] for engram in asking if engram in outcomes}


# --- several answers --------------------------------------------------------------------------------

Outcome = RecallResult | CosmoError
"""What became of asking one Engram."""


def joined(outcomes: Mapping[str, Outcome], ranked_for: Mapping[str, Any] | None) -> RecallResult:
    """Return all answers as one: ranked together for a query if one is given, else one after the other.

    Args:
        outcomes: What became of each Engram, by id.
        ranked_for: The query, whose limit then holds for all of them together.

    Raises:
        CosmoError: There is no answer; it is what the first Engram said instead.
    """
    answers = [outcome for outcome in outcomes.values() if isinstance(outcome, RecallResult)]
    failed = {id: str(outcome) for id, outcome in outcomes.items() if isinstance(outcome, CosmoError)}
    if not answers:
        raise next(outcome for outcome in outcomes.values() if isinstance(outcome, CosmoError))
    hits = [hit for answer in answers for hit in answer.hits]
    truncated = any(answer.truncated for answer in answers)
    if ranked_for is not None:
        hits, cut = _ranked(hits, ranked_for)
        truncated |= cut
    engrams = tuple(engram_id for answer in answers for engram_id in answer.engrams)
    return RecallResult(hits, truncated, engrams, failed)


def _ranked(hits: Sequence[Hit], query: Mapping[str, Any]) -> tuple[list[Hit], bool]:
    # Each Engram checked the query, and sent no more than this.
    limit = query.get("limit", DEFAULT_LIMIT)
    best = sorted(hits, key=lambda hit: hit.score, reverse=True)
    return best[:limit], len(best) > limit
