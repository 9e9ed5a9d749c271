"""Checks on values that a user gave; each raises a `ValueError` that names the value's owner."""

from __future__ import annotations

import reprlib
import sys
from typing import TypeGuard


def need(ok: bool, name: str, value: object, wanted: str) -> None:
    """Raise unless ``ok``.

    Raises:
        ValueError: Says what was given and what is wanted.
    """
    if not ok:
        raise ValueError(f"{name}={reprlib.repr(value)}: {wanted} is needed")


def need_text(name: str, value: object) -> None:
    """Accept ``None`` and a non-empty string."""
    need(value is None or (isinstance(value, str) and value != ""), name, value, "a non-empty string")


def need_count(name: str, value: object) -> None:
    """Accept ``None`` and a positive integer."""
    need(value is None or (type(value) is int and value > 0), name, value, "a positive integer")


def need_flag(name: str, value: object) -> None:
    """Accept ``True`` and ``False``."""
    need(isinstance(value, bool), name, value, "True or False")


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite number; ``True`` is not."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # False for NaN too
    )
