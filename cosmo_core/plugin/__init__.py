"""Plugins: factories found by name, and hooks that every plugin may answer.

To write a hook plugin, mark functions with `hookimpl`; `cosmo_core.plugin.specs` is the manual.
"""

from cosmo_core.plugin.composition import Contribution
from cosmo_core.plugin.manager import PluginManager, default_manager
from cosmo_core.plugin.report import PluginRecord, PluginReport
from cosmo_core.plugin.shapes import (
    Direction,
    Dropped,
    ErrorInfo,
    Forward,
    NeuronWrapper,
    SignalEvent,
    SignalMiddleware,
    SignalObserver,
)
from cosmo_core.plugin.specs import COSMO_API, hookimpl

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
