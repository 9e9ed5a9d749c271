"""The Context."""

from cosmo_context import Context, ContextError

__all__ = ["Context", "ContextError"]
