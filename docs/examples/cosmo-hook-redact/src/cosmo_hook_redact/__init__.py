"""Hides values in everything that a Dendrite sends, by the names of their keys."""

from __future__ import annotations

import os
from typing import Any, Final

import attrs
from cosmo_core import Signal, decode, encode
from cosmo_core.plugins import Direction, Dropped, Forward, SignalMiddleware, hookimpl

COSMO_API = 1

COSMO_ORDER = 1000
"""Innermost on the way out, so that nothing another plugin adds is missed."""

KEYS: Final = "COSMO_REDACT_KEYS"
"""The environment variable that names the keys, separated by commas."""

REDACTED: Final = "[redacted]"


@hookimpl
def cosmo_signal_middleware(direction: Direction) -> SignalMiddleware | None:
    """Redact what goes out, if there is anything to redact."""
    keys = frozenset(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())
    return redacting(keys) if keys and direction == "outbound" else None


def redacting(keys: frozenset[str]) -> SignalMiddleware:
    """Return the middleware that hides the values of ``keys``, at any depth of payload and meta."""

    async def redact(signal: Signal, forward: Forward) -> Signal | Dropped:
        # As it will be on the wire: a copy, in which dataclasses and the like are objects, too.
        written = decode(encode(signal))
        _hide(written.payload, keys)
        _hide(written.meta, keys)
        return await forward(attrs.evolve(signal, payload=written.payload, meta=written.meta))

    return redact


def _hide(value: Any, keys: frozenset[str]) -> None:
    if isinstance(value, dict):
        for key in keys & value.keys():
            value[key] = REDACTED
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _hide(inner, keys)
