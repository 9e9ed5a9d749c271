"""The ZeroMQ Synapse: a bus across processes, through one hub."""

from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub
from cosmo_synapse_zmq.keys import HubKeys, PeerKeys, make_keys
from cosmo_synapse_zmq.synapse import ZmqSynapse, from_url

COSMO_API = 1

__all__ = ["COSMO_API", "Address", "Hub", "HubKeys", "PeerKeys", "ZmqSynapse", "from_url", "make_keys"]
