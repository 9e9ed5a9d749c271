"""Loads what a first Dendrite would load, once for all processes that are copied from this one."""

from __future__ import annotations

from cosmo_core import Dendrite
from cosmo_synapse_memory import MemorySynapse
from tests.bench.bus import NAMESPACE

Dendrite(synapse=MemorySynapse(), namespace=NAMESPACE).plugins.load_hooks()
