"""The embedded hub: the first process runs it, and the next one takes over."""

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
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_zmq import from_url, wire

if TYPE_CHECKING:
    from tests.conftest import Connect, Recorder, Spawn

BACK_S = 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.sock"


@pytest.fixture
def url(path: Path) -> str:
    return f"zmq+ipc://{path}?hub=auto"


def is_free(path: Path) -> bool:
    """Return whether no process runs a hub there."""
    lock = os.open(f"{path}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


async def test_the_first_of_two_processes_runs_the_hub(
    url: str, path: Path, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    synapse, done = await connect(url), recorder()
    await synapse.subscribe("done", done)
    await member(url, "echo")
    await synapse.publish("work", b"x")
    assert await done.until(1) == [b"x"]
    assert not is_free(path)


async def test_another_process_takes_over_when_the_first_is_killed(
    url: str, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    owner = await member(url, "hang")
    synapse, done, reports = await connect(url), recorder(), recorder()
    await synapse.subscribe("done", done)
    await member(url, "echo")
    owner.kill()
    started = time.monotonic()
    # The two remaining processes find each other again; either may run the hub now.
    async with asyncio.timeout(BACK_S):
        number = 0
        while not done.frames:
            await synapse.publish("work", b"%d" % (number := number + 1), undelivered=reports.report)
            await asyncio.wait((asyncio.create_task(done.until(1)),), timeout=0.05)
    assert time.monotonic() - started < BACK_S


async def test_synapses_in_one_process_share_the_hub_until_the_last_is_closed(
    url: str, path: Path, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other, got = await connect(url), await connect(url), recorder()
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
    url: str, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapses, got = await asyncio.gather(*(connect(url) for _ in range(5))), recorder()
    for synapse in synapses:
        await synapse.subscribe("a", got)
    await synapses[0].publish("a", b"x")
    assert await got.until(5) == 5 * [b"x"]


async def test_processes_that_start_at_once_have_one_hub(
    url: str, connect: Connect, spawn: Spawn, recorder: Callable[[], Recorder]
) -> None:
    peer = Path(__file__).with_name("peer.py")
    processes = await asyncio.gather(*(spawn(peer, url, "echo", "3.0") for _ in range(4)))
    for process in processes:
        assert await read_line(process) == b"ready"
    synapse, present = await connect(url), recorder()
    await synapse.subscribe("present", present)
    await synapse.publish("roll.call", b"x")
    await present.until(4)
    owners = [process for process in processes if holds_lock(process)]
    assert len(owners) == 1


async def read_line(process: Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).strip()


def holds_lock(process: Process) -> bool:
    """Return whether a process has the lock file open: a process that does not get the lock closes it."""
    if sys.platform != "linux":
        pytest.skip("only Linux shows which files a process has open")
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(link.readlink().name == "hub.sock.lock" for link in links)


@pytest.mark.parametrize("path", ["/no/such/folder/hub.sock", "/dev/null/hub.sock"])
async def test_the_error_names_a_path_that_cannot_be_used(path: str) -> None:
    with pytest.raises(SynapseError, match=f"cannot run an embedded hub at {path}"):
        await from_url(f"zmq+ipc://{path}?hub=auto").connect()


async def test_every_connect_fails_if_the_embedded_hub_cannot_bind(tmp_path: Path) -> None:
    (tmp_path / (50 * "a") / (50 * "b")).mkdir(parents=True)
    path = tmp_path / (50 * "a") / (50 * "b") / "hub.sock"
    synapses = [from_url(f"zmq+ipc://{path}?hub=auto", connect_timeout_s=0.5) for _ in range(3)]
    results = await asyncio.gather(*(synapse.connect() for synapse in synapses), return_exceptions=True)
    assert [type(result) for result in results] == 3 * [SynapseError]
    assert is_free(path)


async def test_another_process_takes_over_when_the_first_stops(
    url: str, connect: Connect, member: Spawn, recorder: Callable[[], Recorder], eventually: Any
) -> None:
    owner = await member(url, "hang")
    synapse, got = await connect(url), recorder()
    await synapse.subscribe("a", got)
    # It has found the hub of the other process, and does not try to run one itself any more.
    link: Any = synapse._link
    await eventually(lambda: link._takeover is None)
    owner.send_signal(signal.SIGTERM)
    await owner.wait()
    await synapse.publish("a", b"x")
    assert await got.until(1, within_s=BACK_S) == [b"x"]


async def test_a_process_that_dies_between_its_lock_and_its_hub_is_replaced(
    url: str, path: Path, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    joining = asyncio.create_task(connect(url))
    done, _ = await asyncio.wait((joining,), timeout=0.2)
    assert not done
    # The system releases the lock of a process that has died; there was never a hub to connect to.
    os.close(lock)
    async with asyncio.timeout(10):
        synapse = await joining
    got = recorder()
    await synapse.subscribe("a", got)
    await synapse.publish("a", b"x")
    assert await got.until(1) == [b"x"]


async def test_a_takeover_that_fails_is_logged(
    url: str, path: Path, connect: Connect, member: Spawn, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    owner = await member(url, "hang")
    await connect(url)
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    lock.symlink_to("elsewhere")
    owner.kill()
    await eventually(lambda: f"cannot run an embedded hub at {path}" in caplog.text)


async def test_a_handler_is_not_entered_while_it_publishes_to_itself(
    url: str, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapse, got = await connect(url), recorder()
    inside = False

    def handle(frame: bytes) -> None:
        nonlocal inside
        assert not inside
        inside = True
        got(frame)
        if len(frame) < 3:
            for end in (b"a", b"b"):
                synapse.send(wire.Publish("own", frame + end, 0), len(frame))
        inside = False

    await synapse.subscribe("own", handle)
    await synapse.publish("own", b"x")
    assert await got.until(7) == [b"x", b"xa", b"xb", b"xaa", b"xab", b"xba", b"xbb"]


async def test_synapses_that_answer_each_other_let_other_tasks_run(url: str, connect: Connect) -> None:
    one, other = await connect(url), await connect(url)
    done = asyncio.Event()
    answers = 0

    def ask(frame: bytes) -> None:
        one.send(wire.Publish("question", frame, 0), len(frame))

    def answer(frame: bytes) -> None:
        nonlocal answers
        answers += 1
        if answers == 200:
            done.set()
        else:
            other.send(wire.Publish("answer", frame, 0), len(frame))

    await one.subscribe("answer", ask)
    await other.subscribe("question", answer)
    ask(b"x")
    turns = 0
    while not done.is_set():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 200


async def test_frames_of_another_process_and_of_this_one_keep_their_order(
    url: str, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    synapse, done = await connect(url), recorder()

    def handle(frame: bytes) -> None:
        # What follows from a frame comes after the frames that its message had.
        done(frame)
        if b"+" not in frame:
            synapse.send(wire.Publish("done", frame + b"+", 0), len(frame))

    await synapse.subscribe("done", handle)
    await member(url, "echo")
    frames = [b"%d" % number for number in range(100)]
    for frame in frames:
        await synapse.publish("work", frame)
    await done.until(200)
    assert [frame for frame in done.frames if b"+" not in frame] == frames
    assert [frame for frame in done.frames if b"+" in frame] == [frame + b"+" for frame in frames]
