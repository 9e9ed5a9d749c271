"""The codes of what can go wrong at a provider."""

from __future__ import annotations

from typing import Final, NamedTuple

from cosmo_core.errors import NeuronError


class Failure(NamedTuple):
    """How a provider failed: the code of the ERROR, and whether the same TASK may succeed if tried again."""

    code: str
    recoverable: bool

    def error(self, message: str) -> NeuronError:
        """The exception that ends a TASK this way."""
        return NeuronError(message, code=self.code, recoverable=self.recoverable)


INPUT_INVALID: Final = Failure("INPUT_INVALID", recoverable=False)
"""The input is not what the Neuron, or the provider behind it, takes."""
AUTH_FAILED: Final = Failure("AUTH_FAILED", recoverable=False)
"""The provider does not accept the key, or the key may not do this."""
MODEL_NOT_FOUND: Final = Failure("MODEL_NOT_FOUND", recoverable=False)
"""The provider knows no such model, or no such path."""
RATE_LIMITED: Final = Failure("RATE_LIMITED", recoverable=True)
"""The provider wants fewer requests."""
PROVIDER_ERROR: Final = Failure("PROVIDER_ERROR", recoverable=True)
"""The provider failed on its own side."""
PROVIDER_REFUSED: Final = Failure("PROVIDER_REFUSED", recoverable=False)
"""The provider declines for a reason of its own, such as an exhausted quota; its words say which."""
PROVIDER_UNREACHABLE: Final = Failure("PROVIDER_UNREACHABLE", recoverable=True)
"""No connection could be made, or it was cut before the answer was complete."""
PROVIDER_TIMEOUT: Final = Failure("PROVIDER_TIMEOUT", recoverable=True)
"""The answer was not complete within the source's time limit."""
PROVIDER_MALFORMED: Final = Failure("PROVIDER_MALFORMED", recoverable=False)
"""The answer is not in the provider's own format, or is larger than the source reads."""

_BY_STATUS: Final = {
    400: INPUT_INVALID,
    401: AUTH_FAILED,
    403: AUTH_FAILED,
    404: MODEL_NOT_FOUND,
    408: PROVIDER_TIMEOUT,
    413: INPUT_INVALID,
    422: INPUT_INVALID,
    429: RATE_LIMITED,
}


def failure_of_status(status: int) -> Failure:
    """Map the HTTP status of a refusal to the failure it stands for."""
    return _BY_STATUS.get(status, PROVIDER_ERROR if status >= 500 else PROVIDER_REFUSED)
