"""Whether and when to try again."""

from __future__ import annotations

import random
from typing import Final

MAX_ATTEMPTS: Final = 4
FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 8.0

RETRIABLE_STATUSES: Final = frozenset({429, 503})


def delay_s(attempt: int, asked_s: float | None) -> float | None:
    """How long to wait after the failure of an attempt; ``None`` to give up.

    Args:
        attempt: Counts from 1.
        asked_s: What the provider asked for, which is then taken as it is.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    if asked_s is not None:
        return asked_s
    longest = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
