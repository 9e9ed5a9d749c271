"""Everything that can go wrong at the app, as the `NeuronError` that says so."""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import NeuronError
from cosmo_source_flask.application import label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_source_flask.options import Options

# A shorter header value is not a secret, and redacting it would garble a traceback.
_SHORTEST_SECRET: Final = 8
_SEPARATOR: Final = re.compile(r"[\s;,=]+")

_log = logging.getLogger(__name__)


class BrokenError(Exception):
    """An app does what its interface forbids; the message says what."""


class Failures:
    """Words the failures of one app; its own words go to the log, without the values of ``base_headers``."""

    def __init__(self, options: Options) -> None:
        self._app = label(options.app)
        self._interface = options.interface.name
        self._timeout_s = options.timeout
        self._limit = options.max_response_bytes
        self._max_redirects = options.max_redirects
        self._secrets = _secrets_in(options.base_headers.values())

    def __repr__(self) -> str:
        return f"<Failures of {self._app}>"

    def raised(self, error: BaseException) -> NeuronError:
        """The app raised while it answered; only the type travels."""
        self.log("raised", error)
        return NeuronError(
            f"{self._app} raised {type(error).__name__}; the log of its worker has the traceback",
            code="APP_ERROR",
        )

    def broken(self, reason: str) -> NeuronError:
        """The app's answer is none."""
        return NeuronError(f"{self._app} broke {self._interface}: it {reason}", code="APP_ERROR")

    def not_imported(self, error: BaseException) -> NeuronError:
        """The import string names nothing that can be used."""
        self.log("cannot be imported", error)
        return NeuronError(
            f"the app {self._app!r} cannot be imported: {type(error).__name__}; "
            "the log of its worker has the traceback",
            code="APP_IMPORT_FAILED",
        )

    def no_app(self, misfit: str) -> NeuronError:
        """The import string names something that is no app."""
        return NeuronError(misfit, code="APP_IMPORT_FAILED")

    def not_started(self) -> NeuronError:
        """The app's startup failed."""
        return NeuronError(
            f"the startup of {self._app} failed; the log of its worker says why, the next call tries again",
            code="APP_STARTUP_FAILED",
            recoverable=True,
        )

    def timed_out(self) -> NeuronError:
        """The time limit of the call passed."""
        return NeuronError(
            f"{self._app} did not answer completely within {self._timeout_s:g} s; "
            "raise timeout, or ask for less",
            code="TIMEOUT",
            recoverable=True,
        )

    def too_large(self) -> NeuronError:
        """The body is larger than the Neuron takes."""
        return NeuronError(
            f"{self._app} answered with more than {self._limit} bytes; "
            "raise max_response_bytes, or ask for less",
            code="RESPONSE_TOO_LARGE",
        )

    def too_many_redirects(self) -> NeuronError:
        """One redirect followed another."""
        return NeuronError(
            f"{self._app} redirected more than {self._max_redirects} times in a row; "
            "raise max_redirects, unless it is a loop",
            code="TOO_MANY_REDIRECTS",
        )

    def note(self, what: str) -> None:
        """Log what is no failure, but may not be what was meant."""
        _log.info("%s %s", self._app, what)

    def log(self, what: str, error: BaseException) -> None:
        """Log an exception of the app with its traceback."""
        self.log_text(what, "".join(traceback.format_exception(error)))

    def log_text(self, what: str, words: str) -> None:
        """Log the app's own words."""
        for secret in self._secrets:
            words = words.replace(secret, "[redacted]")
        _log.error("%s %s:\n%s", self._app, what, words.rstrip())


def _secrets_in(values: Iterable[str]) -> list[str]:
    """The values and their words, as an app may show a token without its scheme; the longest first.

    A secret that contains another must not survive in part.
    """
    secrets = {text for value in values for text in (value, *_SEPARATOR.split(value))}
    return sorted((text for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)
