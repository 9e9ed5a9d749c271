"""``cosmo hub``: a standalone hub, as a command of `cosmo`. Needs click, which cosmo-core-cli installs."""

from __future__ import annotations

import asyncio
import errno
import json

import click
import zmq

from cosmo_core import SynapseError
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub, serve_until_signal
from cosmo_synapse_zmq.keys import HubKeys


@click.command()
@click.argument("url", default="zmq://127.0.0.1:7071", envvar="COSMO_SYNAPSE")
@click.option("--key-file", type=click.Path(), help="The hub's secret key; required off loopback.")
@click.option("--clients", type=click.Path(), help="The folder with the public keys of accepted peers.")
@click.option("--insecure", is_flag=True, help="Listen off loopback without keys.")
@click.option(
    "--lease",
    "lease_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Time after which a peer that is gone counts as lost.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON, for programs.")
def hub(
    url: str, key_file: str | None, clients: str | None, insecure: bool, lease_s: float, as_json: bool
) -> None:
    """Run a hub for zmq:// between programs, until SIGTERM or Ctrl-C.

    URL is zmq://host:port, where port 0 means any free port, or zmq+ipc://path. The default is COSMO_SYNAPSE,
    or zmq://127.0.0.1:7071. The hub prints its address once it listens.
    """
    if (key_file is None) is not (clients is None):
        raise click.UsageError(
            "--key-file and --clients must be given together: the hub's key, and the accepted peers."
        )
    keys = None if key_file is None or clients is None else HubKeys.load(key_file, clients)
    try:
        running = Hub(Address.parse(url), keys=keys, insecure=insecure, lease_s=lease_s)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except SynapseError as error:
        raise SynapseError(str(error).replace("insecure=True", "--insecure")) from error

    def announce(address: Address) -> None:
        click.echo(json.dumps({"url": str(address)}) if as_json else f"hub at {address}")

    try:
        asyncio.run(serve_until_signal(running, announce))
    except SynapseError as error:
        raise _with_remedy(error) from error


def _with_remedy(error: SynapseError) -> SynapseError:
    cause = error.__context__
    if not isinstance(cause, zmq.ZMQError) or cause.errno != errno.EADDRINUSE:
        return error
    return SynapseError(
        f"{error}; if a hub is running there, use it, or choose another port, such as 0 for any free port"
    )
