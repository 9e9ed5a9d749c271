"""The Dendrite: hosts Axons, announces them, dispatches work and follows it."""

from cosmo_core.dendrite.dendrite import Dendrite

__all__ = ["Dendrite"]
