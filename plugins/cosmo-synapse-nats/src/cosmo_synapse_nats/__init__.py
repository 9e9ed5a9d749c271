"""The NATS Synapse: a bus for more than one machine."""

from cosmo_synapse_nats.options import Durability, Servers
from cosmo_synapse_nats.synapse import NatsSynapse
from cosmo_synapse_nats.url import from_url

COSMO_API = 1

__all__ = ["COSMO_API", "Durability", "NatsSynapse", "Servers", "from_url"]
