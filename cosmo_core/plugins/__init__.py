"""The plugin system: factories that are found by name, and hooks.

A hook plugin marks functions with `hookimpl`; `cosmo_core.plugins.specs` is the manual of the hooks.

The rest of the core imports it on use: a program that only makes Signals needs neither pluggy nor the rest.
"""

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
