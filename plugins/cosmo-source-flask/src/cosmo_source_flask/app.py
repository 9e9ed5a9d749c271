"""The app of a Neuron: the check of its interface, and the import of an app given as an import string."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from operator import attrgetter
from typing import Any, Final, NamedTuple

from cosmo_source_flask.failures import Failures

Message = MutableMapping[str, Any]
"""An ASGI event, or an ASGI scope."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

_NAMES: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_IMPORT_STRING: Final = re.compile(rf"{_NAMES}:{_NAMES}")


class Interface(NamedTuple):
    """The signature that a server calls an app with.

    Attributes:
        name: WSGI or ASGI.
        arguments: The names of the app's arguments.
        source: The name of the Neuron source for such apps.
    """

    name: str
    arguments: tuple[str, ...]
    source: str

    def mismatch(self, app: object, label: str) -> str | None:
        """Return why an object cannot be called this way, as far as its signature tells; else None."""
        if callable(app) and self._accepts_arguments(app) and not (self is WSGI and _is_async(app)):
            return None
        other = ASGI if self is WSGI else WSGI
        return (
            f"{label} cannot be called with ({', '.join(self.arguments)}), as {self.name} requires; "
            f"for an app of {other.name} use source={other.source!r}"
        )

    def _accepts_arguments(self, app: Callable[..., Any]) -> bool:
        try:
            inspect.signature(app).bind(*self.arguments)
        except ValueError:
            return True  # a callable written in C may have no signature
        except TypeError:
            return False
        return True


WSGI: Final = Interface("WSGI", ("environ", "start_response"), "flask")
ASGI: Final = Interface("ASGI", ("scope", "receive", "send"), "asgi")


def _is_async(app: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def check_app(app: object, interface: Interface) -> None:
    """Accept an app of this interface, or a well-formed import string, which is not imported here.

    Raises:
        TypeError: It is neither.
        ValueError: It is a string, but not an import string.
    """
    if not isinstance(app, str):
        if reason := interface.mismatch(app, label(app)):
            raise TypeError(f"app: {reason}")
    elif not _IMPORT_STRING.fullmatch(app):
        raise ValueError(f"app={app!r}: an import string such as 'package.module:app' is needed")


def label(app: object) -> str:
    """Return a name for an app. Its ``repr`` is not used: that may show secrets."""
    if isinstance(app, str):
        return app
    named = app if hasattr(app, "__qualname__") else type(app)
    return f"{named.__module__}.{named.__qualname__}"


class AppLoader:
    """Imports the app once, on first use.

    Args:
        app: The app, or its import string, already checked by `check_app`.
        interface: The interface that an imported app must have.
        failures: Builds the errors.
    """

    def __init__(self, app: Any, interface: Interface, failures: Failures) -> None:
        self._interface = interface
        self._failures = failures
        self._import_string = app if isinstance(app, str) else None
        self._loaded = None if isinstance(app, str) else app

    @property
    def is_loaded(self) -> bool:
        """Whether `load` returns without importing."""
        return self._loaded is not None

    def load(self) -> Any:
        """Return the app. The first call may import it, which may block: run it in a thread then.

        Raises:
            NeuronError: The import failed, or the object is not an app; the next call tries again.
        """
        if self._loaded is None and self._import_string is not None:
            app = self._import(self._import_string)
            if reason := self._interface.mismatch(app, self._import_string):
                raise self._failures.not_an_app(reason)
            self._loaded = app
        return self._loaded

    def _import(self, import_string: str) -> Any:
        module, _, path = import_string.partition(":")
        try:
            return attrgetter(path)(import_module(module))
        except BaseException as error:  # noqa: BLE001 - importing runs any code, which may even exit
            failure = self._failures.not_imported(error)
        # Raised outside the except block, so that __context__ does not keep the other exception.
        raise failure
