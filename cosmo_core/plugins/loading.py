"""Loaders that import all plugins of a group; a broken plugin is reported and does not affect the others."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from cosmo_core.errors import PluginError, PluginLoadError
from cosmo_core.plugins.entry_points import EXTENSION_GROUP, HOOK_GROUP, Entry
from cosmo_core.plugins.factories import Factories
from cosmo_core.plugins.switches import STRICT

if TYPE_CHECKING:
    from cosmo_core.plugins.hooks import HookRegistry

_log = logging.getLogger("cosmo_core.plugins")


class GroupLoader(ABC):
    """Loads every plugin of an entry-point group, once.

    Args:
        factories: The installed entry points.
        group: The group.
        strict: Whether a plugin that cannot be used is an error.
    """

    def __init__(self, factories: Factories, group: str, *, strict: bool) -> None:
        self._factories = factories
        self._group = group
        self._strict = strict
        self._errors: list[PluginError] = []
        # None until the entry points were read; then the names that are left to load.
        self._pending: list[str] | None = None
        self._lock = threading.RLock()

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

    @abstractmethod
    def _register(self, entry: Entry, plugin: Any) -> None:
        """Register an imported plugin."""


class HookLoader(GroupLoader):
    """Loads the group ``cosmo.hooks`` into a registry."""

    def __init__(self, factories: Factories, registry: HookRegistry, *, strict: bool) -> None:
        super().__init__(factories, HOOK_GROUP, strict=strict)
        self._registry = registry

    def _register(self, entry: Entry, plugin: Any) -> None:
        self._registry.register(plugin, entry.name, distribution=entry.distribution, version=entry.version)


class ExtensionLoader(GroupLoader):
    """Loads the group ``cosmo.extensions``.

    Attributes:
        extensions: The loaded Extension classes, in the order of their names.
    """

    def __init__(self, factories: Factories, *, strict: bool) -> None:
        super().__init__(factories, EXTENSION_GROUP, strict=strict)
        self.extensions: list[Any] = []

    def _register(self, entry: Entry, plugin: Any) -> None:
        if not callable(plugin) or getattr(plugin, "name", None) != entry.name:
            raise PluginError(f"{entry} is not an Extension class with the name {entry.name!r}: {plugin!r}")
        self.extensions.append(plugin)
