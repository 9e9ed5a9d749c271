"""The Dendrite: hosts Axons, announces them, dispatches work, and follows it."""

from cosmo_core.dendrite.auction import Bid
from cosmo_core.dendrite.core import Dendrite
from cosmo_core.dendrite.dispatch import TaskOptions
from cosmo_core.dendrite.view import NeuronRecord
from cosmo_core.dendrite.watcher import Watcher

__all__ = ["Bid", "Dendrite", "NeuronRecord", "TaskOptions", "Watcher"]
