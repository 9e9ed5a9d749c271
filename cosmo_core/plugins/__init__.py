"""The plugin system: factories that are found by name, and hooks.

A hook plugin marks functions with `hookimpl`; `cosmo_core.plugins.specs` is the manual of the hooks.

The names are imported on first use: a program that only makes Signals needs neither pluggy nor the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cosmo_core.plugins.hooks import Contribution as Contribution
    from cosmo_core.plugins.manager import PluginManager as PluginManager
    from cosmo_core.plugins.manager import default_manager as default_manager
    from cosmo_core.plugins.report import PluginRecord as PluginRecord
    from cosmo_core.plugins.report import PluginReport as PluginReport
    from cosmo_core.plugins.shapes import Direction as Direction
    from cosmo_core.plugins.shapes import Dropped as Dropped
    from cosmo_core.plugins.shapes import ErrorInfo as ErrorInfo
    from cosmo_core.plugins.shapes import Forward as Forward
    from cosmo_core.plugins.shapes import NeuronWrapper as NeuronWrapper
    from cosmo_core.plugins.shapes import SignalEvent as SignalEvent
    from cosmo_core.plugins.shapes import SignalMiddleware as SignalMiddleware
    from cosmo_core.plugins.shapes import SignalObserver as SignalObserver
    from cosmo_core.plugins.specs import COSMO_API as COSMO_API
    from cosmo_core.plugins.specs import hookimpl as hookimpl

_NAMES: Final = {
    "hooks": ("Contribution",),
    "manager": ("PluginManager", "default_manager"),
    "report": ("PluginRecord", "PluginReport"),
    "shapes": (
        *("Direction", "Dropped", "ErrorInfo", "Forward", "NeuronWrapper"),
        *("SignalEvent", "SignalMiddleware", "SignalObserver"),
    ),
    "specs": ("COSMO_API", "hookimpl"),
}
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
