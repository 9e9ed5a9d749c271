"""`cosmo hub`: the hub as a command of `cosmo`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cosmo_core import SynapseError
from cosmo_core.plugins import PluginManager
from cosmo_synapse_zmq.command import hub as command

if TYPE_CHECKING:
    from tests.conftest import Connect, Spawn

RUN = "from cosmo_synapse_zmq.command import hub; hub()"


def test_the_command_is_discovered() -> None:
    assert PluginManager.discover().factory("cosmo.commands", "hub") is command


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
async def test_it_prints_its_address_and_stops_on_a_signal(
    spawn: Spawn, connect: Connect, end: signal.Signals
) -> None:
    process = await spawn("-c", RUN, "zmq://127.0.0.1:0", "--json")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        url = json.loads(await process.stdout.readline())["url"]
    await (await connect(url)).close()
    process.send_signal(end)
    async with asyncio.timeout(5):
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


def test_the_error_for_a_port_in_use_suggests_another_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"zmq://127.0.0.1:{other.getsockname()[1]}"
        result = CliRunner().invoke(command, [url])
    assert isinstance(result.exception, SynapseError)
    assert str(result.exception).startswith(f"cannot start a hub at {url}: Address already in use")
    assert "choose another port" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zmq://0.0.0.0:0"], "is not on loopback"),
        (["http://127.0.0.1:0"], "invalid URL of a hub"),
        (["zmq://127.0.0.1:0", "--key-file", "a", "--clients", "/no/such/folder"], "is not a folder"),
    ],
)
def test_an_invalid_option_raises_synapse_error(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, SynapseError)
    assert message in str(result.exception)
    assert "another port" not in str(result.exception)


def test_a_key_without_clients_is_a_usage_error() -> None:
    result = CliRunner().invoke(command, ["zmq://127.0.0.1:0", "--key-file", "a"])
    assert result.exit_code == 2
    assert "--key-file and --clients must be given together" in result.stderr


def test_the_default_url_is_cosmo_synapse() -> None:
    result = CliRunner().invoke(command, [], env={"COSMO_SYNAPSE": "http://127.0.0.1:0"})
    assert "invalid URL of a hub" in str(result.exception)


@pytest.mark.parametrize("lease", ["nan", "inf", "1e300", "0", "-1"])
def test_a_lease_out_of_range_is_a_usage_error(lease: str) -> None:
    result = CliRunner().invoke(command, ["zmq://127.0.0.1:0", "--lease", lease])
    assert result.exit_code == 2
    assert "lease" in result.stderr
