"""Entry points of the installed distributions: reading them, and importing the objects that they name.

The only module that imports importlib_metadata, and only on first use: reading entry points costs more than
importing the rest of the core.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs

from cosmo_core.errors import PluginIncompatibleError, PluginLoadError
from cosmo_core.plugins.advice import REQUIRED, from_clone
from cosmo_core.plugins.report import PluginRecord
from cosmo_core.plugins.specs import COSMO_API
from cosmo_core.plugins.switches import CORE, canonical

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint, IDistribution

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
SUPPORTED_APIS: Final = frozenset({COSMO_API})


@attrs.frozen
class Entry:
    """An entry point: the claim of one distribution on one name of one group."""

    group: str
    name: str
    distribution: str
    version: str
    point: EntryPoint = attrs.field(eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.group} {self.name!r} of {self.owner}"

    @property
    def owner(self) -> str:
        """The distribution and its version, for display."""
        return f"{self.distribution} {self.version}"

    @property
    def package(self) -> str:
        """The top-level package that the entry point names.

        Raises:
            ValueError: The value of the entry point is malformed.
        """
        return self.point.module.partition(".")[0]

    def requirements(self) -> list[str]:
        """Return the requirements of the distribution, without those of its extras."""
        declared = (self.point.dist.requires if self.point.dist else None) or []
        return [text for text in declared if not re.search(r"\bextra\s*==", text)]

    def absent_requirements(self) -> list[str]:
        """Return the requirements of which no version is installed."""
        return [text for text in self.requirements() if not _is_installed(required_name(text))]


@attrs.frozen
class Installed:
    """The entry points of the installed distributions.

    Attributes:
        entries: The entry points of this project's groups.
        unreadable: One record per distribution whose metadata cannot be read.
    """

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[PluginRecord, ...] = ()


# --- reading ----------------------------------------------------------------------------------------


def read_installed(path: Sequence[str] | None = None, name: str | None = None) -> Installed:
    """Read the entry points of this project's groups without importing what they name.

    If a distribution is found twice, such as an editable install and the remains of an older one, the first
    copy counts.

    Args:
        path: The directories to search; `sys.path` by default.
        name: The only distribution to read; every one by default.
    """
    import importlib_metadata

    claimed: dict[str, list[Entry]] = {}
    unreadable = []
    wanted = {key: value for key, value in (("path", path), ("name", name)) if value is not None}
    # importlib_metadata.entry_points() would raise if a single distribution anywhere is corrupt.
    for dist in importlib_metadata.distributions(**wanted):
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


read_core: Final = partial(read_installed, name=CORE)
"""Reads the entry points of the core's own distribution."""


def _unreadable(dist: IDistribution, error: Exception) -> PluginRecord:
    cause = f"its entry points cannot be read: {type(error).__name__}: {error}; reinstall it"
    try:
        return PluginRecord("*", "*", dist.name, dist.version, "failed", cause)
    except Exception:  # noqa: BLE001 - its metadata is broken too: name its folder
        return PluginRecord("*", "*", f"something in {dist.locate_file('')}", None, "failed", cause)


def _is_installed(distribution: str) -> bool:
    import importlib_metadata

    return any(True for _ in importlib_metadata.distributions(name=distribution))


# --- importing --------------------------------------------------------------------------------------


def import_object(entry: Entry) -> Any:
    """Import the object that an entry point names.

    Raises:
        PluginIncompatibleError: The plugin is written for another version of the plugin interface.
        PluginLoadError: The import failed; the cause is attached.
    """
    try:
        # The package first: for another plugin interface the error says so, whatever else would fail.
        _check_api(entry, import_module(entry.package))
        return entry.point.load()
    except PluginIncompatibleError:
        raise
    except KeyboardInterrupt:
        raise
    # Also SystemExit: a module that calls sys.exit() when it is imported is a broken plugin.
    except BaseException as error:
        raise PluginLoadError(f"{entry} cannot be imported: {_explain(entry, error)}") from error


def _check_api(entry: Entry, package: ModuleType) -> None:
    declared = getattr(package, "COSMO_API", 1)
    if type(declared) is not int:
        raise PluginIncompatibleError(
            f"{entry}: COSMO_API in {package.__name__} must be an integer, got {declared!r}; "
            f"upgrade {entry.distribution}, or tell its author"
        )
    if declared not in SUPPORTED_APIS:
        older = "cosmo-core" if declared > max(SUPPORTED_APIS) else entry.distribution
        supported = ", ".join(map(str, sorted(SUPPORTED_APIS)))
        raise PluginIncompatibleError(
            f"{entry} is written for plugin interface {declared}, this cosmo-core supports {supported}: "
            f"upgrade {older}"
        )


def _explain(entry: Entry, error: BaseException) -> str:
    reason = f"{type(error).__name__}: {error}"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return reason
    missing = error.name.partition(".")[0]
    if missing == entry.package:
        return f"{reason}, a part of the plugin itself: reinstall {entry.distribution}"
    return f"{reason}; {_missing_dependency(entry, missing)}"


def _missing_dependency(entry: Entry, module: str) -> str:
    """Return the error text that names the requirement for a missing module, as far as metadata tells."""
    namesakes = [text for text in entry.requirements() if required_name(text) == canonical(module)]
    # A requirement with a marker may be absent on purpose, unless it is the missing one.
    absent = [text for text in entry.absent_requirements() if ";" not in text or text in namesakes]
    if absent:
        return f"{entry.distribution} requires {_listed(absent)}, not installed: {_install(entry, absent)}"
    if namesakes:
        return (
            f"{entry.distribution} requires {_listed(namesakes)}, which is installed without that module: "
            f"{_install(entry, namesakes, '--upgrade ')}"
        )
    return (
        f"{entry.distribution} does not declare a requirement that provides {module!r}: install one, "
        "and report it to the author of the package that imports it"
    )


def _listed(requirements: list[str]) -> str:
    # Without a marker, and without a URL: it may hold credentials.
    return ", ".join(re.split("[;@]", text, maxsplit=1)[0].strip() for text in requirements)


def _install(entry: Entry, requirements: list[str], options: str = "") -> str:
    if any("@" in text for text in requirements):
        # An index may have an unrelated package under the name of one that is required by its URL.
        return f"reinstall {entry.distribution}"
    ours = [name for text in requirements if (name := required_name(text)) in REQUIRED]
    others = [f'"{_listed([text])}"' for text in requirements if required_name(text) not in REQUIRED]
    remedies = [from_clone(*ours)] if ours else []
    if others:
        remedies.append(f"pip install {options}{' '.join(others)}")
    return "; then ".join(remedies)


def required_name(requirement: str) -> str:
    """Return the distribution that a requirement such as ``httpx[http2]>=0.28`` names."""
    return canonical(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])
