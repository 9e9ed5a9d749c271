"""The retry strategy: how often, and when, a TASK is dispatched again."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from cosmo_core.arguments import check_count, check_seconds
from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

RetryOn = Callable[["Signal | Exception"], bool]
Backoff = Callable[[int], float]


def jittered(attempt: int) -> float:
    """Return the seconds to wait after an attempt: random, up to 0.1, 0.2, 0.4, … and at most 10."""
    return random.uniform(0, min(10.0, 0.1 * 2 ** (attempt - 1)))  # noqa: S311 - spreads load, hides nothing


def is_transient(outcome: Signal | Exception) -> bool:
    """Tell whether a retry may succeed: after a time-out, a closed Pathway, or a recoverable ERROR."""
    if isinstance(outcome, Exception):
        return isinstance(outcome, (TimeoutError, PathwayClosedError))
    return outcome.type is SignalType.ERROR and bool(outcome.payload["recoverable"])


@attrs.frozen(kw_only=True)
class RetryStrategy:
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

    def __attrs_post_init__(self) -> None:
        check_count("max_attempts", self.max_attempts)
        check_seconds("timeout_s", self.timeout_s, positive=True)
        if not callable(self.backoff):
            check_seconds("backoff", self.backoff)

    def delay_s(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number ``attempt``."""
        return self.backoff(attempt) if callable(self.backoff) else self.backoff
