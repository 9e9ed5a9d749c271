"""The keyword options of the methods that dispatch, offer, answer and emit, the retry strategy, and bids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, Required, TypedDict, TypeVar

import msgspec

from cosmo_core.arguments import check_count, check_options, check_seconds, check_wait
from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType

Role = Literal["orchestrator", "worker"]
"""A worker serves TASKs and bids; only an orchestrator may emit orchestration Signals (P-10.2)."""


class CauseOptions(TypedDict, total=False):
    """The options that all work has.

    Attributes:
        trace_id: The trace to continue; a new one by default, and in a Neuron that of its TASK.
        parent_id: The id of the Signal that causes this work; in a Neuron its TASK by default.
        context_ref: Passed to the context fetcher of the Axon that runs it.
        meta: Further content of the Signal's ``meta``.
        deadline_s: The answer is useful for this many seconds from now. A worker that cannot start before
            that rejects the TASK (P-5.9).
    """

    trace_id: str | None
    parent_id: str | None
    context_ref: str | None
    meta: dict[str, Any] | None
    deadline_s: float | None


class StreamOptions(CauseOptions, total=False):
    """The options of ``stream``: `CauseOptions`, and these.

    Attributes:
        capabilities: Capabilities that the Neuron must have, if it is None: the least busy one is asked.
        timeout_s: Seconds until the answer, 30 by default; None for no limit.
    """

    capabilities: Sequence[str]
    timeout_s: float | None


class AskOptions(StreamOptions, total=False):
    """The options of ``ask``, ``map`` and ``race``: `StreamOptions`, and this one.

    Attributes:
        retry: When to try again. Each attempt then has the strategy's time instead of ``timeout_s``.
    """

    retry: RetryStrategy | None


class MapOptions(AskOptions, total=False):
    """The options of ``map``: `AskOptions`, and these.

    Attributes:
        output_type: Convert each output to this type; by default the type of the Neuron's Axon.
        concurrency: The number of TASKs at once, 8 by default.
        return_exceptions: Return exceptions in place of outputs, and stop nothing.
    """

    output_type: Any
    concurrency: int
    return_exceptions: bool


class WorkOptions(CauseOptions, total=False):
    """The options that a dispatched TASK and an offer share: `CauseOptions`, and these.

    Attributes:
        input: The Neuron's input: an object that JSON can carry. Every listener for offers sees an offer's.
        scope: ``"terminal"`` follows only the Signals that end work: FINAL, ERROR, CLARIFICATION and
            PERMISSION (P-11.4).
        finalize: Also send the output as FINAL, which ends the trace; by default if ``scope`` is
            ``"terminal"``.
    """

    input: Required[dict[str, Any]]
    scope: Literal["all", "terminal"]
    finalize: bool | None


class TaskOptions(WorkOptions, total=False):
    """The options of every method that dispatches a TASK: `WorkOptions`, and these.

    Attributes:
        neuron: The id of the Neuron.
        capabilities: Capabilities that the Neuron must have, all of them; without ``neuron``, the least busy
            Neuron that has them gets the TASK (P-5.2).
        backpressure: Slow the Neuron down while the Pathway's buffer is full of unread Signals; without it,
            the oldest Signal is dropped, and the Pathway counts it.
    """

    neuron: str | None
    capabilities: Sequence[str] | None
    backpressure: bool


class OfferOptions(WorkOptions, total=False):
    """The options of an offer: `WorkOptions`, and these.

    Attributes:
        capabilities: Capabilities that a bidder must have, all of them.
    """

    capabilities: Required[Sequence[str]]


class ResponseOptions(TypedDict, total=False):
    """The options of a TASK that is dispatched again, with the answer to the question of its Neuron.

    Attributes:
        input: Replaces the input that the request carries; the answer is added to it.
        neuron: The Neuron to ask; by default the one that asked.
        context_ref: Replaces that of the previous TASK.
        meta: As in `TaskOptions`, as are ``deadline_s`` and ``scope``. The new TASK inherits none of these
            from the previous one.
        finalize: Also send the output as FINAL; by default if the previous TASK asked for it, or ``scope``
            is ``"terminal"``.
    """

    input: dict[str, Any]
    neuron: str
    context_ref: str | None
    meta: dict[str, Any] | None
    deadline_s: float | None
    scope: Literal["all", "terminal"]
    finalize: bool | None


class FilterOptions(TypedDict, total=False):
    """The options that limit which Signals of a type are watched.

    Attributes:
        neuron: Only Signals directed to this Neuron; the answers to its TASKs are, too.
        capability: Only Signals directed to this capability, or that name it in their payload.
        trace_id: Only Signals on this trace.
    """

    neuron: str | None
    capability: str | None
    trace_id: str | None


class EmitOptions(TypedDict, total=False):
    """The options of every ``emit_<type>`` method.

    Attributes:
        parent_id: The id of the Signal that causes it.
        directed: The addressee, by default all listeners.
        meta: Further content of the Signal's ``meta``.
    """

    parent_id: str | None
    directed: Directed | None
    meta: dict[str, Any] | None


def check_work(what: str, options: WorkOptions, kind: type[WorkOptions], further: Iterable[str] = ()) -> None:
    """Check the options of work.

    Args:
        what: What takes the options, for errors.
        options: The options.
        kind: The type that declares their names.
        further: The names of its other options, which may have been meant.

    Raises:
        TypeError: An option is unknown, missing, or of a wrong type.
        ValueError: ``deadline_s`` or ``scope`` is out of range.
    """
    check_options(what, options, {*kind.__annotations__, *further})
    if "input" not in options:
        raise TypeError(f"{what} needs input={{…}}")
    capabilities: object = options.get("capabilities")
    if isinstance(capabilities, str) or not isinstance(capabilities, Iterable | None):
        raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
    if (scope := options.get("scope", "all")) not in {"all", "terminal"}:
        raise ValueError(f'scope is "all" or "terminal", not {scope!r}')
    check_wait(options.get("deadline_s"), "deadline_s")


def work_payload(options: WorkOptions) -> dict[str, Any]:
    """Return the part of the payload that a TASK and a TASK_AWARDED share, without ``deadline_ms``."""
    payload: dict[str, Any] = {"input": options["input"]}
    if (context_ref := options.get("context_ref")) is not None:
        payload["context_ref"] = context_ref
    finalize = options.get("finalize")
    if finalize is None:
        finalize = options.get("scope") == "terminal"
    if finalize:
        payload["finalize"] = True
    return payload


# --- trying again -----------------------------------------------------------------------------------

RetryOn = Callable[["Signal | Exception"], bool]
Backoff = Callable[[int], float]


def jittered(attempt: int) -> float:
    """Return the seconds to wait after an attempt: random, up to 0.1, 0.2, 0.4, … and at most 10."""
    # Imported on use: only a retry needs it.
    import random

    return random.uniform(0, min(10.0, 0.1 * 2 ** (attempt - 1)))  # noqa: S311 - spreads load, hides nothing


def is_transient(outcome: Signal | Exception) -> bool:
    """Tell whether a retry may succeed: after a time-out, a closed Pathway, or a recoverable ERROR."""
    if isinstance(outcome, Exception):
        return isinstance(outcome, (TimeoutError, PathwayClosedError))
    return outcome.type is SignalType.ERROR and bool(outcome.payload["recoverable"])


class RetryStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and when a TASK is dispatched again. A failed attempt is stopped first (P-5.16).

    Attributes:
        max_attempts: The number of attempts, the first one included.
        timeout_s: The time limit of each attempt, in seconds.
        backoff: Seconds to wait after an attempt: a number, or a function of the attempt's number.
        retry_on: Tells whether to retry after an answer or an exception; `is_transient` by default.
        new_trace: Give every further attempt a new trace, so that it receives no Signals of an earlier one.

    Raises:
        TypeError: A number has another type.
        ValueError: ``max_attempts`` or ``timeout_s`` is not positive, or ``backoff`` is negative.
    """

    max_attempts: int = 3
    timeout_s: float = 30.0
    backoff: float | Backoff = jittered
    retry_on: RetryOn = is_transient
    new_trace: bool = False

    def __post_init__(self) -> None:
        check_count("max_attempts", self.max_attempts)
        check_seconds("timeout_s", self.timeout_s, positive=True)
        if not callable(self.backoff):
            check_seconds("backoff", self.backoff)

    def delay_s(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number ``attempt``."""
        return self.backoff(attempt) if callable(self.backoff) else self.backoff


# --- bids, and the rules that select one ------------------------------------------------------------


class Bid(msgspec.Struct, frozen=True):
    """The bid of one Neuron for an offer.

    Attributes:
        id: The id of its BID Signal.
        neuron: The Neuron that would do the work.
        dendrite: The Dendrite that hosts it; replicas differ in this.
        cost: The price, in a unit that the bidders agree on.
        eta_ms: The expected time to completion, in milliseconds.
        confidence: The expected quality of the result, from 0 to 1.
    """

    id: str
    neuron: str
    dendrite: str
    cost: float
    eta_ms: int | None = None
    confidence: float | None = None


Choose = Callable[[list[Bid]], Bid | None]
Select = Literal["first_bid", "lowest_cost", "highest_confidence"] | Choose
"""The rule that selects a bid: one of three names, or a function of the bids in order of arrival.

Such a function returns one of the bids, or None to reject them all. It is called again, with the remaining
bids, when a winner fails.
"""

OfferHandler = Callable[[Signal], Awaitable[None] | None]
"""Decides on a TASK_OFFER: calls `Dendrite.bid`, or does not."""

OH = TypeVar("OH", bound=OfferHandler)
