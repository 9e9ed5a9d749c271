"""The snapshot of a Context."""

from cosmo_context import Checkpoint

__all__ = ["Checkpoint"]
