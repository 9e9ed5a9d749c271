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
    from tests.conftest import Join, Spawn

RUN = "from cosmo_synapse_zmq.command import hub; hub()"


def test_cosmo_finds_it() -> None:
    assert PluginManager.discover().factory("cosmo.commands", "hub") is command


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
async def test_it_says_where_it_is_and_ends_in_peace(spawn: Spawn, join: Join, end: signal.Signals) -> None:
    process = await spawn("-c", RUN, "zmq://127.0.0.1:0", "--json")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        url = json.loads(await process.stdout.readline())["url"]
    await (await join(url)).close()
    process.send_signal(end)
    async with asyncio.timeout(5):
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


def test_a_port_in_use_says_what_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"zmq://127.0.0.1:{other.getsockname()[1]}"
        result = CliRunner().invoke(command, [url])
    assert isinstance(result.exception, SynapseError)
    assert str(result.exception).startswith(f"no hub at {url}: Address already in use")
    assert "take another port" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["zmq://0.0.0.0:0"], "is not on loopback"),
        (["http://127.0.0.1:0"], "names no hub"),
        (["zmq://127.0.0.1:0", "--key-file", "a", "--clients", "/no/such/folder"], "is no folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, SynapseError)
    assert said in str(result.exception)
    assert "another port" not in str(result.exception)


def test_a_key_without_clients_is_a_mistake() -> None:
    result = CliRunner().invoke(command, ["zmq://127.0.0.1:0", "--key-file", "a"])
    assert result.exit_code == 2
    assert "--key-file and --clients go together" in result.stderr


def test_cosmos_bus_is_where_it_listens() -> None:
    result = CliRunner().invoke(command, [], env={"COSMO_SYNAPSE": "http://127.0.0.1:0"})
    assert "names no hub" in str(result.exception)
