"""Answers on a durable Synapse: stored until their one receiver has read them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import Any

import nats
import pytest

from cosmo_core import Axon, Dendrite, SynapseError
from cosmo_core.contracts.synapse import AnswerStore
from cosmo_synapse_nats import from_url
from cosmo_synapse_nats.durable import pull, queues
from cosmo_testing import TcpProxy

DURABLE = "?durable=true&ack_wait_s=1"


async def test_stored_answers_are_delivered_in_order_and_once(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    assert isinstance(one, AnswerStore)
    got, watching = recorder(), recorder()
    await other.subscribe_answers("x.*.inbox", got)
    await other.subscribe("x.>", watching)
    sent = [b"%d" % number for number in range(200)]
    for number, frame in enumerate(sent):
        for _ in range(2 if number % 10 == 0 else 1):
            await one.store_answer("x.y.inbox", frame, f"id-{number}")
    assert await got.until(200) == sent
    assert set(watching.frames) == set(sent)


async def test_an_answer_and_another_frame_arrive_in_the_order_of_publication(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    await other.subscribe_answers("x.*", got)
    for number in range(100):
        for part in range(5):
            await one.publish("x.delta", b"%d.%d" % (number, part))
        await one.store_answer("x.answer", b"%d" % number, f"id-{number}")
        assert (await got.until(6 * (number + 1)))[-6:] == [
            *(b"%d.%d" % (number, part) for part in range(5)),
            b"%d" % number,
        ]


async def test_answers_of_the_time_without_a_connection_are_delivered_when_it_is_restored(
    store: Any, connect: Any, recorder: Any
) -> None:
    one = await connect(store, DURABLE)
    got = recorder()
    async with TcpProxy("127.0.0.1", store.port) as proxy:
        other = from_url(f"nats://127.0.0.1:{proxy.own_port}{DURABLE}")
        await other.connect()
        await other.subscribe_answers("inbox", got)
        for number in range(5):
            with proxy.stalled():
                await one.store_answer("inbox", b"lost %d" % number, f"id-{number}")
                proxy.cut()
            await got.until(number + 1)
        await one.store_answer("inbox", b"end", "id-end")
        assert await got.until(6) == [*(b"lost %d" % number for number in range(5)), b"end"]
        await other.close()


async def test_answers_survive_a_killed_server(store: Any, connect: Any, recorder: Any) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    await other.subscribe_answers("inbox", got)
    async with TcpProxy("127.0.0.1", store.port):
        for number in range(3):
            await one.store_answer("inbox", b"%d" % number, f"id-{number}")
            store.restart()
            await one.store_answer("inbox", b"after %d" % number, f"after-{number}")
    assert await got.until(6) == [b"0", b"after 0", b"1", b"after 1", b"2", b"after 2"]


async def test_answers_arrive_after_their_stream_was_made_again(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    await other.subscribe_answers("inbox", got)
    for number in range(10):
        await one.store_answer("inbox", b"before", f"id-{number}")
    await got.until(10)
    client = await nats.connect(store.url)
    await client.jetstream().delete_stream("cosmo-answers")
    await client.close()
    await connect(store, DURABLE)
    await one.store_answer("inbox", b"after", "after")
    assert (await got.until(11))[-1] == b"after"


async def test_a_lost_pull_request_is_repeated(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "SILENT_S", 0.3)
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.1)
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got, answers = recorder(), recorder()
    member = await other.subscribe("work", got, queue_group="g")
    inbox = await other.subscribe_answers("inbox", answers)
    for subscription in (member, inbox):
        # As if the server that had the request was killed.
        await subscription.durable.pull._subscription.unsubscribe()
    await one.publish("work", b"x", undelivered=got.report)
    await one.store_answer("inbox", b"y", "y")
    assert await got.until(1) == [b"x"]
    assert await answers.until(1) == [b"y"]


async def test_a_request_whose_cancellation_is_lost_leaves_no_task(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    requests = (await other.subscribe_answers("inbox", got)).durable.pull
    consumer, waiting, never = requests._consumer, asyncio.Semaphore(0), asyncio.Event()

    async def stuck() -> str:
        waiting.release()
        # Up to Python 3.11, `asyncio.wait_for` loses a cancellation that comes together with its result.
        with contextlib.suppress(asyncio.CancelledError):
            await never.wait()
        return "none"

    async def stuck_for_good() -> str:
        waiting.release()
        await never.wait()
        return "none"

    for each in (stuck, stuck_for_good):
        monkeypatch.setattr(requests, "_consumer", each)
        requests.recover()
        async with asyncio.timeout(5):
            await waiting.acquire()
    assert requests._recovering
    monkeypatch.setattr(requests, "_consumer", consumer)
    requests.recover()
    await one.store_answer("inbox", b"x", "x")
    assert await got.until(1) == [b"x"]
    monkeypatch.setattr(requests, "_consumer", stuck_for_good)
    requests.recover()
    async with asyncio.timeout(5):
        await waiting.acquire()


@pytest.mark.parametrize("count", [1, 3])
async def test_an_answer_that_is_lost_on_its_way_is_read_again(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.1)
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    requests = (await other.subscribe_answers("inbox", got)).durable.pull
    receive = requests._on_frame

    def lose_first(msg: Any) -> None:
        # The next answer, or a heartbeat of the server, shows that it is missing.
        requests._on_frame = receive

    requests._on_frame = lose_first
    sent = [b"%d" % number for number in range(count)]
    for frame in sent:
        await one.store_answer("inbox", frame, frame.decode())
    assert await got.until(count) == sent


async def publish_raw(server: Any, subject: str, header: bytes, data: bytes) -> None:
    """Publish with a header as it is: nats-py would correct its name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = b"NATS/1.0\r\n" + header + b"\r\n"
    writer.write(b'CONNECT {"verbose": false, "headers": true}\r\n')
    writer.write(b"HPUB %b %d %d\r\n" % (subject.encode(), len(head), len(head + data)))
    writer.write(head + data + b"\r\nPING\r\n")
    await reader.readuntil(b"PONG\r\n")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("spelling", [b"", b"Nats-Expected-Stream : %b\r\n", b"Other: x\r\n %b\r\n"])
