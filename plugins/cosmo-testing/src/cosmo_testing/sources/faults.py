"""The faults of a provider: the HTTP response of each, and the expected error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from cosmo_llm import (
    AUTH_FAILED,
    PROVIDER_ERROR,
    PROVIDER_MALFORMED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    RATE_LIMITED,
    Failure,
)
from cosmo_testing.chat_server.faults import Fault

RETRY_AFTER_S: Final = 3600
"""Seconds that a busy provider asks to wait: longer than any call in a test."""


@attrs.frozen
class ProviderFault:
    """A way in which a provider fails.

    Attributes:
        text: A description.
        failure: The expected error of a chat source. Another kind of source may use other codes, but the same
            ``recoverable``.
        over_http: Takes the provider's error text; returns the fault of an HTTP server.
    """

    text: str
    failure: Failure
    over_http: Callable[[str], Fault] = attrs.field(repr=False)


FAULTS: Final[Mapping[str, ProviderFault]] = MappingProxyType(
    {
        "unauthorized": ProviderFault(
            "The key is not accepted: 401.",
            AUTH_FAILED,
            lambda words: Fault.status(401, message=words),
        ),
        "rate-limited": ProviderFault(
            "Too many requests: 429, with a `Retry-After` of an hour.",
            RATE_LIMITED,
            lambda words: Fault.status(429, retry_after=RETRY_AFTER_S, message=words),
        ),
        "server-error": ProviderFault(
            "Internal server error: 500, with a `Retry-After` of 0, so that a retry needs no time.",
            PROVIDER_ERROR,
            lambda words: Fault.status(500, retry_after=0, message=words),
        ),
        "unavailable": ProviderFault(
            "Down for maintenance: 503, with a `Retry-After` of an hour.",
            PROVIDER_ERROR,
            lambda words: Fault.status(503, retry_after=RETRY_AFTER_S, message=words),
        ),
        "malformed": ProviderFault(
            "The response has an invalid format.",
            PROVIDER_MALFORMED,
            lambda words: Fault.malformed(f"{{not json: {words}\n".encode()),
        ),
        "stalled": ProviderFault(
            "The response starts, and then nothing more is sent. Give the Neuron a short timeout.",
            PROVIDER_TIMEOUT,
            lambda words: Fault.stall(0),
        ),
        "cut": ProviderFault(
            "The connection is closed in the middle of the response.",
            PROVIDER_UNREACHABLE,
            lambda words: Fault.cut(1),
        ),
    }
)
"""The faults that every source must handle, by name."""

CHAT_FAILURES: Final[Mapping[str, Failure]] = MappingProxyType(
    {name: fault.failure for name, fault in FAULTS.items()}
)
"""The expected error of a chat source for each of the `FAULTS`."""
