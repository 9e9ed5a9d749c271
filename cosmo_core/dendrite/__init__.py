"""The Dendrite: hosts Axons, announces them, dispatches work, and follows it."""

from cosmo_core.dendrite.dendrite import Dendrite
from cosmo_core.dendrite.discovery.directory import NeuronRecord
from cosmo_core.dendrite.dispatch.dispatcher import TaskOptions
from cosmo_core.extensions.auctions.auction import Bid
from cosmo_core.extensions.watching.watcher import Watcher

__all__ = ["Bid", "Dendrite", "NeuronRecord", "TaskOptions", "Watcher"]
