"""Neurons that are plain functions run in threads of their own, which nothing waits for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from cosmo_core import Axon, current_task
from cosmo_core.contracts import threads as threads_module
from cosmo_core.contracts.threads import Threads
from tests.bus.common import Start


class Blocking:
    """A plain Neuron that blocks its thread until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.entered.release()
        self.release.wait(30)
        return {"thread": threading.current_thread().name}


def quick(input: dict[str, Any], context: list[Any]) -> Any:
    task = current_task()
    assert task is not None
    return {"task": task.neuron}


async def test_blocked_neuron_affects_no_other_neuron_and_no_executor(start: Start) -> None:
    neuron = Blocking()
    await start(Axon(neuron_id="blocking", neuron_fn=neuron), quick, role="worker")
    orchestrator = await start()
    try:
        pathways = [await orchestrator.dispatch(neuron="blocking", input={}) for _ in range(40)]
        for _ in pathways:
            await asyncio.to_thread(neuron.entered.acquire, timeout=30)
        reply = await orchestrator.dispatch_and_wait(neuron="quick", input={})
        assert reply.payload["output"] == {"task": "quick"}
    finally:
        neuron.release.set()
    for pathway in pathways:
        assert (await pathway.wait(30)).payload["output"] == {"thread": "cosmo-neuron"}


async def test_threads_are_bounded_and_count_until_call_returns(start: Start) -> None:
    neuron = Blocking()
    axon = Axon(neuron_id="blocking", neuron_fn=neuron, max_concurrency=2)
    worker = await start(axon, role="worker")
    orchestrator = await start()
    try:
        # The first two have to reach a thread before they time out.
        for timeout_s in (0.2, 0.2, 0.02, 0.02, 0.02, 0.02):
            with pytest.raises(TimeoutError):
                await orchestrator.dispatch_and_wait(neuron="blocking", input={}, timeout_s=timeout_s)
        while worker._host.load("blocking"):  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0)
        for _ in range(2):
            assert await asyncio.to_thread(neuron.entered.acquire, timeout=30)
        assert not neuron.entered.acquire(blocking=False)
    finally:
        neuron.release.set()
    assert (await orchestrator.dispatch_and_wait(neuron="blocking", input={})).payload["output"]
    # The TASKs that were stopped while they waited for a thread never ran.
    assert neuron.entered.acquire(blocking=False)
    assert not neuron.entered.acquire(blocking=False)


async def test_idle_thread_is_used_again_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "IDLE_S", 0.05)
    threads = Threads()
    used = {await threads.run(threading.current_thread) for _ in range(5)}
    assert len(used) == 1
    [thread] = used
    assert thread.daemon
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()
    assert await threads.run(threading.current_thread) is not thread


PROGRAM = """
import asyncio, time
from cosmo_core import Axon, Dendrite, connect_synapse

def sleepy(input, context):
    print("running", flush=True)
    time.sleep(120)

async def main():
    synapse = await connect_synapse("memory://")
    async with Dendrite(synapse=synapse, grace_s=0.1) as dendrite:
        await dendrite.add_axon(Axon(neuron_id="sleepy", neuron_fn=sleepy))
        pathway = await dendrite.dispatch(neuron="sleepy", input={})
        await asyncio.sleep(0.2)
        await dendrite.stop()
        print((await pathway.wait()).payload["code"], flush=True)

asyncio.run(main())
"""


def test_process_does_not_wait_for_blocked_thread() -> None:
    began = time.monotonic()
    ended = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["running", "CANCELLED"]), ended.stderr
    assert time.monotonic() - began < 60