async def test_a_frame_that_was_not_meant_for_its_stream_is_ignored(
    store: Any, connect: Any, recorder: Any, spelling: bytes
) -> None:
    synapse = await connect(store, DURABLE)
    got, answers = recorder(), recorder()
    await synapse.subscribe("work", got, queue_group="g")
    await synapse.subscribe_answers("inbox", answers)
    for stream, subject in (("cosmo-tasks", "work"), ("cosmo-answers", "inbox")):
        header = spelling and spelling % stream.encode()
        await publish_raw(store, f"{stream}.{subject}", header, b"copied by the server")
    await synapse.publish("work", b"true", undelivered=got.report)
    await synapse.store_answer("inbox", b"true", "id")
    assert await got.until(1) == [b"true"]
    assert await answers.until(1) == [b"true"]


async def test_a_failed_frame_is_reported_to_inboxes_only(store: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(store, f"{DURABLE}&max_deliveries=1")
    reports, elsewhere = recorder(), recorder()

    def fail(frame: bytes) -> None:
        raise ValueError(frame)

    await synapse.subscribe("work", fail, queue_group="g")
    await synapse.subscribe("elsewhere", elsewhere)
    client = await nats.connect(store.url)
    headers = {"Nats-Expected-Stream": "cosmo-tasks", "Cosmo-Report-To": "elsewhere"}
    await client.publish("cosmo-tasks.work", b"forged", headers=headers)
    await client.flush()
    await client.close()
    await synapse.publish("work", b"true", undelivered=reports.report)
    assert await reports.until(1) == [b"failed: true"]
    await synapse.publish("elsewhere", b"end")
    assert await elsewhere.until(1) == [b"end"]


async def test_a_frame_that_the_server_does_not_confirm_is_published_again(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "FIRST_ATTEMPT_S", 0.05)
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    await other.subscribe_answers("inbox", got)
    client = one._connection.client
    send, attempts = client.send, 0

    def lossy(subject: str, *args: Any) -> bool:
        nonlocal attempts
        attempts += subject.startswith("cosmo-answers")
        return attempts == 1 or send(subject, *args)

    client.send = lossy
    await one.store_answer("inbox", b"x", "x")
    assert await got.until(1) == [b"x"]
    assert attempts == 2


@pytest.mark.parametrize(
    "error",
    [
        {"code": 409, "err_code": 10158, "description": "duplicate message id is in process"},
        {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"},
    ],
)
async def test_a_frame_that_cannot_be_stored_at_the_moment_is_published_again(
    store: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, error: dict[str, object]
) -> None:
    synapse = await connect(store, DURABLE)
    answers = [{"error": error}, {"error": error}, {"stream": "cosmo-answers", "seq": 1}]

    async def answer(*args: Any) -> Any:
        return SimpleNamespace(data=json.dumps(answers.pop(0)).encode())

    monkeypatch.setattr(synapse._inbox, "request", answer)
    await synapse.store_answer("inbox", b"x", "x")
    assert answers == []


async def test_storing_an_answer_raises_if_the_server_does_not_confirm(store: Any, connect: Any) -> None:
    synapse = await connect(store, "?durable=true&store_timeout_s=0.3")
    store.kill()
    with pytest.raises(
        SynapseError, match=r"did not confirm within 0\.3 s that the frame on inbox is stored"
    ):
        await synapse.store_answer("inbox", b"x", "x")


async def test_a_redelivered_frame_whose_handler_runs_is_not_handled_again(
    store: Any, connect: Any, recorder: Any, slow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "?durable=true&ack_wait_s=0.3"
    one, other = await connect(store, query), await connect(store, query)
    stuck, reports = slow(), recorder()
    await other.subscribe("work", stuck, queue_group="g")
    # As if the lease could not be renewed.
    monkeypatch.setattr(other._keepalive, "add_lease", lambda lease: None)
    await one.publish("work", b"x", undelivered=reports.report)
    await stuck.until(1)
    # More often than max_deliveries.
    await asyncio.sleep(1.5)
    stuck.release.set()
    await one.publish("work", b"end", undelivered=reports.report)
    assert await stuck.until(2) == [b"x", b"end"]
    assert reports.frames == []


async def test_tasks_end_in_one_answer_through_kills_of_the_server(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    outputs = recorder()

    async def brief(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        await asyncio.sleep(0.002)
        return input

    async with Dendrite(synapse=one) as worker, Dendrite(synapse=other) as caller:
        await worker.add_axon(Axon(neuron_id="brief", neuron_fn=brief))

        async def call(numbers: Any) -> None:
            for number in numbers:
                reply = await caller.dispatch_and_wait(neuron="brief", input={"number": number}, timeout_s=30)
                outputs(reply.payload["output"]["number"])

        numbers = iter(range(300))
        calls = [asyncio.create_task(call(numbers)) for _ in range(20)]
        for kill in range(1, 4):
            await outputs.until(75 * kill, within_s=30)
            await asyncio.to_thread(store.restart)
        await asyncio.gather(*calls)
    assert sorted(outputs.frames) == list(range(300))


async def test_a_task_whose_answer_cannot_be_stored_is_delivered_again(
    store: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await connect(store, DURABLE + "&retry_s=0.1"), await connect(store, DURABLE)
    real, failures = one.store_answer, 0
    runs = 0

    async def failing(subject: str, frame: bytes, message_id: str) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise SynapseError("not now")
        await real(subject, frame, message_id)

    async def counted(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        return {"runs": runs}

    monkeypatch.setattr(one, "store_answer", failing)
    async with Dendrite(synapse=one) as worker, Dendrite(synapse=other) as caller:
        await worker.add_axon(Axon(neuron_id="counted", neuron_fn=counted))
        reply = await caller.dispatch_and_wait(neuron="counted", input={}, timeout_s=20)
    assert reply.payload["output"] == {"runs": 1}
    assert (failures, runs) == (3, 1)
