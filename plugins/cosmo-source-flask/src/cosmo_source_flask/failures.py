"""The failures of an app: their codes, and the errors that end a TASK with them."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import Final

from cosmo_core.errors import NeuronError
from cosmo_llm import Failure, Secrets

APP_ERROR: Final = Failure("APP_ERROR", recoverable=False)
"""The app raised, or violated WSGI, ASGI or HTTP."""
APP_IMPORT_FAILED: Final = Failure("APP_IMPORT_FAILED", recoverable=False)
"""The import string does not lead to an app of this kind."""
APP_STARTUP_FAILED: Final = Failure("APP_STARTUP_FAILED", recoverable=True)
"""The startup of an ASGI app failed."""
TIMEOUT: Final = Failure("TIMEOUT", recoverable=True)
"""The call exceeded its time limit."""
RESPONSE_TOO_LARGE: Final = Failure("RESPONSE_TOO_LARGE", recoverable=False)
"""The body of the response exceeds the size limit."""
TOO_MANY_REDIRECTS: Final = Failure("TOO_MANY_REDIRECTS", recoverable=False)
"""The app redirected more often than is allowed."""

_SEE_LOG: Final = "the log of its worker has the traceback"

_log = logging.getLogger(__name__)


class ProtocolViolationError(Exception):
    """An app violates its interface; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Makes the errors for the failures of one app, and logs what the app itself says about them.

    Attributes:
        app: What messages call the app.
        interface: WSGI or ASGI.
        timeout_s: The time limit of one call, in seconds.
        max_response_bytes: The size limit of a body.
        max_redirects: How many redirects are followed in a row.
        secrets: What neither an error nor the log may show.
    """

    app: str
    interface: str
    timeout_s: float
    max_response_bytes: int
    max_redirects: int
    secrets: Secrets

    def of(self, error: BaseException, *, too_large: bool) -> NeuronError:
        """The error for an exception that the app, or a check of its answer, raised.

        Args:
            error: The exception.
            too_large: Whether the body exceeded its limit. The app may have caught the exception for that.
        """
        if too_large:
            return self.too_large()
        if isinstance(error, ProtocolViolationError):
            return self.violated(str(error))
        return self.raised(error)

    def raised(self, error: BaseException) -> NeuronError:
        """The error for an app that raised. It shows the type only; the log has the traceback."""
        self.log_error("raised", error)
        return APP_ERROR.error(f"{self.app} raised {type(error).__name__}; {_SEE_LOG}")

    def violated(self, reason: str) -> NeuronError:
        """The error for an app that violated its interface."""
        return APP_ERROR.error(f"{self.app} violated {self.interface}: it {reason}")

    def not_imported(self, error: BaseException) -> NeuronError:
        """The error for an import that failed."""
        self.log_error("cannot be imported", error)
        return APP_IMPORT_FAILED.error(
            f"the app {self.app!r} cannot be imported: {type(error).__name__}; {_SEE_LOG}"
        )

    def not_an_app(self, reason: str) -> NeuronError:
        """The error for an imported object that is not an app of this kind."""
        return APP_IMPORT_FAILED.error(reason)

    def not_started(self) -> NeuronError:
        """The error for a startup that failed."""
        return APP_STARTUP_FAILED.error(
            f"the startup of {self.app} failed; its worker's log has the reason, the next call tries again"
        )

    def timed_out(self) -> NeuronError:
        """The error for a call that exceeded its time limit."""
        return TIMEOUT.error(
            f"{self.app} did not answer completely within {self.timeout_s:g} s; "
            "raise timeout, or ask for less"
        )

    def too_large(self) -> NeuronError:
        """The error for a body that exceeds the size limit."""
        return RESPONSE_TOO_LARGE.error(
            f"{self.app} answered with more than {self.max_response_bytes} bytes; "
            "raise max_response_bytes, or ask for less"
        )

    def too_many_redirects(self) -> NeuronError:
        """The error for too many redirects in a row."""
        return TOO_MANY_REDIRECTS.error(
            f"{self.app} redirected more than {self.max_redirects} times in a row; "
            "raise max_redirects, unless it is a loop"
        )

    def log_info(self, text: str) -> None:
        """Log what is not an error, but may be unintended."""
        _log.info("%s %s", self.app, text)

    def log_error(self, what: str, error: BaseException) -> None:
        """Log an exception of the app with its traceback."""
        self.log_text(what, "".join(traceback.format_exception(error)))

    def log_text(self, what: str, text: str) -> None:
        """Log a text of the app as an error."""
        _log.error("%s %s:\n%s", self.app, what, self.secrets.redact(text).rstrip())
