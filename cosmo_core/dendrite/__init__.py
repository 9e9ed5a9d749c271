"""The Dendrite: hosts Axons, announces them, dispatches work, and follows it."""

from cosmo_core.dendrite.core import Dendrite
from cosmo_core.dendrite.dispatch import TaskOptions
from cosmo_core.dendrite.view import NeuronRecord

__all__ = ["Dendrite", "NeuronRecord", "TaskOptions"]
