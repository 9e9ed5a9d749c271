"""The variables of a prompt."""

from cosmo_context import DynamicVariableRegistry, VariableResolveError

__all__ = ["DynamicVariableRegistry", "VariableResolveError"]
