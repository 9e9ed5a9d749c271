"""Checks on what a user gave; each raises a `ValueError` that names what it is about."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard


def need(ok: bool, name: str, value: object, wanted: str) -> None:
    """Raise unless ``ok``.

    Raises:
        ValueError: Says what was given and what is wanted.
    """
    if not ok:
        raise ValueError(f"{name}={reprlib.repr(value)}: {wanted} is needed")


def need_count(name: str, value: object, *, at_least: int) -> None:
    """Accept an integer from ``at_least`` on; ``True`` is not one."""
    need(type(value) is int and value >= at_least, name, value, f"an integer, at least {at_least},")


def need_flag(name: str, value: object) -> None:
    """Accept ``True`` and ``False``."""
    need(isinstance(value, bool), name, value, "True or False")


def object_of(name: str, value: object, wanted: str) -> Mapping[Any, Any]:
    """Return a mapping as it is; what else was given is not repeated, as it may be a secret."""
    if not isinstance(value, Mapping):
        # Not a TypeError: whoever checks an input catches one error for all that may be wrong with it.
        raise ValueError(f"{name} is of type {type(value).__name__}: {wanted} is needed")  # noqa: TRY004
    return value


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite number; ``True`` is not."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # False for NaN too
    )
