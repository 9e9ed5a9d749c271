"""When to try a TASK again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs

from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

RetryOn = Callable[["Signal | Exception"], bool]
Backoff = Callable[[int], float]


def jittered(attempt: int) -> float:
    """Return the seconds to wait after so many attempts: at random up to 0.1, 0.2, 0.4, … and 10 at most."""
    return random.uniform(0, min(10.0, 0.1 * 2 ** (attempt - 1)))  # noqa: S311 - spreads load, hides nothing


def may_pass(outcome: Signal | Exception) -> bool:
    """Tell whether trying again may help: after a time-out, a closed Pathway, or a recoverable ERROR."""
    if isinstance(outcome, Exception):
        return isinstance(outcome, (TimeoutError, PathwayClosedError))
    return outcome.type is SignalType.ERROR and bool(outcome.payload["recoverable"])


def _positive(strategy: RetryStrategy, field: attrs.Attribute[Any], value: float) -> None:
    if value <= 0:
        raise ValueError(f"RetryStrategy.{field.name} is more than 0, not {value!r}")


@attrs.frozen(kw_only=True)
class RetryStrategy:
    """How often and when a TASK is dispatched again. An attempt that is given up is stopped first (P-5.16).

    Attributes:
        max_attempts: How often in all.
        timeout_s: For how many seconds each attempt may take.
        backoff: How many seconds to wait after so many attempts: a number, or a function of it.
        retry_on: Tells whether to try again after an answer or an exception; by default when it may help.
        new_trace: Give every further attempt a trace of its own, so that nothing of an earlier one shows up.

    Raises:
        ValueError: There would be no attempt, or no time for one.
    """

    max_attempts: int = attrs.field(default=3, validator=_positive)
    timeout_s: float = attrs.field(default=30.0, validator=_positive)
    backoff: float | Backoff = jittered
    retry_on: RetryOn = may_pass
    new_trace: bool = False

    def delay_s(self, attempt: int) -> float:
        """Return for how many seconds to wait after so many attempts."""
        return self.backoff(attempt) if callable(self.backoff) else self.backoff
