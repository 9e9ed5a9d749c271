"""The Synapse of a URL such as ``cosmo://127.0.0.1:7070`` starts by itself on this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from cosmo_core import SynapseError
from cosmonapse import connect_synapse
from cosmonapse.synapse import from_cosmo_url


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"cosmonapse-{os.getuid()}"


def sockets(folder: Path) -> list[str]:
    assert folder.stat().st_mode & 0o077 == 0
    return sorted(path.name for path in folder.glob("*.sock"))


async def test_programs_of_one_port_share_a_bus(folder: Path) -> None:
    names = ("cosmo://127.0.0.1:7070", "cosmo://localhost:7070", "cosmo://127.0.0.1", "cosmo://[::1]:7070/")
    buses = [await connect_synapse(name) for name in names]
    other = await connect_synapse("cosmo://127.0.0.1:7071")
    received: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    for number, bus in enumerate([*buses, other]):
        await bus.subscribe("a.b", lambda frame, number=number: received.put_nowait((number, frame)))  # type: ignore[misc]
    await other.publish("a.b", b"other")
    await buses[0].publish("a.b", b"same")
    async with asyncio.timeout(10):
        frames = {await received.get() for _ in range(5)}
    assert frames == {(4, b"other"), *((number, b"same") for number in range(4))}
    assert sockets(folder) == ["7070.sock", "7071.sock"]
    for bus in [*buses, other]:
        await bus.close()


def test_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(SynapseError, match=rf"other users can enter {folder}: remove it, or set TMPDIR"):
        from_cosmo_url("cosmo://127.0.0.1:7070")


def test_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(SynapseError, match="cannot use the folder of the bus"):
        from_cosmo_url("cosmo://127.0.0.1:7070")


async def test_other_host_needs_keys() -> None:
    with pytest.raises(SynapseError, match=r"zmq://192\.0\.2\.1:7070 is not on loopback"):
        await connect_synapse("cosmo://192.0.2.1")


@pytest.mark.parametrize(
    "url",
    [
        "cosmo://127.0.0.1:port",
        "cosmo://[::1",
        "cosmo://me:secret@127.0.0.1:7070",
        "cosmo://127.0.0.1:7070/secret",
        "cosmo://127.0.0.1:7070?key=secret",
    ],
)
async def test_malformed_url_is_an_error_that_shows_no_secret(url: str) -> None:
    with pytest.raises(SynapseError, match="URL") as error:
        await connect_synapse(url)
    assert "secret" not in str(error.value)


async def test_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_inflight"):
        await connect_synapse("cosmo://127.0.0.1:7070", max_inflight=3)
