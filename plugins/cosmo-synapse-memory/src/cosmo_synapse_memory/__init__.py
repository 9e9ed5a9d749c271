"""The in-process Synapse: a bus without a socket."""

from cosmo_synapse_memory.synapse import MemoryBus, MemorySynapse, from_url

COSMO_API = 1

__all__ = ["COSMO_API", "MemoryBus", "MemorySynapse", "from_url"]
