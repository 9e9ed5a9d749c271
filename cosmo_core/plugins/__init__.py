"""Plugins: factories found by name, and hooks that every plugin may answer.

To write a hook plugin, mark functions with `hookimpl`; `cosmo_core.plugins.specs` is the manual.
"""

from cosmo_core.plugins.composition import Contribution
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
