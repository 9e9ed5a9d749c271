"""The settings of a Context."""

from cosmo_context import AutomationMode, ContextConfig, make_config

__all__ = ["AutomationMode", "ContextConfig", "make_config"]
