"""Which check proves which requirement."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

from cosmo_core.testing.sources.requirements import REQUIREMENTS, ConformanceError

P = ParamSpec("P")
Check = Callable[..., Coroutine[Any, Any, None]]

CHECKS: Final[dict[str, Check]] = {}
"""The check of every requirement, by its id; `cosmo_core.testing.sources.checks` fills it."""


class UnmetError(Exception):
    """Raised by a check: says what the source did instead of what it must do."""


def need(ok: bool, otherwise: str) -> None:
    """Raise unless ``ok``.

    Raises:
        UnmetError: With this text.
    """
    if not ok:
        raise UnmetError(otherwise)


def proves(
    requirement: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, Coroutine[Any, Any, None]]]:
    """Make a coroutine function the check of a requirement: whatever it raises is a `ConformanceError`."""

    def decorate(check: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
        @functools.wraps(check)
        async def proof(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            try:
                await check(*args, **kwargs)
            except UnmetError as error:
                raise ConformanceError(requirement, str(error)) from error.__cause__
            except Exception as error:
                reason = f"the source raised {type(error).__name__}: {error}"
                raise ConformanceError(requirement, reason) from error

        if requirement not in REQUIREMENTS or requirement in CHECKS:
            raise ValueError(f"{requirement!r} is no requirement, or has a check already")
        CHECKS[requirement] = proof
        return proof

    return decorate
