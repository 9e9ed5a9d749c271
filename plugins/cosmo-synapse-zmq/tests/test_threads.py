"""A sign of life goes out though the event loop is blocked."""

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
    from tests.conftest import Join, RunningHub, Taken


class Other:
    """A process that is read without an event loop."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen((sys.executable, "-u", *arguments), stdout=subprocess.PIPE)  # noqa: S603

    def line(self) -> str:
        out = self.process.stdout
        assert out is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            assert selector.select(20)
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(out.fileno(), 1)
        return said.decode().strip()

    def end(self) -> None:
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
        process.end()


async def test_a_thread_publishes_while_the_event_loop_stands_still(
    other: Callable[..., Other], join: Join
) -> None:
    url = other("-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0").line().removeprefix("hub at ")
    watcher = other(str(Path(__file__).with_name("peer.py")), url, "hang", "3.0")
    assert watcher.line() == "ready"
    synapse = await join(url)
    assert isinstance(synapse, ThreadPublisher)
    heard: list[str] = []

    def give_a_sign() -> None:
        synapse.publish_from_thread("work", b"alive")
        heard.append(watcher.line())

    thread = threading.Thread(target=give_a_sign)
    thread.start()
    # Nothing else runs in this event loop until then.
    thread.join(20)
    assert heard == ["alive"]


async def test_many_signs_of_life_arrive_from_many_threads(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    synapse, got = await join(hub.url), taken()
    await synapse.subscribe("alive", got)
    await asyncio.gather(
        *(asyncio.to_thread(synapse.publish_from_thread, "alive", b"%d" % number) for number in range(50))
    )
    assert sorted(await got.until(50)) == sorted(b"%d" % number for number in range(50))


async def test_a_thread_cannot_publish_on_what_is_no_subject(hub: RunningHub, join: Join) -> None:
    synapse = await join(hub.url)
    with pytest.raises(SynapseError, match="is not a valid subject"):
        synapse.publish_from_thread("a.>", b"x")
