"""The app behind a Neuron: an object, or an import string that is resolved on first use."""

from __future__ import annotations

import re
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.interfaces import Interface

_NAMES: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_IMPORT_STRING: Final = re.compile(rf"{_NAMES}:{_NAMES}")


def check_app(app: object, interface: Interface) -> None:
    """Accept an app of this interface, or an import string; what a string names is looked at on first use.

    Raises:
        TypeError: It is neither.
        ValueError: It is a string that names nothing.
    """
    if not isinstance(app, str):
        if misfit := interface.misfit(app, label(app)):
            raise TypeError(f"app: {misfit}")
    elif not _IMPORT_STRING.fullmatch(app):
        raise ValueError(f"app={app!r}: an import string such as 'package.module:app' is needed")


def label(app: object) -> str:
    """Name an app without its ``repr``, which may show anything."""
    if isinstance(app, str):
        return app
    named = app if hasattr(app, "__qualname__") else type(app)
    return f"{named.__module__}.{named.__qualname__}"


class Application:
    """Hands out the app.

    Args:
        app: The app, or its import string, already checked.
        interface: What the app must be.
        failures: Words what goes wrong.
    """

    def __init__(self, app: Any, interface: Interface, failures: Failures) -> None:
        self._interface = interface
        self._failures = failures
        self._import_string = app if isinstance(app, str) else None
        self._loaded = None if isinstance(app, str) else app

    @property
    def is_loaded(self) -> bool:
        """Whether `load` has nothing left to do."""
        return self._loaded is not None

    def load(self) -> Any:
        """Return the app, imported if need be. An import may block: call this in a thread then.

        Raises:
            NeuronError: It cannot be imported, or is no app; the next call tries again.
        """
        if self._loaded is None and self._import_string is not None:
            app = self._import(self._import_string)
            if misfit := self._interface.misfit(app, self._import_string):
                raise self._failures.no_app(misfit)
            self._loaded = app
        return self._loaded

    def _import(self, import_string: str) -> Any:
        module, _, path = import_string.partition(":")
        try:
            return attrgetter(path)(import_module(module))
        except BaseException as error:  # noqa: BLE001 - a module may do anything, even exit
            failure = self._failures.not_imported(error)
        # Raised out here, so that it does not hold the other exception.
        raise failure
