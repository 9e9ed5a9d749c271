"""The first process carries the hub, and the next one takes over when it is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_zmq import from_url

if TYPE_CHECKING:
    from tests.conftest import Join, Spawn, Taken

BACK_S = 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.sock"


@pytest.fixture
def url(path: Path) -> str:
    return f"zmq+ipc://{path}?hub=auto"


def is_free(path: Path) -> bool:
    """Tell whether nobody carries a hub there."""
    lock = os.open(f"{path}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


async def test_the_first_of_two_processes_carries_the_hub(
    url: str, path: Path, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    synapse, done = await join(url), taken()
    await synapse.subscribe("done", done)
    await member(url, "echo")
    await synapse.publish("work", b"x")
    assert await done.until(1) == [b"x"]
    assert not is_free(path)


async def test_the_next_one_takes_over_from_one_that_is_killed(
    url: str, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    carrier = await member(url, "hang")
    synapse, done, told = await join(url), taken(), taken()
    await synapse.subscribe("done", done)
    await member(url, "echo")
    carrier.kill()
    started = time.monotonic()
    # The two that are left find each other again, whoever of them carries the hub now.
    async with asyncio.timeout(BACK_S):
        number = 0
        while not done.frames:
            await synapse.publish("work", b"%d" % (number := number + 1), undelivered=told.told)
            await asyncio.wait((asyncio.create_task(done.until(1)),), timeout=0.05)
    assert time.monotonic() - started < BACK_S


async def test_synapses_in_one_process_share_the_hub_until_the_last_is_closed(
    url: str, path: Path, join: Join, taken: Callable[[], Taken]
) -> None:
    one, other, got = await join(url), await join(url), taken()
    await other.subscribe("a", got)
    await one.publish("a", b"x")
    assert await got.until(1) == [b"x"]
    await one.close()
    assert not is_free(path)
    await other.publish("a", b"y")
    assert await got.until(2) == [b"x", b"y"]
    await other.close()
    assert is_free(path)
    await one.connect()
    assert not is_free(path)


async def test_synapses_that_connect_at_once_share_the_hub(
    url: str, join: Join, taken: Callable[[], Taken]
) -> None:
    synapses, got = await asyncio.gather(*(join(url) for _ in range(5))), taken()
    for synapse in synapses:
        await synapse.subscribe("a", got)
    await synapses[0].publish("a", b"x")
    assert await got.until(5) == 5 * [b"x"]


async def test_processes_that_start_at_once_have_one_hub(
    url: str, join: Join, spawn: Spawn, taken: Callable[[], Taken]
) -> None:
    peer = Path(__file__).with_name("peer.py")
    processes = await asyncio.gather(*(spawn(peer, url, "echo", "3.0") for _ in range(4)))
    for process in processes:
        assert await line(process) == b"ready"
    synapse, present = await join(url), taken()
    await synapse.subscribe("present", present)
    await synapse.publish("roll.call", b"x")
    await present.until(4)
    carriers = [process for process in processes if holds_lock(process)]
    assert len(carriers) == 1


async def line(process: Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).strip()


def holds_lock(process: Process) -> bool:
    """Tell whether a process has the lock file open: those that do not get the lock close it."""
    if sys.platform != "linux":
        pytest.skip("only Linux shows which files a process has open")
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(link.readlink().name == "hub.sock.lock" for link in links)


@pytest.mark.parametrize("path", ["/no/such/folder/hub.sock", "/dev/null/hub.sock"])
async def test_a_path_that_cannot_be_used_is_named(path: str) -> None:
    with pytest.raises(SynapseError, match=f"no hub can be carried at {path}"):
        await from_url(f"zmq+ipc://{path}?hub=auto").connect()


async def test_where_the_hub_cannot_listen_everybody_who_connects_is_told(tmp_path: Path) -> None:
    (tmp_path / (50 * "a") / (50 * "b")).mkdir(parents=True)
    path = tmp_path / (50 * "a") / (50 * "b") / "hub.sock"
    synapses = [from_url(f"zmq+ipc://{path}?hub=auto", connect_timeout_s=0.5) for _ in range(3)]
    results = await asyncio.gather(*(synapse.connect() for synapse in synapses), return_exceptions=True)
    assert [type(result) for result in results] == 3 * [SynapseError]
    assert is_free(path)


async def test_what_a_carrier_that_ends_in_peace_leaves_is_taken_over_too(
    url: str, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    carrier = await member(url, "hang")
    synapse, got = await join(url), taken()
    await synapse.subscribe("a", got)
    carrier.send_signal(signal.SIGTERM)
    await carrier.wait()
    await synapse.publish("a", b"x")
    assert await got.until(1, within_s=BACK_S) == [b"x"]
