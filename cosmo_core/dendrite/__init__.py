"""The Dendrite: hosts Axons, announces them, dispatches TASKs and follows them."""

from cosmo_core.dendrite.dendrite import Dendrite as Dendrite
