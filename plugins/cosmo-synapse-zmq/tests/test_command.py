"""``python -m cosmo_synapse_zmq``: a standalone hub, and keys."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cosmo_synapse_zmq.__main__ import main

if TYPE_CHECKING:
    from tests.conftest import Connect, RunningHub, Spawn

HUB = ("-m", "cosmo_synapse_zmq", "hub")


async def started(process: Process) -> str:
    """Return the URL that a hub prints."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
    assert line.startswith("hub at ")
    return line.removeprefix("hub at ").strip()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
async def test_a_hub_prints_its_address_and_stops_on_a_signal(
    spawn: Spawn, connect: Connect, end: signal.Signals
) -> None:
    process = await spawn(*HUB, "zmq://127.0.0.1:0")
    url = await started(process)
    assert not url.endswith(":0")
    await (await connect(url)).close()
    process.send_signal(end)
    async with asyncio.timeout(5):
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


async def test_a_port_in_use_gives_one_line_and_exit_code_1(spawn: Spawn, hub: RunningHub) -> None:
    process = await spawn(*HUB, hub.url)
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.decode().startswith(f"cannot start a hub at {hub.url}: Address already in use")
    assert err.count(b"\n") == 1


async def test_a_hub_with_keys_accepts_a_peer_with_a_known_key(
    spawn: Spawn, connect: Connect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", str(tmp_path), "hub"]) == 0
    assert main(["keys", str(tmp_path / "clients"), "worker"]) == 0
    secret = tmp_path / "clients" / "worker.key_secret"
    assert f"{secret}: keep it secret" in capsys.readouterr().out
    secret = secret.rename(tmp_path / "worker.key_secret")
    options = ("--key-file", tmp_path / "hub.key_secret", "--clients", tmp_path / "clients")
    url = await started(await spawn(*HUB, "zmq://127.0.0.1:0", *options))
    await connect(url, key_file=str(secret), server_key=str(tmp_path / "hub.key"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hub", "zmq://0.0.0.0:0"], "is not on loopback"),
        (["hub", "http://127.0.0.1:0"], "invalid URL of a hub"),
        (["hub", "zmq://127.0.0.1:0", "--key-file", "a"], "must be given together"),
        (["hub", "zmq://127.0.0.1:0", "--key-file", "a", "--clients", "/no/such/folder"], "is not a folder"),
        (["hub", "zmq://127.0.0.1:0", "--lease", "nan"], "lease_s is a number of seconds above 0"),
        (["hub", "zmq://127.0.0.1:0", "--lease", "1e300"], "lease_s is a number of seconds above 0"),
        (["keys", "/dev/null/folder", "a"], "cannot write keys"),
        (["keys", "/dev/null/folder", "../evil"], "is not a valid name of a key"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
