"""Redacts the values of some keys in all Signals that a Dendrite sends."""

from __future__ import annotations

import os
from typing import Any, Final

from cosmo_core import Signal, decode, encode
from cosmo_core.plugins import Direction, Dropped, Forward, SignalMiddleware, hookimpl

COSMO_API = 1

COSMO_ORDER = 1000
"""Innermost for outbound Signals, so that it sees what other plugins add."""

KEYS: Final = "COSMO_REDACT_KEYS"
"""The environment variable with the keys, separated by commas."""

REDACTED: Final = "[redacted]"


@hookimpl
def cosmo_signal_middleware(direction: Direction) -> SignalMiddleware | None:
    """Redact outbound Signals, if any keys are set."""
    keys = frozenset(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())
    return redacting(keys) if keys and direction == "outbound" else None


def redacting(keys: frozenset[str]) -> SignalMiddleware:
    """Return the middleware that redacts the values of ``keys``, at any depth of payload and meta."""

    async def redact(signal: Signal, forward: Forward) -> Signal | Dropped:
        # A copy as on the wire, in which dataclasses and similar values are objects too.
        written = decode(encode(signal))
        _hide(written.payload, keys)
        _hide(written.meta, keys)
        return await forward(signal.replace(payload=written.payload, meta=written.meta))

    return redact


def _hide(value: Any, keys: frozenset[str]) -> None:
    if isinstance(value, dict):
        for key in keys & value.keys():
            value[key] = REDACTED
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _hide(inner, keys)
