"""What can go wrong at a provider, what it looks like over HTTP, and how a call must end then."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
from cosmo_testing.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RETRY_AFTER_S: Final = 3600
"""The wait that a busy provider asks for: longer than any call of a test may take."""


@attrs.frozen
class ProviderFault:
    """A way in which a provider fails.

    Attributes:
        text: What the provider does, in a sentence.
        failure: How a call ends then, in the terms of the chat contract. A source of another kind may use
            other codes, but whether the failure may pass by itself is no matter of taste.
        over_http: The recording: given the provider's words, what an HTTP server sends.
    """

    text: str
    failure: Failure
    over_http: Callable[[str], Fault] = attrs.field(repr=False)


FAULTS: Final[Mapping[str, ProviderFault]] = MappingProxyType(
    {
        "unauthorized": ProviderFault(
            "It does not accept the key: 401.",
            AUTH_FAILED,
            lambda words: Fault.status(401, message=words),
        ),
        "rate-limited": ProviderFault(
            "It wants fewer requests: 429, with a `Retry-After` of an hour.",
            RATE_LIMITED,
            lambda words: Fault.status(429, retry_after=RETRY_AFTER_S, message=words),
        ),
        "server-error": ProviderFault(
            "It failed on its own side: 500.",
            PROVIDER_ERROR,
            lambda words: Fault.status(500, message=words),
        ),
        "unavailable": ProviderFault(
            "It is down for maintenance: 503, with a `Retry-After` of an hour.",
            PROVIDER_ERROR,
            lambda words: Fault.status(503, retry_after=RETRY_AFTER_S, message=words),
        ),
        "malformed": ProviderFault(
            "It answers in another format than its own.",
            PROVIDER_MALFORMED,
            lambda words: Fault.malformed(f"{{not json: {words}\n".encode()),
        ),
        "stalled": ProviderFault(
            "It begins to answer, then sends nothing more; give the Neuron a short time limit.",
            PROVIDER_TIMEOUT,
            lambda words: Fault.stall(0),
        ),
        "cut": ProviderFault(
            "It closes the connection in the middle of its answer.",
            PROVIDER_UNREACHABLE,
            lambda words: Fault.cut(1),
        ),
    }
)
"""The faults that every source meets, by name."""

CHAT_FAILURES: Final[Mapping[str, Failure]] = MappingProxyType(
    {name: fault.failure for name, fault in FAULTS.items()}
)
"""How a call of an LLM source ends for each of the `FAULTS`."""
