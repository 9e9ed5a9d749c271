"""Why there is no connection, in words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nats import errors

from cosmo_core.errors import SynapseAuthError, SynapseError

_REFUSALS: Final = ("authorization violation", "authentication", "user jwt", "nkey", "permissions violation")


def connect_failure(where: str, within_s: float, causes: Sequence[Exception]) -> SynapseError:
    """Return the error for a connection that was not made.

    Args:
        where: The servers, without secrets.
        within_s: How long it was tried.
        causes: What went wrong, first to last.
    """
    refused = next((error for error in causes if is_refusal(error)), None)
    if refused is not None:
        return SynapseAuthError(
            f"{where} does not let this program in ({told(refused)}): check user and password, token, "
            "credentials or nkeys_seed"
        )
    if any(isinstance(error, ConnectionRefusedError) for error in causes):
        return SynapseError(
            f"nobody listens at {where}: start nats-server there, or name the right host and port"
        )
    # What the first server said comes first; that there was no more time says less.
    return SynapseError(
        f"cannot connect to {where} within {within_s} s ({told(causes[0])}): check that a nats-server "
        "answers there, and whether it wants tls://"
    )


def is_refusal(error: Exception) -> bool:
    """Tell whether the server does not let this program in."""
    text = str(error).lower()
    return isinstance(error, errors.Error) and any(words in text for words in _REFUSALS)


def told(error: BaseException) -> str:
    """Return what an error says, or at least what it is."""
    return str(error) or type(error).__name__
