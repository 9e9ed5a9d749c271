"""From a URL to a Synapse: what ``connect_synapse("zmq://…")`` calls."""

from __future__ import annotations

from typing import Any

from cosmo_core import SynapseError
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.keys import PeerKeys
from cosmo_synapse_zmq.synapse import ZmqSynapse


def from_url(
    url: str,
    *,
    key_file: str | None = None,
    server_key: str | None = None,
    **options: Any,
) -> ZmqSynapse:
    """Return the Synapse for ``zmq://host:port`` or ``zmq+ipc://path``.

    Args:
        url: Where the hub is. ``zmq+ipc://path?hub=auto`` carries one in this process if there is none.
        key_file: The file with this peer's secret key.
        server_key: The hub's public key, or the file that has it.
        **options: As for `ZmqSynapse`.

    Raises:
        SynapseError: The URL is none of those, keys cannot be read, or are missing where they are required.
    """
    if (key_file is None) is not (server_key is None):
        raise SynapseError("key_file and server_key go together: whose key this is, and the hub's")
    keys = None if key_file is None or server_key is None else PeerKeys.load(key_file, server_key)
    return ZmqSynapse(Address.parse(url), keys=keys, **options)
