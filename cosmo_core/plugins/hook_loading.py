"""Loading the installed hook plugins, so that a broken one stops nobody and is not hidden."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from cosmo_core.errors import PluginError, PluginLoadError
from cosmo_core.plugins.factories import HOOK_GROUP
from cosmo_core.plugins.switches import STRICT

if TYPE_CHECKING:
    from cosmo_core.plugins.factories import Entry, Factories
    from cosmo_core.plugins.hooks import HookRegistry

_log = logging.getLogger("cosmo_core.plugins")


class HookLoader:
    """Loads the group ``cosmo.hooks`` into a registry, once.

    Args:
        factories: The installed entry points.
        registry: Where the plugins go.
        strict: Whether one that cannot be used is an error.
    """

    def __init__(self, factories: Factories, registry: HookRegistry, *, strict: bool) -> None:
        self._factories = factories
        self._registry = registry
        self._strict = strict
        self._errors: list[PluginError] = []
        self._done = False
        self._lock = threading.RLock()

    def load(self) -> None:
        """Load what is not loaded yet.

        Raises:
            PluginError: A plugin cannot be used, and the loader is strict.
        """
        # Two event loops in two threads may start their first Dendrites at once.
        with self._lock:
            if not self._done:
                self._done = True
                for name in sorted(self._factories.claims(HOOK_GROUP)):
                    self._load_name(name)
        if self._strict and self._errors:
            listed = "\n".join(f"- {error}" for error in self._errors)
            message = f"{STRICT} is set, and these hook plugins cannot be used:\n{listed}"
            raise PluginError(message) from ExceptionGroup("hook plugins", self._errors)

    def _load_name(self, name: str) -> None:
        try:
            entry = self._factories.choose(HOOK_GROUP, name)
            self._load_entry(entry)
        except PluginError as error:
            self._errors.append(error)
            _log.warning("a hook plugin is skipped: %s", error, exc_info=error.__cause__)

    def _load_entry(self, entry: Entry) -> None:
        plugin = self._factories.load(entry)
        try:
            self._registry.register(
                plugin, entry.name, distribution=entry.distribution, version=entry.version
            )
        except PluginError as error:
            self._factories.note(entry, error)
            raise
        except Exception as error:
            failure = PluginLoadError(f"{entry} cannot be registered: {type(error).__name__}: {error}")
            self._factories.note(entry, failure)
            raise failure from error
