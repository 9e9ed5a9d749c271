"""Errors of a connection to NATS: classified, described, counted and logged."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from nats import errors

from cosmo_core.errors import SynapseAuthError, SynapseError

logger = logging.getLogger("cosmo_synapse_nats")

PERMISSIONS: Final = "cosmo-synapse-nats lists the permissions in its README"

_AUTH_ERRORS: Final = (
    "authorization violation",
    "authentication",
    "user jwt",
    "nkey",
    "permissions violation",
)


_NO_CERTIFICATE: Final = ("certificate required", "bad certificate")

_MAX_DENIALS: Final = 16


def connect_failure(
    where: str, within_s: float, causes: Sequence[Exception], verifies_clients: bool
) -> SynapseError:
    """Return the error to raise when no connection was made.

    Args:
        where: The servers, without secrets.
        within_s: For how many seconds it was tried.
        causes: The errors of the attempts, first to last.
        verifies_clients: Whether the server wants certificates of its clients.
    """
    auth_error = next((error for error in causes if is_auth_error(error)), None)
    if auth_error is not None:
        return SynapseAuthError(
            f"{where} does not accept this program ({describe(auth_error)}): check user and password, token, "
            "credentials or nkeys_seed"
        )
    if any(_lacks_certificate(error, verifies_clients) for error in causes):
        return SynapseAuthError(
            f"{where} wants a certificate of this program: load one into the context of tls= with "
            "load_cert_chain"
        )
    if any(isinstance(error, ConnectionRefusedError) for error in causes):
        return SynapseError(
            f"no server listens at {where}: start nats-server there, or use another host and port"
        )
    # The first cause is the most specific one: the last is often only a timeout.
    return SynapseError(
        f"cannot connect to {where} within {within_s} s ({describe(causes[0])}): check that a nats-server "
        "answers there, and whether it needs tls://"
    )


def _lacks_certificate(error: Exception, verifies_clients: bool) -> bool:
    # The server ends the connection right after it has said why: writing to it may fail before that is read.
    was_ended = isinstance(error, (BrokenPipeError, ConnectionResetError, ConnectionAbortedError))
    said = str(error).lower().replace("_", " ")
    return (verifies_clients and was_ended) or any(text in said for text in _NO_CERTIFICATE)


def is_auth_error(error: Exception) -> bool:
    """Return whether the server rejects this program's credentials or permissions."""
    text = str(error).lower()
    return isinstance(error, errors.Error) and any(words in text for words in _AUTH_ERRORS)


def is_rejection(error: Exception) -> bool:
    """Return whether the server rejects this program as a whole."""
    return is_auth_error(error) and "permissions violation" not in str(error).lower()


def describe(error: BaseException) -> str:
    """Return the text of an error, or its type if it has no text."""
    return str(error) or type(error).__name__


class ErrorLog:
    """Counts errors by kind, and logs the 1st, 10th, 100th, ... of each kind.

    The log stays short even if thousands of errors occur.

    Attributes:
        counts: How many errors of each kind there were.
        denied: How many permission violations the server reported.
        where: The servers, without secrets.
    """

    def __init__(self, where: str) -> None:
        self.counts: Counter[str] = Counter()
        self.denied = 0
        # The newest ones.
        self._denials: deque[str] = deque(maxlen=_MAX_DENIALS)
        self.where = where

    def record(self, kind: str, error: BaseException | str) -> None:
        """Count an error, and log it if it is the 1st, 10th, 100th, ... of its kind."""
        self.counts[kind] += 1
        if "permissions violation" in str(error).lower():
            self.denied += 1
            self._denials.append(str(error).lower())
        count = self.counts[kind]
        if str(count).strip("0") == "1":
            logger.warning("%s: %s, %d so far; this one: %s", self.where, kind, count, error)

    def check_denied(self, subject: str) -> None:
        """Check that the server has not denied to publish on ``subject``.

        Raises:
            SynapseAuthError: It has, recently.
        """
        if self.denied and any(f'"{subject.lower()}"' in denial for denial in self._denials):
            raise SynapseAuthError(
                f"{self.where} does not allow this user to publish on {subject}: {PERMISSIONS}"
            )
