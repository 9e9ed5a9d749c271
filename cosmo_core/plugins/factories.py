"""Factories: plugins that are found by name among the installed entry points and imported on first use.

importlib_metadata is imported on first use only: reading entry points costs more than
importing the rest of the core.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import attrs

from cosmo_core.errors import PluginConflictError, PluginError, UnknownPluginError
from cosmo_core.plugins.advice import conflict, owners, unknown
from cosmo_core.plugins.entry_points import Entry, canonical
from cosmo_core.plugins.loading import load
from cosmo_core.plugins.report import PluginRecord, status_of
from cosmo_core.plugins.switches import CORE, DISABLE, PREFER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from importlib_metadata import IDistribution

    from cosmo_core.plugins.report import Status
    from cosmo_core.plugins.switches import Switches

FACTORY_GROUPS: Final = (
    "cosmo.sources",
    "cosmo.synapses",
    "cosmo.engrams",
    "cosmo.context_neurons",
    "cosmo.commands",
)
HOOK_GROUP: Final = "cosmo.hooks"
EXTENSION_GROUP: Final = "cosmo.extensions"
GROUPS: Final = (*FACTORY_GROUPS, HOOK_GROUP, EXTENSION_GROUP)


@attrs.frozen
class Installed:
    """The entry points of the installed distributions.

    Attributes:
        entries: The entry points of this project's groups.
        unreadable: One record per distribution whose metadata cannot be read.
    """

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[PluginRecord, ...] = ()


def read_installed(path: Sequence[str] | None = None) -> Installed:
    """Read the entry points of this project's groups without importing what they name.

    If a distribution is found twice, such as an editable install and the remains of an older one, the first
    copy counts.

    Args:
        path: The directories to search; `sys.path` when omitted.
    """
    import importlib_metadata

    claimed: dict[str, list[Entry]] = {}
    unreadable = []
    # importlib_metadata.entry_points() would raise if a single distribution anywhere is corrupt.
    for dist in importlib_metadata.distributions(**({} if path is None else {"path": list(path)})):
        try:
            points = [point for point in dist.entry_points if point.group in GROUPS]
            if points:
                entries = [Entry(point.group, point.name, dist.name, dist.version, point) for point in points]
                claimed.setdefault(canonical(dist.name), entries)
        except Exception as error:  # noqa: BLE001 - recorded: the other distributions work
            unreadable.append(_unreadable(dist, error))
    order = {group: place for place, group in enumerate(GROUPS)}
    found = sorted(
        chain(*claimed.values()), key=lambda e: (order[e.group], e.name, canonical(e.distribution))
    )
    return Installed(tuple(found), tuple(unreadable))


def read_core() -> Installed:
    """Read the entry points of the core's own distribution."""
    import importlib_metadata

    try:
        dist = importlib_metadata.distribution(CORE)
    except importlib_metadata.PackageNotFoundError:
        return Installed()
    points = [point for point in dist.entry_points if point.group in GROUPS]
    return Installed(tuple(Entry(point.group, point.name, CORE, dist.version, point) for point in points))


def _unreadable(dist: IDistribution, error: Exception) -> PluginRecord:
    cause = f"its entry points cannot be read: {type(error).__name__}: {error}; reinstall it"
    try:
        return PluginRecord("*", "*", dist.name, dist.version, "failed", cause)
    except Exception:  # noqa: BLE001 - its metadata is broken too: name its folder
        return PluginRecord("*", "*", f"something in {dist.locate_file('')}", None, "failed", cause)


class Factories:
    """The installed entry points by group and name, read on first use and imported on demand.

    Args:
        read: Reads the installed entry points.
        switches: The switches from the environment.
    """

    def __init__(self, read: Callable[[], Installed], switches: Switches) -> None:
        self._read = read
        self._switches = switches
        self._loaded: dict[Entry, Any] = {}
        self._errors: dict[Entry, PluginError] = {}

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
        raise PluginConflictError(conflict(rivals, preferred))

    def load(self, entry: Entry) -> Any:
        """Import the object that an entry names, once.

        A failure is recorded for the report; the next call tries again.

        Raises:
            PluginLoadError: The import failed.
            PluginIncompatibleError: The plugin is written for another version of the plugin interface.
        """
        if entry not in self._loaded:
            try:
                self._loaded[entry] = load(entry)
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
