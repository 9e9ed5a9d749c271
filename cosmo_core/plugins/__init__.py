"""The plugin system: factories that are found by name, and hooks.

A hook plugin marks functions with `hookimpl`; `cosmo_core.plugins.specs` is the manual of the hooks.
"""

from cosmo_core.plugins.hook_calls import Contribution
from cosmo_core.plugins.manager import PluginManager, default_manager
from cosmo_core.plugins.report import PluginRecord, PluginReport
from cosmo_core.plugins.shapes import (
    Direction,
    Dropped,
    ErrorInfo,
    Forward,
    NeuronWrapper,
    SignalEvent,
    SignalMiddleware,
    SignalObserver,
)
from cosmo_core.plugins.specs import COSMO_API, hookimpl

__all__ = [
    "COSMO_API",
    "Contribution",
    "Direction",
    "Dropped",
    "ErrorInfo",
    "Forward",
    "NeuronWrapper",
    "PluginManager",
    "PluginRecord",
    "PluginReport",
    "SignalEvent",
    "SignalMiddleware",
    "SignalObserver",
    "default_manager",
    "hookimpl",
]
