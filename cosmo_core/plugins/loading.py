"""Import of the object that an entry point names, and the error texts for an import that fails."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.errors import PluginIncompatibleError, PluginLoadError
from cosmo_core.plugins.advice import REQUIRED, from_clone
from cosmo_core.plugins.entry_points import canonical, required_name
from cosmo_core.plugins.specs import COSMO_API

if TYPE_CHECKING:
    from types import ModuleType

    from cosmo_core.plugins.entry_points import Entry

SUPPORTED_APIS: Final = frozenset({COSMO_API})


def load(entry: Entry) -> Any:
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
    # SystemExit: a module that calls sys.exit() when it is imported is a broken plugin.
    except (Exception, SystemExit) as error:
        raise PluginLoadError(f"{entry} cannot be imported: {_explain(entry, error)}") from error


def _check_api(entry: Entry, package: ModuleType) -> None:
    declared = getattr(package, "COSMO_API", 1)
    if type(declared) is not int:
        raise PluginIncompatibleError(
            f"{entry}: COSMO_API in {package.__name__} must be an integer and is {declared!r}; "
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
