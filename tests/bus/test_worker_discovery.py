"""A Dendrite that only works listens to no announcements until it looks for others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, NoRouteError, SynapseError, decode
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Patterns, Start, echo, run_loop_turns

ANNOUNCEMENTS = {f"cosmonapse.test.{name}" for name in ("REGISTER", "HEARTBEAT", "DEREGISTER")}


def axon(name: str, *capabilities: str) -> Axon:
    return Axon(neuron_id=name, neuron_fn=echo, capabilities=capabilities)


def names(dendrite: Dendrite, capability: str | None = None) -> list[str]:
    return [record.neuron_id for record in dendrite.find_neurons(capability)]


@pytest.fixture
async def discovers(synapse: MemorySynapse) -> list[dict[str, Any]]:
    """The payloads of the DISCOVERs that were sent."""
    sent: list[dict[str, Any]] = []
    await synapse.subscribe("cosmonapse.test.DISCOVER", lambda frame: sent.append(decode(frame).payload))
    return sent


@pytest.mark.clause("P-4.22")
async def test_worker_listens_when_it_first_looks_for_neurons(
    start: Start, patterns: Patterns, discovers: list[dict[str, Any]]
) -> None:
    first = await start(axon("a", "x"), role="worker")
    second = await start(axon("b", "x"), axon("c", "y"), role="worker")
    await run_loop_turns(5)
    assert not patterns() & ANNOUNCEMENTS
    assert discovers == []
    # It knows its own, at once.
    assert names(second) == ["b", "c"]
    await second.wait_until_ready(neuron="a", timeout_s=5)
    assert patterns() >= ANNOUNCEMENTS
    assert names(second) == ["a", "b", "c"]
    assert names(second, "x") == ["a", "b"]
    assert {} in discovers
    await first.add_axon(axon("d", "x"))
    assert names(second, "x") == ["a", "b", "d"]
    await first.stop()
    assert names(second) == ["b", "c"]


@pytest.mark.clause("P-4.22")
async def test_list_of_neurons_alone_makes_a_worker_listen(start: Start, patterns: Patterns) -> None:
    await start(axon("a"), role="worker")
    worker = await start(axon("b"), role="worker")
    # From a thread as well, such as that of a synchronous Neuron.
    assert await asyncio.to_thread(names, worker) == ["b"]
    async with asyncio.timeout(5):
        while names(worker) != ["a", "b"]:
            await worker._directory.wait_for_change()
    assert patterns() >= ANNOUNCEMENTS


async def test_own_neurons_of_a_worker_leave_its_list_when_detached(start: Start, patterns: Patterns) -> None:
    worker = await start(axon("a"), axon("b"), role="worker")
    await worker.detach_axon("a")
    await worker.add_axon(axon("c"))
    assert [record.neuron_id for record in worker._directory.records()] == ["b", "c"]
    assert not patterns() & ANNOUNCEMENTS


async def test_error_of_a_worker_lists_the_known_neurons(start: Start) -> None:
    await start(axon("a", "x"), role="worker")
    worker = await start(axon("b"), role="worker")
    with pytest.raises(TimeoutError, match="known: a, b"):
        await worker.wait_until_ready(neuron="z", timeout_s=0.02)
    describing = await start(role="worker")
    with pytest.raises(NoRouteError, match="known: a, b"):
        await describing.describe_neuron("z", timeout_s=0.02)


@pytest.mark.clause("P-4.9")
async def test_dendrite_that_sends_tasks_listens_from_the_start(
    start: Start, patterns: Patterns, discovers: list[dict[str, Any]]
) -> None:
    await start(axon("a"))
    assert patterns() >= ANNOUNCEMENTS
    await run_loop_turns(5)
    assert discovers == [{}]


async def test_listening_that_fails_is_logged_and_tried_again(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(axon("a"), role="worker")
    worker = await start(axon("b"), role="worker")
    subscribe = synapse.subscribe

    async def refuse(pattern: str, *arguments: Any, **options: Any) -> Any:
        if "HEARTBEAT" in pattern:
            raise SynapseError("no more subscriptions")
        return await subscribe(pattern, *arguments, **options)

    before = len(synapse._subscriptions)
    with monkeypatch.context() as patch:
        patch.setattr(synapse, "subscribe", refuse)
        assert names(worker) == ["b"]
        await run_loop_turns(10)
        assert "could not listen to the announcements of others" in caplog.text
        with pytest.raises(SynapseError, match="no more"):
            await worker.wait_until_ready(neuron="a", timeout_s=5)
        assert len(synapse._subscriptions) == before
    await worker.wait_until_ready(neuron="a", timeout_s=5)
    assert names(worker) == ["a", "b"]


async def test_worker_that_stops_while_it_begins_to_listen_stops_cleanly(
    start: Start, patterns: Patterns, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start(axon("b"), role="worker")
    before = patterns()
    assert names(worker) == ["b"]
    await worker.stop()
    await run_loop_turns(10)
    assert not patterns() & (before | ANNOUNCEMENTS)
    # After its end, too.
    assert names(worker) == []
