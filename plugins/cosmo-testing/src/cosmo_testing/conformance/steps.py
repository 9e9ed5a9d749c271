"""The steps of a check: what must hold is demanded, and every wait has an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from cosmo_testing.conformance.errors import UnmetError

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

PATIENCE_S: Final = 10.0
"""For how long a check waits for anything; it fails then."""


def need(ok: bool, otherwise: str) -> None:
    """Raise unless ``ok``.

    Raises:
        UnmetError: With this text.
    """
    if not ok:
        raise UnmetError(otherwise)


async def bounded(what: str, step: Awaitable[T], limit_s: float | None = None) -> T:
    """Await one step of a check.

    Raises:
        UnmetError: It does not end within ``limit_s`` seconds, or `PATIENCE_S`.
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
