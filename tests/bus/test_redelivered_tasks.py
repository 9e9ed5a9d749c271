"""Redelivered TASKs: on a Synapse with takeover, a duplicate gets the same answer and does not run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import Dendrite, Signal, SignalType, SynapseError
from cosmo_core.dendrite.reliability import redelivery as outbox
from cosmo_core.plugins import Dropped, PluginManager, hookimpl
from tests.bus.common import Start
from tests.bus.direct_delivery import ERROR, FINAL, OUTPUT, Count, deliver, ids, make_task


@pytest.fixture
def count() -> Count:
    return Count()


@pytest.mark.clause("P-3.12", "P-5.6", "P-5.17")
async def test_redelivered_task_is_answered_again_without_second_run(
    start: Start, connect_faulty: Any, count: Count
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    pathway = await orchestrator.dispatch(neuron="count", input={}, finalize=True)
    await synapse.wait_until_sent(FINAL)
    (task,) = synapse.sent_of(SignalType.TASK)
    for _ in range(2):
        assert await deliver(synapse, task)
    assert count.runs == 1
    assert worker.counters["duplicates"] == 2
    for type in (OUTPUT, FINAL):
        assert len(answers := synapse.sent_of(type)) == 3
        assert all(answer == answers[0] for answer in answers)
    assert [signal.type async for signal in pathway] == [OUTPUT, FINAL]


@pytest.mark.clause("P-5.6")
async def test_pathway_receives_resent_answer_once(start: Start, connect_faulty: Any, count: Count) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    pathway = await orchestrator.dispatch(neuron="count", input={})
    answer = await pathway.wait(timeout_s=5)
    await deliver(synapse, synapse.sent_of(SignalType.TASK)[0])
    pathway.close()
    assert [signal async for signal in pathway] == [answer]


async def test_redelivered_rejected_task_gets_same_error(start: Start, connect_faulty: Any) -> None:
    async def count(input: dict[str, Any], context: list[Any]) -> Any:
        return {}

    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    late = make_task(deadline_ms=0)
    for _ in range(2):
        assert await deliver(synapse, late)
    assert [error.payload["code"] for error in synapse.sent_of(ERROR)] == ["DEADLINE"] * 2
    assert len({*ids(synapse.sent_of(ERROR))}) == 1


async def test_redelivery_resends_error_that_replaced_unsendable_output(
    start: Start, connect_faulty: Any
) -> None:
    async def count(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.sleep(0)
        return {"much": "x" * 2_000_000}

    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    task = make_task()
    for _ in range(2):
        assert await deliver(synapse, task)
    errors = synapse.sent_of(ERROR)
    assert [error.payload["code"] for error in errors] == ["OUTPUT_INVALID"] * 2
    assert len({*ids(errors)}) == 1
    assert len(synapse.sent_of(OUTPUT)) == 1


class MarkingMiddleware:
    """An outbound middleware that marks outputs, forwards them twice and drops those with a ``drop`` key."""

    def __init__(self) -> None:
        self.passed = 0

    @hookimpl
    def cosmo_signal_middleware(self, dendrite: Dendrite, direction: str) -> Any:
        if direction == "inbound":
            return None

        async def middleware(signal: Signal, forward: Any) -> Any:
            if signal.type is not OUTPUT:
                return await forward(signal)
            self.passed += 1
            if "drop" in signal.payload["output"]:
                return Dropped("not that")
            signal.meta["marked"] = True
            await forward(signal)
            return await forward(signal)

        return middleware


async def test_resent_answer_skips_middleware(start: Start, connect_faulty: Any, count: Count) -> None:
    plugins, marking = PluginManager(), MarkingMiddleware()
    plugins.register(marking, name="marking")
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker", plugins=plugins)
    task = make_task()
    for _ in range(2):
        assert await deliver(synapse, task)
    assert [answer.meta for answer in synapse.sent_of(OUTPUT)] == [{"marked": True}] * 3
    assert marking.passed == 1
    dropped = make_task(input={"drop": True})
    for _ in range(2):
        assert await deliver(synapse, dropped)
    assert [error.payload["code"] for error in synapse.sent_of(ERROR)] == ["REJECTED"] * 2
    assert len(synapse.sent_of(OUTPUT)) == 3


# --- bounds of the buffer ---------------------------------------------------------------------------


async def test_redelivery_buffer_keeps_answers_of_newest_tasks(
    start: Start, connect_faulty: Any, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_TASKS", 2)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    tasks = [make_task(finalize=True) for _ in range(3)]
    for each in tasks:
        await deliver(synapse, each)
    assert [await deliver(synapse, each) for each in tasks] == [False, True, True]
    assert count.runs == 3
    redelivery = worker._replies._redelivery
    assert redelivery is not None
    assert len(redelivery._sent) == 4


async def test_redelivery_buffer_is_bounded_in_bytes(
    start: Start, connect_faulty: Any, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_BYTES", 5_000)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    tasks = [make_task(input={"text": "x" * size}) for size in (1_500, 1_500, 1_500, 6_000, 10)]
    for each in tasks[:3]:
        await deliver(synapse, each)
    assert [await deliver(synapse, each) for each in tasks[:3]] == [False, True, True]
    for each in tasks[3:]:
        await deliver(synapse, each)
    assert [await deliver(synapse, each) for each in tasks] == [False] * 4 + [True]
    redelivery = worker._replies._redelivery
    assert redelivery is not None
    assert redelivery._bytes == sum(len(sent.frame) for sent in redelivery._sent.values())


@pytest.mark.clause("P-5.17")
async def test_task_answered_in_its_first_step_is_acknowledged_at_once(
    start: Start, connect_faulty: Any
) -> None:
    async def count(input: dict[str, Any], context: list[Any]) -> Any:
        return {}

    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    task = make_task()
    assert not await deliver(synapse, task)
    assert len(synapse.sent_of(OUTPUT)) == 1
    assert await deliver(synapse, task)
    assert len(synapse.sent_of(OUTPUT)) == 2


@pytest.mark.clause("P-5.17")
async def test_task_is_not_acknowledged_if_the_answer_of_its_first_step_was_not_sent(
    start: Start, connect_faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count(input: dict[str, Any], context: list[Any]) -> Any:
        return {}

    async def fail(subject: str, frame: bytes, **options: Any) -> None:
        raise SynapseError("lost")

    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    task = make_task()
    with monkeypatch.context() as patch:
        patch.setattr(synapse, "publish", fail)
        with pytest.raises(SynapseError, match="lost"):
            await deliver(synapse, task)
    # The Synapse delivers it again, and the stored answer is sent.
    assert await deliver(synapse, task)
    assert len(synapse.sent_of(OUTPUT)) == 1
