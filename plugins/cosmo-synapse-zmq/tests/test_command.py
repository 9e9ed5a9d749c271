"""``python -m cosmo_synapse_zmq``: a hub of its own, and keys."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cosmo_synapse_zmq.__main__ import main

if TYPE_CHECKING:
    from tests.conftest import Join, RunningHub, Spawn

HUB = ("-m", "cosmo_synapse_zmq", "hub")


async def started(process: Process) -> str:
    """Return the URL that a hub says it is at."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        said = (await process.stdout.readline()).decode()
    assert said.startswith("hub at ")
    return said.removeprefix("hub at ").strip()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
async def test_a_hub_says_where_it_is_and_ends_in_peace(
    spawn: Spawn, join: Join, end: signal.Signals
) -> None:
    process = await spawn(*HUB, "zmq://127.0.0.1:0")
    url = await started(process)
    assert not url.endswith(":0")
    await (await join(url)).close()
    process.send_signal(end)
    async with asyncio.timeout(5):
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


async def test_a_port_in_use_is_one_sentence_and_an_exit_code(spawn: Spawn, hub: RunningHub) -> None:
    process = await spawn(*HUB, hub.url)
    async with asyncio.timeout(20):
        said, complained = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert complained.decode().startswith(f"no hub at {hub.url}: Address already in use")
    assert complained.count(b"\n") == 1


async def test_a_hub_with_keys_lets_in_who_has_one(
    spawn: Spawn, join: Join, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", str(tmp_path), "hub"]) == 0
    assert main(["keys", str(tmp_path / "clients"), "worker"]) == 0
    secret = tmp_path / "clients" / "worker.key_secret"
    assert f"{secret}: keep it" in capsys.readouterr().out
    secret = secret.rename(tmp_path / "worker.key_secret")
    options = ("--key-file", tmp_path / "hub.key_secret", "--clients", tmp_path / "clients")
    url = await started(await spawn(*HUB, "zmq://127.0.0.1:0", *options))
    await join(url, key_file=str(secret), server_key=str(tmp_path / "hub.key"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hub", "zmq://0.0.0.0:0"], "is not on loopback"),
        (["hub", "http://127.0.0.1:0"], "names no hub"),
        (["hub", "zmq://127.0.0.1:0", "--key-file", "a"], "go together"),
        (["hub", "zmq://127.0.0.1:0", "--key-file", "a", "--clients", "/no/such/folder"], "is no folder"),
        (["keys", "/dev/null/folder", "a"], "no keys could be written"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
