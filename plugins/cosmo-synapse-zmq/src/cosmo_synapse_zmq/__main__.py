"""``python -m cosmo_synapse_zmq``: a standalone hub, and keys for it and its peers."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from cosmo_core import SynapseError
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub
from cosmo_synapse_zmq.keys import HubKeys, make_keys
from cosmo_synapse_zmq.serving import serve_until_ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cosmo_synapse_zmq", description=__doc__)
    commands = parser.add_subparsers(required=True)
    hub = commands.add_parser("hub", help="carry frames between the peers that connect, until interrupted")
    hub.add_argument(
        "url", help="where to listen: zmq://127.0.0.1:7071, zmq+ipc:///run/cosmo.sock; port 0 is any"
    )
    hub.add_argument("--key-file", help="the hub's secret key; required off loopback")
    hub.add_argument("--clients", help="the folder with the public keys of those to be let in")
    hub.add_argument("--insecure", action="store_true", help="listen off loopback without keys")
    hub.add_argument(
        "--lease", type=float, default=3.0, help="seconds after which a peer that is gone is lost"
    )
    hub.set_defaults(run=_hub)
    keys = commands.add_parser("keys", help="make a pair of keys")
    keys.add_argument("folder", type=Path)
    keys.add_argument("name")
    keys.set_defaults(run=_keys)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except SynapseError as error:
        _say(str(error), sys.stderr)
        return 1
    return 0


def _hub(given: argparse.Namespace) -> None:
    if (given.key_file is None) is not (given.clients is None):
        raise SynapseError("--key-file and --clients go together: the hub's key, and whom it lets in")
    keys = None if given.key_file is None else HubKeys.load(given.key_file, given.clients)
    hub = Hub(Address.parse(given.url), keys=keys, insecure=given.insecure, lease_s=given.lease)
    asyncio.run(serve_until_ended(hub, lambda address: _say(f"hub at {address}")))


def _keys(given: argparse.Namespace) -> None:
    public, secret = make_keys(given.folder, given.name)
    _say(f"{public}: give it to the other side\n{secret}: keep it")


def _say(text: str, where: TextIO | None = None) -> None:
    print(text, file=where, flush=True)


if __name__ == "__main__":
    sys.exit(main())
