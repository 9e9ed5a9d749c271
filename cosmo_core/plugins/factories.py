"""Factories: the installed entry points by name, imported on first use.

The loader imports all plugins of a group; a broken plugin is reported, and the others work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import attrs

from cosmo_core.errors import PluginConflictError, PluginError, PluginLoadError, UnknownPluginError
from cosmo_core.plugins.advice import unknown
from cosmo_core.plugins.entry_points import Entry, Installed, import_object
from cosmo_core.plugins.report import PluginRecord, Status, status_of
from cosmo_core.plugins.switches import DISABLE, PREFER, STRICT, Switches, canonical

_log = logging.getLogger("cosmo_core.plugins")


@attrs.define(eq=False)
class Factories:
    """The installed entry points by group and name, read on first use and imported on demand.

    Args:
        read: Reads the installed entry points.
        switches: The switches from the environment.
    """

    _read: Callable[[], Installed]
    _switches: Switches
    _loaded: dict[Entry, Any] = attrs.field(factory=dict, init=False)
    _errors: dict[Entry, PluginError] = attrs.field(factory=dict, init=False)

    @cached_property
    def installed(self) -> Installed:
        """All installed entry points, including disabled ones."""
        return self._read()

    def claims(self, group: str) -> dict[str, list[Entry]]:
        """Return the names of a group with the entries that claim each, without the disabled ones."""
        claims: dict[str, list[Entry]] = {}
        for entry in self.installed.entries:
            if entry.group == group and not self._disabled_by(entry):
                claims.setdefault(entry.name, []).append(entry)
        return claims

    def choose(self, group: str, name: str) -> Entry:
        """Return the entry that provides a name.

        Raises:
            UnknownPluginError: No entry provides it, or it is disabled.
            PluginConflictError: Several entries provide it, and the environment does not choose one.
        """
        rivals = self.claims(group).get(name, [])
        if not rivals:
            raise UnknownPluginError(self._absence(group, name))
        if len(rivals) == 1:
            return rivals[0]
        preferred = self._switches.preferred.get(f"{group}:{name}")
        for entry in rivals:
            if preferred and canonical(preferred) == canonical(entry.distribution):
                return entry
        raise PluginConflictError(_conflict_text(rivals, preferred))

    def load(self, entry: Entry) -> Any:
        """Import the object that an entry names, once.

        A failure is recorded for the report; the next call tries again.

        Raises:
            PluginLoadError: The import failed.
            PluginIncompatibleError: The plugin is written for another version of the plugin interface.
        """
        if entry not in self._loaded:
            try:
                self._loaded[entry] = import_object(entry)
            except PluginError as error:
                self.record_error(entry, error)
                raise
            self._errors.pop(entry, None)
        return self._loaded[entry]

    def record_error(self, entry: Entry, error: PluginError) -> None:
        """Record for the report why an entry cannot be used."""
        self._errors[entry] = error

    def describe(self, entry: Entry) -> PluginRecord:
        """Return the record of an entry for the report, without importing it."""
        status, cause = self._status(entry)
        return PluginRecord(entry.group, entry.name, entry.distribution, entry.version, status, cause)

    def _status(self, entry: Entry) -> tuple[Status, str | None]:
        if item := self._disabled_by(entry):
            return "disabled", f"{DISABLE} has {item!r}"
        if error := self._errors.get(entry):
            return status_of(error), str(error)
        if entry in self._loaded:
            return "loaded", None
        try:
            chosen = self.choose(entry.group, entry.name)
        except PluginConflictError as error:
            return "conflict", str(error)
        return ("available", None) if chosen == entry else ("disabled", f"{PREFER} chooses {chosen.owner}")

    def _disabled_by(self, entry: Entry) -> str | None:
        return self._switches.disabled_by(entry.name, entry.distribution)

    def _absence(self, group: str, name: str) -> str:
        for entry in self.installed.entries:
            if (entry.group, entry.name) == (group, name):
                return f"{entry} is disabled: {DISABLE} has {self._disabled_by(entry)!r}"
        claims = self.claims(group).items()
        absence = unknown(group, name, {known: owners(entries) for known, entries in claims})
        unreadable = ", ".join(str(record.distribution) for record in self.installed.unreadable)
        return f"{absence}; cannot be read: {unreadable}" if unreadable else absence


def owners(rivals: Sequence[Entry]) -> str:
    """Return the distributions that claim one name, for display."""
    return " and ".join(entry.owner for entry in rivals)


def _conflict_text(rivals: Sequence[Entry], preferred: str | None) -> str:
    """Return the error text for a name that several distributions claim.

    Args:
        rivals: Their claims.
        preferred: The distribution that the environment variable prefers, if it is not one of them.
    """
    first = rivals[0]
    wrong = f" ({PREFER} names {preferred}, which does not claim it)" if preferred else ""
    return (
        f"{first.group} {first.name!r} is claimed by {owners(rivals)}{wrong}: pip uninstall all but one, "
        f"or choose one with {PREFER}={first.group}:{first.name}={first.distribution}"
    )


# --- loading all plugins of a group -----------------------------------------------------------------


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
