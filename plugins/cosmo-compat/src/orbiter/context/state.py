"""The values of a Context."""

from cosmo_context import ContextState

__all__ = ["ContextState"]
