"""The steps of a check: assertions, and waits with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 10.0
"""Seconds that a check waits for anything before it fails."""


class UnmetError(Exception):
    """Raised inside a check: the requirement is not met. The text says what was found instead."""


def need(ok: bool, otherwise: str) -> None:
    """Assert a condition.

    Raises:
        UnmetError: ``ok`` is false; ``otherwise`` is the text.
    """
    if not ok:
        raise UnmetError(otherwise)


async def bounded(what: str, step: Awaitable[T], limit_s: float | None = None) -> T:
    """Await one step of a check.

    Args:
        what: The step, as the error names it.
        step: The awaitable.
        limit_s: The time limit in seconds; by default `PATIENCE_S`.

    Raises:
        UnmetError: The step did not end in time.
    """
    limit_s = PATIENCE_S if limit_s is None else limit_s
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await step
    except TimeoutError:
        if limit.expired():
            raise UnmetError(f"{what} did not end within {limit_s:g} s") from None
        raise


async def refusal(step: Awaitable[object]) -> Exception | None:
    """Await a step that must fail; return its exception, or None if it did not fail."""
    try:
        await bounded("a step that must be refused", step)
    except UnmetError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a check has an opinion on it
        return error
    return None
