"""The client of Engrams: recalls from one or several, imprints to one, and gives Neurons both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from cosmo_core.arguments import check_wait
from cosmo_core.contracts.delivery import Undelivered, undelivered_message
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
from cosmo_core.contracts.neuron import NeuronFn, with_keywords
from cosmo_core.contracts.task_context import current_task
from cosmo_core.contracts.threads import RunInLoop
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

_UNDELIVERED_CODES: Final[dict[Undelivered, str]] = {
    "overloaded": "ENGRAM_OVERLOADED",
    "lost": "ENGRAM_UNAVAILABLE",
    "failed": "ENGRAM_UNAVAILABLE",
}


@attrs.frozen
class Cause:
    """The cause of a request to an Engram.

    Attributes:
        trace_id: The trace that the request belongs to; None for a new one.
        parent_id: The id of the Signal that causes it.
        time_left_s: Seconds until the deadline of that Signal; None without one.
    """

    trace_id: str | None = None
    parent_id: str | None = None
    time_left_s: float | None = None


class _NoHostError(Exception):
    """The Engram has no host that is subscribed to its requests."""


@attrs.define(eq=False)
class Requests:
    """Sends requests to single Engrams, and waits for their answers.

    Args:
        ports: The ports of the extension.
        directory: The known Engrams.
        resolver: Resolves an Engram that is not in the directory.
    """

    _ports: Ports
    _directory: Directory
    _resolver: Resolver
    _waiting: dict[str, asyncio.Future[Signal]] = attrs.field(factory=dict, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    async def request(
        self,
        type: SignalType,
        engram_id: str,
        payload: dict[str, Any],
        timeout_s: float,
        cause: Cause,
    ) -> Signal:
        """Send a RECALL or IMPRINT to an Engram, and return the answer.

        Raises:
            EngramTimeout: No answer within ``timeout_s`` seconds.
            EngramError: No Engram has this id, or it answered with an error.
            RejectedError: A middleware of this Dendrite dropped the request.
            UnencodableError: JSON cannot carry the payload.
            SynapseError: The Synapse refused the request.
        """
        if self._closed:
            raise _stopped_error()
        deadline = self._ports.pathways.time_limit(timeout_s)
        try:
            with deadline:
                request = new_unvalidated(
                    type,
                    {**payload, "deadline_ms": deadline_ms(timeout_s)},
                    cause.trace_id,
                    cause.parent_id,
                    address(engram_id),
                    {"reply_to": self._ports.dendrite_id},
                )
                try:
                    answer = await self._exchange(engram_id, request)
                except _NoHostError:
                    # It may have another host, or get one soon.
                    await self._resolve(engram_id, ())
                    answer = await self._exchange(engram_id, request)
        except _NoHostError:
            raise _no_route_error(f"Engram {engram_id!r} has no live host") from None
        except TimeoutError:
            if not deadline.expired:
                raise
            raise EngramTimeout(f"no answer from Engram {engram_id!r} within {timeout_s:g} s") from None
        error = answer.payload.get("error")
        if error is not None:
            raise _error_of(engram_id, error)
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

    async def find_kind(self, kind: str) -> list[str]:
        """Return the ids of the live Engrams of a kind, at least one.

        Raises:
            EngramError: There is none.
        """
        await self._resolver.complete()
        await self._resolve(None, (kind,))
        return list(dict.fromkeys(record.neuron_id for record in self._directory.records(kind)))

    async def _resolve(self, engram_id: str | None, kinds: Sequence[str]) -> None:
        try:
            await self._resolver.resolve(engram_id, kinds)
        except NoRouteError as error:
            raise _no_route_error(str(error)) from None

    # --- answers ------------------------------------------------------------------------------------

    def receive(self, answer: Signal) -> None:
        """Handle a RECALLED or IMPRINTED from the inbox."""
        waiting = self._waiting.get(answer.parent_id or "")
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def refuse(self, answer: Signal, reason: str) -> None:
        """Fail the request whose answer a middleware dropped."""
        waiting = self._waiting.get(answer.parent_id or "")
        if waiting is not None and not waiting.done():
            message = f"{answer.type.value} arrived, but {reason}"
            waiting.set_exception(EngramError(message, code="ENGRAM_REJECTED"))

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
        message = undelivered_message(why, f"Engram {engram_id!r}", "request")
        code = _UNDELIVERED_CODES[why]
        waiting.set_exception(EngramError(message, code=code, recoverable=why != "failed"))

    def close(self) -> None:
        """Fail every request that waits for an answer."""
        self._closed = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_stopped_error())


def _stopped_error() -> EngramError:
    message = "the Dendrite stopped before the Engram answered"
    return EngramError(message, code="ENGRAM_STOPPED", recoverable=True)


def _no_route_error(reason: str) -> EngramError:
    return EngramError(reason, code="ENGRAM_NO_ROUTE", recoverable=True)


def _error_of(engram_id: str, error: object) -> EngramError:
    """Make the error that an Engram answered with; other implementations may send a plain text."""
    if not isinstance(error, Mapping):
        return EngramError(f"Engram {engram_id!r}: {error}")
    code, message = str(error.get("code", "ENGRAM_ERROR")), str(error.get("message", error))
    if code == "ENGRAM_TIMEOUT":
        return EngramTimeout(message)
    return EngramError(message, code=code, recoverable=error.get("recoverable") is True)


@attrs.frozen
class EngramClient:
    """Calls Engrams by the names of bindings, for one cause at a time.

    Attributes:
        requests: Sends the requests.
        bindings: The bindings by name.
        cause: Returns the cause of a call.
    """

    requests: Requests
    bindings: Mapping[str, EngramBinding]
    cause: Callable[[], Cause]

    async def recall(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        mode: RecallMode | None = None,
        timeout_s: float | None = None,
    ) -> RecallResult:
        """Ask the Engrams of a binding; see `RecallFn`."""
        binding, cause = self._binding(name), self.cause()
        mode = mode or binding.recall_mode
        if mode not in RECALL_MODES:
            raise invalid(f"mode is one of {', '.join(RECALL_MODES)}, not {mode!r}")
        timeout_s = _time_limit(binding, timeout_s, cause)
        payload = {"query": query, "recall_mode": mode}
        if binding.directed_type is None:
            return await self._recall_one(binding.directed_id or "", payload, timeout_s, cause)
        engrams = await self.requests.find_kind(binding.directed_type)
        calls = {engram: self._outcome(engram, payload, timeout_s, cause) for engram in engrams}
        outcomes = await _gathered(calls, until_first=mode == "first")
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
        answer = await self.requests.request(SignalType.RECALL, engram_id, payload, timeout_s, cause)
        return RecallResult(_hits(engram_id, answer), answer.payload["truncated"], (engram_id,))

    async def imprint(
        self,
        name: str,
        *,
        op: str,
        entry: Mapping[str, Any] | None = None,
        merge_key: str | None = None,
        imprint_id: str | None = None,
        timeout_s: float | None = None,
    ) -> ImprintReceipt:
        """Write to the Engram of a binding; see `ImprintFn`."""
        binding, cause = self._binding(name), self.cause()
        # A request that breaks the protocol gets no answer; all else is checked by the Engram's host.
        if op not in OPS:
            raise invalid(f"op is one of {', '.join(OPS)}, not {op!r}")
        for key, value in (("merge_key", merge_key), ("imprint_id", imprint_id)):
            if not isinstance(value, str | None):
                raise invalid(f"{key} is text, not {value!r}")
        engram_id = binding.directed_id or await self._only_one(binding)
        timeout_s = _time_limit(binding, timeout_s, cause)
        payload = {
            "op": op,
            "entry": {} if entry is None else entry,
            **without_none(merge_key=merge_key, imprint_id=imprint_id),
        }
        answer = await self.requests.request(SignalType.IMPRINT, engram_id, payload, timeout_s, cause)
        written = answer.payload
        return ImprintReceipt(engram_id, written["op"], written.get("id"), written.get("version"))

    def _binding(self, name: str) -> EngramBinding:
        binding = self.bindings.get(name)
        if binding is None:
            known = ", ".join(map(repr, self.bindings))
            raise EngramNotBound(f"the Axon has no EngramBinding named {name!r}; it has {known}")
        return binding

    async def _only_one(self, binding: EngramBinding) -> str:
        kind = binding.directed_type or ""
        engrams = await self.requests.find_kind(kind)
        if len(engrams) > 1:
            raise EngramNotBound(
                f"{binding.name!r} is bound to the kind {kind!r}, which several Engrams have:"
                f" {', '.join(engrams)}; give its EngramBinding a directed_id to say which one to write to"
            )
        return engrams[0]


def _time_limit(binding: EngramBinding, timeout_s: float | None, cause: Cause) -> float:
    """Return the time limit of a call in seconds: at most the time until the deadline of its cause."""
    check_wait(timeout_s)
    allowed = binding.timeout_s if timeout_s is None else timeout_s
    if allowed <= 0:
        raise EngramTimeout(f"{binding.name!r} was called with a time limit of {allowed:g} s")
    if cause.time_left_s is None or allowed <= cause.time_left_s:
        return allowed
    if cause.time_left_s <= 0:
        raise EngramTimeout(f"{binding.name!r} was not called: the TASK's deadline has passed")
    return cause.time_left_s


def _hits(engram_id: str, recalled: Signal) -> list[Hit]:
    hits = recalled.payload["hits"]
    try:
        found = [Hit(hit["id"], hit["entry"], hit.get("score", 1.0), engram_id) for hit in hits]
    except (AttributeError, KeyError, TypeError):
        found = []
    if len(found) < len(hits) or not all(type(hit.entry) is dict for hit in found):
        raise EngramError(f"Engram {engram_id!r} answered with hits that lack an id or an entry")
    return found


async def _gathered(
    calls: Mapping[str, Coroutine[Any, Any, Outcome]], *, until_first: bool
) -> dict[str, Outcome]:
    """Return the outcomes by id; ``until_first``, only those up to the first answer."""
    outcomes: dict[str, Outcome] = {}
    async with asyncio.TaskGroup() as group:
        works = {group.create_task(work): engram for engram, work in calls.items()}
        pending, when = set(works), asyncio.FIRST_COMPLETED if until_first else asyncio.ALL_COMPLETED
        while pending:
            done, pending = await asyncio.wait(pending, return_when=when)
            outcomes.update((works[work], work.result()) for work in done)
            if until_first and any(isinstance(outcome, RecallResult) for outcome in outcomes.values()):
                for work in pending:
                    work.cancel()
                break
    return {engram: outcomes[engram] for engram in calls if engram in outcomes}


# --- several answers --------------------------------------------------------------------------------

Outcome = RecallResult | CosmoError
"""The outcome of one call to one Engram."""


def joined(outcomes: Mapping[str, Outcome], ranked_for: Mapping[str, Any] | None) -> RecallResult:
    """Join all answers: ranked together for a query if one is given, otherwise one after the other.

    Args:
        outcomes: The outcome of each Engram, by id.
        ranked_for: The query, whose limit then applies to all of them together.

    Raises:
        CosmoError: There is no answer; it is the error of the first Engram.
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
    # Each Engram has checked the query, and sends no more than its limit.
    limit = query.get("limit", DEFAULT_LIMIT)
    best = sorted(hits, key=lambda hit: hit.score, reverse=True)
    return best[:limit], len(best) > limit


# --- Neurons ----------------------------------------------------------------------------------------


def with_memory(
    neuron: NeuronFn, bindings: Iterable[EngramBinding], requests: Requests, run: RunInLoop[Any]
) -> NeuronFn:
    """Return a Neuron that gets ``recall`` and ``imprint``, as far as it declares them as keywords.

    A call of them belongs to the TASK that its caller runs for; many TASKs run at once.
    """
    client = EngramClient(requests, {binding.name: binding for binding in bindings}, _current_cause)
    functions: dict[str, Callable[..., Any]] = {"recall": client.recall, "imprint": client.imprint}
    return with_keywords(neuron, functions, run)


def _current_cause() -> Cause:
    task = current_task()
    return Cause() if task is None else Cause(task.trace_id, task.id, task.time_left_s())
