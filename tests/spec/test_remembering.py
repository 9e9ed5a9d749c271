"""Shared memory on the wire: section 14."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    EngramBinding,
    EngramError,
    EngramTimeout,
    Signal,
    SignalType,
    encode,
)
from cosmo_core.contracts.delivery import HeldFrame
from cosmo_core.protocol.ids import new_trace_id

Start = Callable[..., Awaitable[Dendrite]]
TYPE = SignalType
OTHER = new_trace_id()


async def exchange(synapse: Any, subject: str, request: Signal, answer: SignalType) -> Signal:
    """Publish a request as another implementation would, and return the answer."""
    found: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()

    def receive(frame: bytes) -> None:
        signal = msgspec.json.decode(frame)
        if signal["parent_id"] == request.id and not found.done():
            found.set_result(Signal(**{**signal, "type": SignalType(signal["type"]), "directed": None}))

    subscription = await synapse.subscribe(f"cosmonapse.test.{answer.value}", receive)
    await synapse.publish_raw(subject, encode(request))
    try:
        return await found
    finally:
        await subscription.unsubscribe()


@pytest.mark.clause("P-14.1")
async def test_engrams_are_registered_discovered_and_deregistered(
    start: Start, synapse: Any, shelf: Any
) -> None:
    host = await start(shelf("ctx", "context"), heartbeat_s=7)
    orchestrator = await start()
    (register,) = [sent.signal for sent in synapse.of(TYPE.REGISTER) if sent.signal.parent_id is None]
    assert register.payload == {"role": "engram", "capabilities": ["context"]}
    assert register.directed == Directed("ctx", "context", ("context",))
    assert (register.meta["heartbeat_s"], register.meta["load"]) == (7, 0)
    # The orchestrator started later, and got the REGISTER as an answer to its DISCOVER.
    await orchestrator.wait_until_ready(engram="ctx")
    assert [record.engram_id for record in orchestrator.find_engrams("context")] == ["ctx"]
    assert orchestrator.find_neurons() == []
    await host.stop()
    assert [sent.signal.directed for sent in synapse.of(TYPE.DEREGISTER)] == [register.directed]
    assert orchestrator.find_engrams() == []


@pytest.mark.clause("P-14.1")
@pytest.mark.parametrize(
    ("wish", "answers"), [({"neuron": "ctx"}, 1), ({"capabilities": ["context"]}, 1), ({"neuron": "x"}, 0)]
)
async def test_discover_finds_engrams_by_id_and_kind(
    start: Start, synapse: Any, shelf: Any, wish: dict[str, Any], answers: int
) -> None:
    await start(shelf("ctx", "context"))
    discover = Signal.new(TYPE.DISCOVER, wish)
    await synapse.publish("cosmonapse.test.DISCOVER", encode(discover))
    last = Signal.new(TYPE.DISCOVER, {"neuron": "ctx"})
    await exchange(synapse, "cosmonapse.test.DISCOVER", last, TYPE.REGISTER)
    found = [sent for sent in synapse.of(TYPE.REGISTER) if sent.signal.parent_id == discover.id]
    assert len(found) == answers


@pytest.mark.clause("P-14.2", "P-14.4", "P-14.5")
async def test_requests_use_the_engram_subject_and_answers_the_inbox(
    start: Start, synapse: Any, shelf: Any
) -> None:
    await start(shelf())
    orchestrator = await start()
    receipt = await orchestrator.imprint("ctx", op="upsert", merge_key="k", entry={"a": 1, "embedding": [1]})
    assert (receipt.engram_id, receipt.op, receipt.id, receipt.version) == ("ctx", "upsert", "k", 1)
    result = await orchestrator.recall("ctx", {"merge_key": "k"})
    (hit,) = result.hits
    assert (hit.id, hit.entry, hit.score, hit.engram_id) == ("k", {"a": 1}, 0.5, "ctx")
    for request, answer in ((TYPE.IMPRINT, TYPE.IMPRINTED), (TYPE.RECALL, TYPE.RECALLED)):
        (asked,), (told,) = synapse.of(request), synapse.of(answer)
        assert asked.subject == f"cosmonapse.test.{request.value}.engram.ctx"
        assert asked.signal.directed == Directed("ctx")
        assert told.subject == f"cosmonapse.test.{answer.value}.inbox.{asked.signal.meta['reply_to']}"
        assert told.signal.parent_id == asked.signal.id
        assert told.signal.trace_id == asked.signal.trace_id
        assert told.signal.payload["engram_id"] == "ctx"


@pytest.mark.clause("P-14.2")
async def test_hosts_of_one_engram_share_its_requests(start: Start, shelf: Any) -> None:
    shelves = [shelf(), shelf()]
    for each in shelves:
        await start(each)
    orchestrator = await start()
    for _ in range(10):
        await orchestrator.recall("ctx", {})
    assert [len(each.queries) for each in shelves] == [5, 5]


@pytest.mark.clause("P-14.3")
@pytest.mark.parametrize(
    ("directed", "answered"),
    [
        (Directed("ctx"), {TYPE.RECALL, TYPE.IMPRINT}),
        (Directed(type="context"), {TYPE.RECALL}),
        (Directed("ctx", "other"), {TYPE.RECALL, TYPE.IMPRINT}),
        (Directed("other", "context"), set()),
        (None, set()),
    ],
    ids=["id", "kind", "id-and-kind", "other-id", "undirected"],
)
async def test_requests_on_the_broadcast_subject_are_answered_by_the_addressed_engram(
    start: Start, synapse: Any, shelf: Any, directed: Directed | None, answered: set[SignalType]
) -> None:
    await start(shelf("ctx", "context"))
    requests = {
        TYPE.RECALL: Signal.new(TYPE.RECALL, {"query": {}}, directed=directed),
        TYPE.IMPRINT: Signal.new(TYPE.IMPRINT, {"op": "append", "entry": {}}, directed=directed),
    }
    for type, request in requests.items():
        await synapse.publish(f"cosmonapse.test.{type.value}", encode(request))
    last = Signal.new(TYPE.RECALL, {"query": {}}, directed=Directed("ctx"))
    await exchange(synapse, "cosmonapse.test.RECALL", last, TYPE.RECALLED)
    told = {sent.signal.parent_id for sent in synapse.of(TYPE.RECALLED, TYPE.IMPRINTED)}
    assert told - {last.id} == {requests[type].id for type in answered}


@pytest.mark.clause("P-14.8")
async def test_failed_request_is_answered_with_a_code(start: Start, synapse: Any, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)
    orchestrator = await start()
    with pytest.raises(EngramError) as invalid:
        await orchestrator.imprint("ctx", op="upsert", entry={})
    assert (invalid.value.code, keeper.writes) == ("ENGRAM_INVALID", [])
    await orchestrator.imprint("ctx", op="add", merge_key="k")
    with pytest.raises(EngramError, match="'k' is there") as exists:
        await orchestrator.imprint("ctx", op="add", merge_key="k")
    assert (exists.value.code, exists.value.recoverable) == ("ENGRAM_EXISTS", False)
    told = synapse.of(TYPE.IMPRINTED)[-1].signal.payload
    assert told == {
        "engram_id": "ctx",
        "op": "add",
        "error": {"code": "ENGRAM_EXISTS", "message": "'k' is there", "recoverable": False},
    }


@pytest.mark.clause("P-14.8")
async def test_error_that_is_a_string_is_an_error(start: Start, synapse: Any) -> None:
    orchestrator = await start()

    async def answer(frame: bytes) -> None:
        asked = msgspec.json.decode(frame)
        told = {"engram_id": "old", "hits": [], "truncated": False, "error": "out of order"}
        recalled = Signal.new(TYPE.RECALLED, told, trace_id=asked["trace_id"], parent_id=asked["id"])
        subject = f"cosmonapse.test.RECALLED.inbox.{asked['meta']['reply_to']}"
        await synapse.publish_raw(subject, encode(recalled))

    await synapse.subscribe("cosmonapse.test.RECALL.engram.old", answer, queue_group="old")
    with pytest.raises(EngramError, match="'old': out of order"):
        await orchestrator.recall("old", {})


@pytest.mark.clause("P-14.9")
async def test_write_has_the_id_of_its_signal_or_its_own(start: Start, synapse: Any, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)
    orchestrator = await start()
    await orchestrator.imprint("ctx", op="append", imprint_id="mine")
    await orchestrator.imprint("ctx", op="append")
    signal = synapse.of(TYPE.IMPRINT)[-1].signal
    assert [write.imprint_id for write in keeper.writes] == ["mine", signal.id]


@pytest.mark.clause("P-14.10")
async def test_roll_back_waits_for_running_writes(start: Start, synapse: Any, shelf: Any) -> None:
    keeper = shelf()
    keeper.gate = asyncio.Event()
    await start(keeper)
    orchestrator = await start()
    trace_id = new_trace_id()
    writing = asyncio.create_task(orchestrator.imprint("ctx", op="append", trace_id=trace_id))
    await keeper.asked.wait()
    stopping = asyncio.create_task(orchestrator.stop_trace(trace_id, rollback=True))
    await synapse.have(TYPE.STOP)
    for _ in range(20):
        await asyncio.sleep(0)
    assert ("roll back", trace_id) not in keeper.ended
    keeper.gate.set()
    (stopped,) = await stopping
    await writing
    assert stopped.payload == {"cancelled": 0, "rolled_back": 1}
    assert keeper.ended[-1] == ("roll back", trace_id)


@pytest.mark.clause("P-14.10")
@pytest.mark.parametrize("error", [EngramError("the store is gone"), RuntimeError("secret")], ids=str)
async def test_failed_roll_back_is_named_in_stopped(start: Start, shelf: Any, error: Exception) -> None:
    broken, sound = shelf("broken"), shelf("sound")

    async def roll_back(trace_id: str) -> int:
        raise error

    broken.roll_back = roll_back
    await start(broken, sound)
    orchestrator = await start()
    trace_id = new_trace_id()
    await orchestrator.imprint("sound", op="append", trace_id=trace_id)
    (stopped,) = await orchestrator.stop_trace(trace_id, rollback=True)
    reason = "the store is gone" if isinstance(error, EngramError) else "RuntimeError"
    assert stopped.payload == {"cancelled": 0, "rolled_back": 1, "failed": {"broken": reason}}


@pytest.mark.clause("P-14.10")
async def test_stop_without_rollback_undoes_nothing(start: Start, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)
    (stopped,) = await (await start()).stop_trace(OTHER)
    assert stopped.payload == {"cancelled": 0, "rolled_back": 0}
    assert keeper.ended == [("connect", "")]


@pytest.mark.clause("P-14.11")
async def test_every_final_of_the_namespace_commits(start: Start, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)

    async def answers(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    await start(answers, role="worker")
    orchestrator = await start()
    # This FINAL goes to an inbox, the other one to the broadcast subject.
    reply = await orchestrator.dispatch_and_wait(neuron="answers", input={}, finalize=True)
    await keeper.committed.wait()
    keeper.committed.clear()
    await orchestrator.emit_final(OTHER, {})
    await keeper.committed.wait()
    assert keeper.ended[1:] == [("commit", reply.trace_id), ("commit", OTHER)]


@pytest.mark.clause("P-14.12")
async def test_writes_of_stopped_work_are_refused(start: Start, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)
    orchestrator = await start()
    trace_id = new_trace_id()
    # The TASK was made before the STOP, and its IMPRINT is sent after it.
    before = Signal.new(TYPE.TASK, {"input": {}}, trace_id=trace_id)
    await orchestrator.stop_trace(trace_id)
    after = Signal.new(TYPE.TASK, {"input": {}}, trace_id=trace_id)
    with pytest.raises(EngramError) as caught:
        await orchestrator.imprint("ctx", op="append", trace_id=trace_id, parent_id=before.id)
    assert (caught.value.code, keeper.writes) == ("ENGRAM_STOPPED", [])
    await orchestrator.imprint("ctx", op="append", trace_id=trace_id, parent_id=after.id)
    await orchestrator.imprint("ctx", op="append", trace_id=trace_id)
    assert len(keeper.writes) == 2


@pytest.mark.clause("P-14.13")
async def test_requests_carry_a_deadline_that_hosts_respect(start: Start, synapse: Any, shelf: Any) -> None:
    keeper = shelf()
    await start(keeper)
    orchestrator = await start()
    await orchestrator.recall("ctx", {}, timeout_s=2)
    assert synapse.of(TYPE.RECALL)[0].signal.payload["deadline_ms"] == 2000
    keeper.gate = asyncio.Event()
    request = Signal.new(TYPE.RECALL, {"query": {}, "deadline_ms": 20}, directed=Directed("ctx"))
    told = await exchange(synapse, "cosmonapse.test.RECALL", request, TYPE.RECALLED)
    assert told.payload["error"]["code"] == "ENGRAM_TIMEOUT"
    asked = len(keeper.queries)
    late = Signal.new(TYPE.RECALL, {"query": {}, "deadline_ms": 1000}, directed=Directed("ctx"))
    await synapse.publish_raw("cosmonapse.test.RECALL", HeldFrame(encode(late), 1.5))
    told = await synapse.have(TYPE.RECALLED, lambda answer: answer.parent_id == late.id)
    assert told.payload["error"]["code"] == "ENGRAM_TIMEOUT"
    assert len(keeper.queries) == asked


@pytest.mark.clause("P-14.13")
async def test_missing_answer_is_a_timeout(start: Start, synapse: Any) -> None:
    await synapse.subscribe("cosmonapse.test.RECALL.engram.deaf", lambda _: None, queue_group="deaf")
    orchestrator = await start()
    with pytest.raises(EngramTimeout, match=r"'deaf' within 0\.05 s"):
        await orchestrator.recall("deaf", {}, timeout_s=0.05)


@pytest.mark.clause("P-14.14")
async def test_unknown_engram_is_discovered_first(start: Start, synapse: Any, shelf: Any) -> None:
    orchestrator = await start(discovery_s=5)
    asking = asyncio.create_task(orchestrator.recall("ctx", {}))
    await synapse.have(TYPE.DISCOVER, lambda discover: discover.payload == {"neuron": "ctx"})
    await start(shelf())
    assert (await asking).hits == []


@pytest.mark.clause("P-14.14")
async def test_engram_without_a_host_is_no_route(start: Start, shelf: Any) -> None:
    await start(shelf("other"))
    orchestrator = await start()
    with pytest.raises(EngramError, match="known: other") as caught:
        await orchestrator.recall("ctx", {})
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_NO_ROUTE", True)


@pytest.mark.clause("P-14.14")
@pytest.mark.parametrize(
    ("why", "code"),
    [("overloaded", "ENGRAM_OVERLOADED"), ("lost", "ENGRAM_UNAVAILABLE"), ("failed", "ENGRAM_UNAVAILABLE")],
)
async def test_undelivered_request_is_an_error(
    start: Start, synapse: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch, why: Any, code: str
) -> None:
    await start(shelf())
    orchestrator = await start()
    publish = synapse.publish

    async def lose(subject: str, frame: bytes, **options: Any) -> None:
        if ".RECALL." in subject:
            options["undelivered"](frame, why)
        else:
            await publish(subject, frame, **options)

    monkeypatch.setattr(synapse, "publish", lose)
    with pytest.raises(EngramError, match="'ctx'") as caught:
        await orchestrator.recall("ctx", {})
    assert caught.value.code == code


@pytest.mark.clause("P-14.15")
async def test_each_engram_of_a_kind_gets_its_own_recall(start: Start, synapse: Any, shelf: Any) -> None:
    await start(shelf("a", "notes"), shelf("b", "notes"))
    await start(shelf("c", "other"))
    orchestrator = await start()
    result = await orchestrator.recall(None, {}, kind="notes", mode="all")
    asked = [sent.signal.directed.id for sent in synapse.of(TYPE.RECALL) if sent.signal.directed]
    assert (sorted(asked), sorted(result.engrams), result.partial) == (["a", "b"], ["a", "b"], False)
    assert {sent.signal.payload["recall_mode"] for sent in synapse.of(TYPE.RECALL)} == {"all"}


@pytest.mark.clause("P-14.16")
async def test_requests_of_a_neuron_belong_to_its_task(start: Start, synapse: Any, shelf: Any) -> None:
    await start(shelf())

    async def thinks(input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any) -> Any:
        await imprint("ctx", op="append", entry={})
        return len((await recall("ctx", {})).hits)

    await start(Axon(neuron_id="thinks", neuron_fn=thinks, engrams=[EngramBinding("ctx", timeout_s=60)]))
    reply = await (await start()).dispatch_and_wait(neuron="thinks", input={}, timeout_s=3)
    reply.raise_for_error()
    (task,) = [sent.signal for sent in synapse.of(TYPE.TASK)]
    for sent in synapse.of(TYPE.RECALL, TYPE.IMPRINT):
        assert (sent.signal.trace_id, sent.signal.parent_id) == (task.trace_id, task.id)
        assert 0 < sent.signal.payload["deadline_ms"] <= 3000
