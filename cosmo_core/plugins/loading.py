"""The loader that imports all plugins of a group; a broken plugin is reported, and the others work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import attrs

from cosmo_core.errors import PluginError, PluginLoadError
from cosmo_core.plugins.entry_points import Entry
from cosmo_core.plugins.factories import Factories
from cosmo_core.plugins.switches import STRICT

_log = logging.getLogger("cosmo_core.plugins")


@attrs.define(eq=False)
class GroupLoader:
    """Loads every plugin of an entry-point group, once.

    Args:
        factories: The installed entry points.
        group: The group.
        register: Registers an imported plugin.
        strict: Whether a plugin that cannot be used is an error.
    """

    _factories: Factories
    _group: str
    _register: Callable[[Entry, Any], None]
    _strict: bool
    _errors: list[PluginError] = attrs.field(factory=list, init=False)
    # None until the entry points were read; then the names that are left to load.
    _pending: list[str] | None = attrs.field(default=None, init=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False)

    def load(self) -> None:
        """Load the plugins, if this was not done yet.

        Raises:
            PluginError: A plugin cannot be used, and the loader is strict.
        """
        # Event loops in several threads may start their first Dendrite at the same time.
        with self._lock:
            if self._pending is None:
                self._pending = sorted(self._factories.claims(self._group), reverse=True)
            while self._pending:
                # Taken out first: a plugin that makes a Dendrite when it is imported loads the others.
                name = self._pending.pop()
                try:
                    self._load_name(name)
                except BaseException:
                    self._pending.append(name)
                    raise
        if self._strict and self._errors:
            listed = "\n".join(f"- {error}" for error in self._errors)
            message = f"{STRICT} is set, and these plugins of {self._group} cannot be used:\n{listed}"
            raise PluginError(message) from ExceptionGroup(self._group, self._errors)

    def _load_name(self, name: str) -> None:
        try:
            entry = self._factories.choose(self._group, name)
            self._load_entry(entry)
        except PluginError as error:
            self._errors.append(error)
            _log.warning("a plugin of %s is skipped: %s", self._group, error, exc_info=error.__cause__)

    def _load_entry(self, entry: Entry) -> None:
        plugin = self._factories.load(entry)
        try:
            self._register(entry, plugin)
        except PluginError as error:
            self._factories.record_error(entry, error)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = PluginLoadError(f"{entry} cannot be registered: {type(error).__name__}: {error}")
            self._factories.record_error(entry, failure)
            raise failure from error
