"""``python -m cosmo_synapse_zmq``: run a standalone hub, or make keys for a hub and its peers."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from cosmo_core import SynapseError
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub, serve_until_signal
from cosmo_synapse_zmq.keys import HubKeys, make_keys


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cosmo_synapse_zmq", description=__doc__)
    commands = parser.add_subparsers(required=True)
    hub = commands.add_parser("hub", help="run a hub until it is interrupted")
    hub.add_argument(
        "url",
        help="where to listen: zmq://127.0.0.1:7071 or zmq+ipc:///run/cosmo.sock; port 0 means any free port",
    )
    hub.add_argument("--key-file", help="the hub's secret key; required off loopback")
    hub.add_argument("--clients", help="the folder with the public keys of accepted peers")
    hub.add_argument("--insecure", action="store_true", help="listen off loopback without keys")
    hub.add_argument(
        "--lease", type=float, default=3.0, help="seconds after which a peer that is gone counts as lost"
    )
    hub.set_defaults(run=_hub)
    keys = commands.add_parser("keys", help="make a pair of keys")
    keys.add_argument("folder", type=Path)
    keys.add_argument("name")
    keys.set_defaults(run=_keys)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (SynapseError, ValueError) as error:
        _print(str(error).replace("insecure=True", "--insecure"), sys.stderr)
        return 1
    return 0


def _hub(options: argparse.Namespace) -> None:
    if (options.key_file is None) is not (options.clients is None):
        raise SynapseError(
            "--key-file and --clients must be given together: the hub's key, and the accepted peers"
        )
    keys = None if options.key_file is None else HubKeys.load(options.key_file, options.clients)
    hub = Hub(Address.parse(options.url), keys=keys, insecure=options.insecure, lease_s=options.lease)
    asyncio.run(serve_until_signal(hub, lambda address: _print(f"hub at {address}")))


def _keys(options: argparse.Namespace) -> None:
    public, secret = make_keys(options.folder, options.name)
    _print(f"{public}: copy it to the other side\n{secret}: keep it secret")


def _print(text: str, where: TextIO | None = None) -> None:
    print(text, file=where, flush=True)


if __name__ == "__main__":
    sys.exit(main())
