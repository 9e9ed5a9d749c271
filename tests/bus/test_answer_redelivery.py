"""Redelivery of answers: on a Synapse with takeover, an undelivered answer is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from cosmo_core import Axon, Signal, SignalType, SynapseError, Undelivered, encode
from cosmo_core.dendrite.reliability import redelivery as outbox
from tests.bus.common import Start
from tests.bus.direct_delivery import (
    ERROR,
    FINAL,
    OUTPUT,
    Count,
    deliver,
    ids,
    make_task,
    undelivered_handlers_of,
)

DELTA = SignalType.THOUGHT_DELTA


@pytest.fixture
def count() -> Count:
    return Count()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[float]], None]:
    """Set the pauses between attempts."""
    return lambda pauses: monkeypatch.setattr(outbox, "PAUSES_S", tuple(pauses))


def test_retry_pauses_sum_to_less_than_ten_seconds() -> None:
    assert sum(outbox.PAUSES_S) < 10
    assert list(outbox.PAUSES_S) == sorted(outbox.PAUSES_S)


@pytest.mark.clause("P-5.20")
@pytest.mark.parametrize("why", ["no_consumers", "overloaded"])
@pytest.mark.parametrize("finalize", [False, True])
async def test_undelivered_answer_is_resent_until_it_arrives(
    start: Start, connect_faulty: Any, count: Count, pauses: Any, why: Undelivered, finalize: bool
) -> None:
    pauses([0.001] * 1000)
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.answer_fault = why
    pathway = await orchestrator.dispatch(neuron="count", input={"a": 1}, finalize=finalize)
    last = FINAL if finalize else OUTPUT
    await synapse.wait_until_sent(last, 3)
    synapse.answer_fault = None
    answer = await pathway.wait_for(last, timeout_s=5)
    assert answer.payload["result" if finalize else "output"] == {"run": 1, "a": 1}
    assert {*ids(synapse.sent_of(last))} == {answer.id}
    assert count.runs == 1


@pytest.mark.clause("P-5.20")
async def test_only_terminal_answers_have_undelivered_callback(start: Start, connect_faulty: Any) -> None:
    async def count(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        for word in ("a", "b"):
            yield word
        if input.get("fail"):
            raise ValueError

    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    await orchestrator.dispatch_and_wait(neuron="count", input={}, finalize=True)
    await orchestrator.dispatch_and_wait(neuron="count", input={"fail": True})
    await orchestrator.stop_trace(Signal.new(SignalType.PLAN, {"steps": []}).trace_id)
    handlers = [
        handler for type in (OUTPUT, FINAL, ERROR) for handler in undelivered_handlers_of(synapse, type)
    ]
    assert len(handlers) >= 3
    assert len({*handlers}) == 1
    assert None not in handlers
    assert {
        *undelivered_handlers_of(synapse, DELTA),
        *undelivered_handlers_of(synapse, SignalType.STOPPED),
    } == {None}


async def test_answers_are_not_buffered_without_takeover(
    start: Start, connect_faulty: Any, count: Count
) -> None:
    synapse = await connect_faulty()
    worker = await start(count, synapse=synapse, role="worker")
    task = make_task()
    await deliver(synapse, task)
    await synapse.wait_until_sent(OUTPUT)
    assert not await deliver(synapse, task)
    assert undelivered_handlers_of(synapse, OUTPUT) == [None]
    assert worker._replies._redelivery is None


async def test_answer_under_backpressure_has_no_undelivered_callback(
    start: Start, connect_faulty: Any, count: Count
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    pathway = await orchestrator.dispatch(neuron="count", input={}, backpressure=True)
    assert (await pathway.wait(timeout_s=5)).type is OUTPUT
    assert undelivered_handlers_of(synapse, OUTPUT) == [None]


async def test_broadcast_answer_has_no_undelivered_callback(
    start: Start, connect_faulty: Any, count: Count
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    await deliver(synapse, make_task(reply_to=None))
    assert undelivered_handlers_of(synapse, OUTPUT) == [None]


# --- dropped answers --------------------------------------------------------------------------------


@pytest.mark.clause("P-5.20")
async def test_answer_is_dropped_after_last_attempt(
    start: Start, connect_faulty: Any, count: Count, pauses: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pauses([0.001] * 4)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    synapse.answer_fault = "no_consumers"
    await deliver(synapse, make_task())
    (again,) = worker._replies.pending
    async with asyncio.timeout(5):
        await again
    answers = synapse.sent_of(OUTPUT)
    assert len(answers) == 5
    assert (
        f"redelivery of answer {answers[0].id} to cosmonapse.test.AGENT_OUTPUT.inbox.asker ended"
        in caplog.text
    )
    assert "after 5 attempts: no_consumers" in caplog.text
    assert not worker._replies.pending


@pytest.mark.parametrize("why", ["lost", "failed"])
async def test_permanently_undeliverable_answer_is_dropped_at_once(
    start: Start, connect_faulty: Any, count: Count, why: Undelivered, caplog: pytest.LogCaptureFixture
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    synapse.answer_fault = why
    await deliver(synapse, make_task())
    assert not worker._replies.pending
    assert (
        f"AGENT_OUTPUT {synapse.sent_of(OUTPUT)[0].id} was not delivered, and is not sent again: {why}"
        in caplog.text
    )


async def test_closed_synapse_ends_attempts(
    start: Start, connect_faulty: Any, count: Count, pauses: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pauses([0.001] * 4)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    synapse.answer_fault = "no_consumers"
    await deliver(synapse, make_task())
    synapse.answer_fault = None
    await synapse.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*worker._replies.pending)
    assert "failed: cannot publish on cosmonapse.test.AGENT_OUTPUT.inbox.asker" in caplog.text


async def test_concurrent_resends_are_bounded(
    start: Start, connect_faulty: Any, count: Count, pauses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_RETURNED", 3)
    pauses([60])
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker", grace_s=0)
    synapse.answer_fault = "no_consumers"
    for _ in range(5):
        await deliver(synapse, make_task())
    assert len(worker._replies.pending) == 3


# --- the host stops ---------------------------------------------------------------------------------


@pytest.mark.clause("P-5.20")
async def test_stop_waits_for_undelivered_answers(
    start: Start, connect_faulty: Any, count: Count, pauses: Any
) -> None:
    pauses([0.001] * 1000)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.answer_fault = "no_consumers"
    pathway = await orchestrator.dispatch(neuron="count", input={})
    await synapse.wait_until_sent(OUTPUT, 2)
    stopping = asyncio.create_task(worker.stop())
    sent = len(synapse.sent_of(OUTPUT))
    await synapse.wait_until_sent(OUTPUT, sent + 3)
    assert not stopping.done()
    synapse.answer_fault = None
    assert (await pathway.wait(timeout_s=5)).type is OUTPUT
    async with asyncio.timeout(5):
        await stopping


async def test_stop_drops_undelivered_answers_after_grace_period(
    start: Start, connect_faulty: Any, count: Count, pauses: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pauses([60])
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(count, synapse=synapse, role="worker", grace_s=0.01)
    synapse.answer_fault = "no_consumers"
    await deliver(synapse, make_task())
    async with asyncio.timeout(4):
        await worker.stop()
    assert "ended: its host stops" in caplog.text
    # An answer that is returned only now is not sent again.
    (handler,) = undelivered_handlers_of(synapse, OUTPUT)
    handler(encode(synapse.sent_of(OUTPUT)[0]), "no_consumers")
    assert not worker._replies.pending


async def test_detached_axon_still_resends_undelivered_answers(
    start: Start, connect_faulty: Any, count: Count, pauses: Any
) -> None:
    pauses([0.001] * 1000)
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(Axon(neuron_id="count", neuron_fn=count), synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.answer_fault = "no_consumers"
    pathway = await orchestrator.dispatch(neuron="count", input={})
    await synapse.wait_until_sent(OUTPUT)
    detaching = asyncio.create_task(worker.detach_axon("count"))
    await synapse.wait_until_sent(OUTPUT, 3)
    synapse.answer_fault = None
    assert (await pathway.wait(timeout_s=5)).type is OUTPUT
    async with asyncio.timeout(5):
        await detaching


@pytest.mark.clause("P-5.17")
async def test_task_whose_answer_cannot_be_sent_is_not_acknowledged(
    start: Start, connect_faulty: Any, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(count, synapse=synapse, role="worker")
    publish = synapse.publish

    async def broken(subject: str, frame: bytes, **options: Any) -> None:
        raise SynapseError("the bus is gone")

    monkeypatch.setattr(synapse, "publish", broken)
    task = make_task()
    with pytest.raises(SynapseError, match="the bus is gone"):
        await deliver(synapse, task)
    monkeypatch.setattr(synapse, "publish", publish)
    assert await deliver(synapse, task)
    (answer,) = synapse.sent_of(OUTPUT)
    assert answer.payload["output"] == {"run": 1}
    assert count.runs == 1


@pytest.mark.parametrize("durable", [True, False])
async def test_answers_go_to_the_store_of_a_durable_synapse(
    start: Start, connect_faulty: Any, count: Count, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synapse = await connect_faulty(takeover_s=4.0, durable=durable)
    stored: list[str] = []

    async def store_answer(subject: str, frame: bytes, message_id: str) -> None:
        stored.append(message_id)
        await synapse.publish(subject, frame)

    monkeypatch.setattr(synapse, "store_answer", store_answer, raising=False)
    monkeypatch.setattr(synapse, "subscribe_answers", synapse.subscribe, raising=False)
    await start(count, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    answer = await orchestrator.dispatch_and_wait(neuron="count", input={})
    assert answer.payload["output"] == {"run": 1}
    assert stored == ([answer.id] if durable else [])
