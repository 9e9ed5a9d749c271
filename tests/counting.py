"""Counting work instead of time, which other programs on the machine disturb."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType


def work_of(call: Callable[[], object]) -> int:
    """Return how many functions a call calls, those of C included."""
    calls, collects = 0, gc.isenabled()

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    # A collection of garbage calls functions of others.
    gc.disable()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()
    return calls
