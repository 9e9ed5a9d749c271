"""The loop watchdog: it names a Neuron that blocks the event loop, and work heartbeats continue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, ThreadPublisher, decode
from cosmo_core.dendrite.reliability import work_heartbeat as watchdog
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import VirtualTimeLoop
from tests.bus.common import Start, echo


async def block(input: dict[str, Any], context: list[Any]) -> Any:
    time.sleep(input["seconds"])  # noqa: ASYNC251 - that is what it is about
    return {"blocked": True}


def plain(input: dict[str, Any], context: list[Any]) -> Any:
    time.sleep(input["seconds"])
    return {"blocked": False}


class ThreadedSynapse(MemorySynapse):
    """A memory Synapse that records frames published from other threads."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[float, str, Signal]] = []

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        self.published.append((time.monotonic(), subject, decode(frame)))


class TimedLog(logging.Handler):
    """A logging handler that records the time and text of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append((time.monotonic(), record.getMessage()))

    def times_of(self, text: str) -> list[float]:
        """Return the times of messages that contain ``text``."""
        return [moment for moment, message in self.logged if text in message]


@pytest.fixture
def log() -> Any:
    handler, logger = TimedLog(), logging.getLogger("cosmo_core.dendrite")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cosmo-watchdog"]


async def until_logged(log: TimedLog, text: str) -> None:
    async with asyncio.timeout(5):
        while not log.times_of(text):  # noqa: ASYNC110 - it is logged in a thread
            await asyncio.sleep(0.01)


async def test_blocking_neuron_is_logged_once_within_a_second(start: Start, log: TimedLog) -> None:
    await start(echo, block)
    dendrite = await start()
    started = time.monotonic()
    await dendrite.dispatch_and_wait(neuron="block", input={"seconds": 1.6})
    ended = time.monotonic()
    await until_logged(log, "had blocked")
    [warned] = log.times_of("Neuron 'block' has blocked the event loop")
    assert started + 0.45 <= warned <= started + 1.0
    assert [message for _, message in log.logged if "asyncio.to_thread" in message]
    [over] = log.times_of("Neuron 'block' had blocked the event loop for 1.")
    assert ended <= over <= ended + 1.0


@pytest.mark.clause("P-4.14")
async def test_work_heartbeats_continue_while_event_loop_is_blocked(start: Start, log: TimedLog) -> None:
    synapse = ThreadedSynapse()
    assert isinstance(synapse, ThreadPublisher)
    await synapse.connect()
    worker = await start(block, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    pathway = await orchestrator.dispatch(neuron="block", input={"seconds": 2.2})
    started = time.monotonic()
    await pathway.wait(timeout_s=5)
    assert len(synapse.published) == 2
    for moment, subject, sign in synapse.published:
        assert moment - started <= 2.2
        assert subject == f"cosmonapse.test.HEARTBEAT.inbox.{orchestrator._dispatcher._inbox}"
        assert (sign.type, sign.payload) == (SignalType.HEARTBEAT, {"status": "working"})
        assert sign.meta == {
            "dendrite": worker._host._name,
            "tasks": [pathway.task_id],
            "neurons": ["block"],
        }
    first, second = (moment for moment, _, _ in synapse.published)
    assert second - first <= 1.5
    await worker.stop()
    await orchestrator.stop()
    await synapse.close()


async def test_blocking_asyncio_task_outside_neuron_is_logged_as_such(start: Start, log: TimedLog) -> None:
    await start(echo)

    async def other() -> None:
        time.sleep(1.1)  # noqa: ASYNC251 - that is what it is about

    await asyncio.create_task(other(), name="another's")
    await until_logged(log, 'The asyncio task "another\'s", which belongs to no Neuron, has blocked')


async def test_blocking_callback_outside_neuron_is_logged_as_such(start: Start, log: TimedLog) -> None:
    await start(echo)
    asyncio.get_running_loop().call_soon(time.sleep, 1.1)
    await until_logged(log, "A callback that belongs to no Neuron has blocked")


async def test_synchronous_neuron_starts_no_watchdog(start: Start, log: TimedLog) -> None:
    dendrite = await start(plain)
    assert watchdogs() == []
    await dendrite.dispatch_and_wait(neuron="plain", input={"seconds": 0.8})
    assert log.times_of("blocked") == []


async def test_event_loop_shares_one_watchdog_until_last_dendrite_stops(
    synapse: MemorySynapse, start: Start
) -> None:
    assert watchdogs() == []
    one, other, idle = await start(echo), await start(block), await start()
    assert len(watchdogs()) == 1
    await one.stop()
    await idle.stop()
    assert len(watchdogs()) == 1
    await other.detach_axon("block")
    assert watchdogs() == []
    await other.add_axon(Axon(neuron_id="echo", neuron_fn=echo))
    assert len(watchdogs()) == 1
    await other.stop()
    assert watchdogs() == []
    assert watchdog._watchdogs == {}


async def test_failed_start_leaves_no_watchdog(synapse: MemorySynapse, start: Start) -> None:
    await synapse.close()
    with pytest.raises(Exception, match="not connected"):
        await start(echo)
    assert watchdogs() == []


def test_closed_event_loop_ends_watchdog() -> None:
    async def leave() -> None:
        synapse = MemorySynapse()
        await synapse.connect()
        dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
        dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
        await dendrite.start()
        for _ in range(20):
            await asyncio.sleep(0)  # Its own DISCOVER is answered.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    [thread] = watchdogs()
    thread.join(5)
    assert not thread.is_alive()
    watchdog._watchdogs.pop(loop)


def test_watchdog_does_not_affect_virtual_time() -> None:
    async def work() -> float:
        synapse = MemorySynapse()
        await synapse.connect()

        async def doze(input: dict[str, Any], context: list[Any]) -> Any:
            await asyncio.sleep(3600)
            return {}

        dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
        dendrite.attach_axon(Axon(neuron_id="doze", neuron_fn=doze))
        async with dendrite:
            before = asyncio.get_running_loop().time()
            await dendrite.dispatch_and_wait(neuron="doze", input={}, timeout_s=7200)
            passed = asyncio.get_running_loop().time() - before
        await synapse.close()
        return passed

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(work()) == pytest.approx(3600, abs=0.1)
