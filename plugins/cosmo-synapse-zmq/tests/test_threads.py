"""publish_from_thread works while the event loop is blocked."""

from __future__ import annotations

import asyncio
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cosmo_core import SynapseError
from cosmo_core.contracts.synapse import ThreadPublisher

if TYPE_CHECKING:
    from tests.conftest import Connect, Recorder, RunningHub


class Other:
    """A process whose output is read without an event loop."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen((sys.executable, "-u", *arguments), stdout=subprocess.PIPE)  # noqa: S603

    def read_line(self) -> str:
        out = self.process.stdout
        assert out is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            assert selector.select(20)
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(out.fileno(), 1)
        return line.decode().strip()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other() -> Iterator[Callable[..., Other]]:
    processes: list[Other] = []

    def start(*arguments: str) -> Other:
        processes.append(Other(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


async def test_a_thread_publishes_while_the_event_loop_is_blocked(
    other: Callable[..., Other], connect: Connect
) -> None:
    url = other("-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0").read_line().removeprefix("hub at ")
    watcher = other(str(Path(__file__).with_name("peer.py")), url, "hang", "3.0")
    assert watcher.read_line() == "ready"
    synapse = await connect(url)
    assert isinstance(synapse, ThreadPublisher)
    received: list[str] = []

    def publish() -> None:
        synapse.publish_from_thread("work", b"alive")
        received.append(watcher.read_line())

    thread = threading.Thread(target=publish)
    thread.start()
    # This blocks the event loop.
    thread.join(20)
    assert received == ["alive"]


async def test_frames_from_many_threads_arrive(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapse, got = await connect(hub.url), recorder()
    await synapse.subscribe("alive", got)
    await asyncio.gather(
        *(asyncio.to_thread(synapse.publish_from_thread, "alive", b"%d" % number) for number in range(50))
    )
    assert sorted(await got.until(50)) == sorted(b"%d" % number for number in range(50))


async def test_publishing_from_a_thread_on_an_invalid_subject_is_rejected(
    hub: RunningHub, connect: Connect
) -> None:
    synapse = await connect(hub.url)
    with pytest.raises(SynapseError, match="is not a valid subject"):
        synapse.publish_from_thread("a.>", b"x")
