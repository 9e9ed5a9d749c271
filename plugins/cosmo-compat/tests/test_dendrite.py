"""The Dendrite takes the arguments of cosmonapse, and its methods return what they return there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

import cosmonapse
from cosmo_core import MalformedSignalError, NoBidError, RoleError
from cosmonapse import (
    Axon,
    Cortex,
    Dendrite,
    DendriteProtocolError,
    MemoryRegistryStore,
    MemorySynapse,
    Signal,
    SignalType,
    new_event_id,
)

ULID: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


async def work(input: dict[str, Any], context: list[Any]) -> Any:
    return {"done": input}


def axon(neuron_id: str = "work", *capabilities: str) -> Axon:
    return Axon(neuron_id=neuron_id, neuron_fn=work, capabilities=capabilities)


@pytest.fixture
async def worker(synapse: MemorySynapse) -> AsyncIterator[Dendrite]:
    worker = Dendrite(synapse=synapse, role="worker", dendrite_id="worker", heartbeat_s=0)
    worker.attach_axon(axon("work", "a"))
    async with worker:
        yield worker


@pytest.fixture
async def asker(synapse: MemorySynapse, worker: Dendrite) -> AsyncIterator[Dendrite]:
    asker = Cortex(synapse=synapse, dendrite_id="asker", registry_store=MemoryRegistryStore())
    async with asker:
        await asker.wait_until_ready(neuron="work")
        yield asker


async def test_neurons_are_found(asker: Dendrite) -> None:
    assert [found.neuron_id for found in await asker.find_neurons(capability="a")] == ["work"]
    assert await asker.find_neurons(capability="b") == []
    assert [found.neuron_id for found in await asker.find_neurons()] == ["work"]


async def test_registry_store_shows_the_neurons_of_its_dendrites(
    asker: Dendrite, synapse: MemorySynapse
) -> None:
    store = asker.registry_store
    assert store is not None
    async with Dendrite(synapse=synapse, registry_store=store) as second:
        await second.wait_until_ready(neuron="work")
        assert [found.neuron_id for found in await store.list(capability="a")] == ["work"]
    assert await store.list(capability="b") == []
    found = await store.get("work")
    assert found is not None
    assert found.capabilities == ("a",)
    assert await store.get("none") is None
    assert await MemoryRegistryStore().list() == []


def test_other_registry_store_is_a_type_error(synapse: MemorySynapse) -> None:
    with pytest.raises(TypeError, match=r"registry_store is a MemoryRegistryStore, not \{\}"):
        Dendrite(synapse=synapse, registry_store={})  # type: ignore[arg-type]


def test_unknown_option_is_a_type_error(synapse: MemorySynapse) -> None:
    with pytest.raises(TypeError, match="glia"):
        Dendrite(synapse=synapse, glia=None)


def test_dendrite_has_its_id(synapse: MemorySynapse) -> None:
    assert (Dendrite(synapse=synapse).dendrite_id, Cortex) == ("dendrite", Dendrite)


def test_event_id_is_a_signal_id() -> None:
    assert re.fullmatch(f"evt_{ULID}", new_event_id())
    assert new_event_id() != new_event_id()


async def test_neuron_that_starts_later_is_waited_for(synapse: MemorySynapse) -> None:
    async with Dendrite(synapse=synapse) as asker:
        asked = asyncio.create_task(asker.dispatch_and_wait(neuron="work", input={}))
        await asyncio.sleep(0)
        async with Dendrite(synapse=synapse, role="worker") as worker:
            await worker.add_axon(axon())
            assert (await asked).type is SignalType.AGENT_OUTPUT


# --- errors -----------------------------------------------------------------------------------------


async def test_worker_cannot_dispatch(worker: Dendrite) -> None:
    question = Signal.new(SignalType.CLARIFICATION, {"question": "which?"})
    for call in (
        worker.dispatch(neuron="work", input={}),
        worker.dispatch_task(neuron="work", input={}),
        worker.dispatch_and_wait(neuron="work", input={}),
        worker.dispatch_and_subscribe(neuron="work", input={}),
        worker.dispatch_offer(capabilities=["a"], input={}),
        worker.stop_trace(question.trace_id),
        worker.emit(Signal.new(SignalType.TASK, {"input": {}})),
        worker.answer_clarification(question, "x"),
        worker.respond_to_clarification(question, "x", neuron="work", input={}),
    ):
        with pytest.raises(DendriteProtocolError, match="worker"):
            await call
    assert issubclass(DendriteProtocolError, RoleError)
    assert issubclass(DendriteProtocolError, ValueError)


async def test_answer_to_a_wrong_type_is_a_protocol_error(asker: Dendrite) -> None:
    task = Signal.new(SignalType.TASK, {"input": {}})
    for call in (
        asker.respond_to_clarification(task, answer="x"),
        asker.respond_to_permission(task, granted=True),
        asker.answer_clarification(task, answer="x"),
        asker.grant_permission(task),
        asker.deny_permission(task),
    ):
        with pytest.raises(DendriteProtocolError, match=f"{task.id} is a TASK, not a"):
            await call


async def test_other_errors_are_those_of_the_core(asker: Dendrite) -> None:
    with pytest.raises(MalformedSignalError, match=r"neuron: 'a\.b' is not a valid name") as error:
        await asker.dispatch(neuron="a.b", input={})
    assert not isinstance(error.value, DendriteProtocolError)


# --- handlers ---------------------------------------------------------------------------------------


async def test_handlers_of_any_type_are_called(asker: Dendrite) -> None:
    outputs: asyncio.Queue[Signal] = asyncio.Queue()
    plans: asyncio.Queue[Signal] = asyncio.Queue()
    asker.on_signal(SignalType.AGENT_OUTPUT, outputs.put_nowait, neuron="work")

    @asker.on_signal(SignalType.PLAN)
    async def planned(signal: Signal) -> None:
        plans.put_nowait(signal)

    async with asyncio.timeout(10):
        task = await asker.dispatch_task(neuron="work", input={"n": 1})
        assert (await outputs.get()).parent_id == task.id
        plan = await asker.emit_plan(task.trace_id, ["one"])
        assert await plans.get() == plan


async def test_dendrite_without_automatic_bids_makes_none(synapse: MemorySynapse) -> None:
    silent = Dendrite(synapse=synapse, role="worker", auto_bid=False)
    silent.attach_axon(axon("silent", "a"))
    async with silent, Dendrite(synapse=synapse) as asker:
        with pytest.raises(NoBidError):
            await asker.dispatch_offer(capabilities=["a"], input={}, deadline_ms=50)


@pytest.mark.parametrize("auto_bid", [True, False])
async def test_handlers_of_offers_get_those_for_their_capability(
    synapse: MemorySynapse, auto_bid: bool, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Dendrite(synapse=synapse, role="worker", auto_bid=auto_bid)
    worker.attach_axon(axon("work", "a", "b"))
    seen: list[str] = []

    @worker.on_task_offer
    def fails(offer: Signal) -> None:
        seen.append("every")
        raise OSError

    @worker.on_task_offer(capability="a")
    async def bids(offer: Signal) -> None:
        seen.append("a")
        await worker.bid(offer, neuron="work", cost=1.0)

    @worker.on_task_offer(capability="b")
    def waits(offer: Signal) -> None:
        seen.append("b")

    async with worker, Dendrite(synapse=synapse) as asker:
        pathway = await asker.dispatch_offer(capabilities=["a"], input={"n": 1})
        assert (await pathway.wait(10)).payload["output"] == {"done": {"n": 1}}
        assert seen == ["every", "a"]
        with pytest.raises(NoBidError):
            await asker.dispatch_offer(capabilities=["b"], input={}, deadline_ms=50)
        assert seen == ["every", "a", "every", "b"]
    assert caplog.text.count("of offers failed on evt_") == 2


async def test_handler_of_the_offers_of_one_trace(synapse: MemorySynapse) -> None:
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(axon("work", "a"))
    worker.on_task_offer(lambda offer: None, trace_id=cosmonapse.new_trace_id())
    async with worker, Dendrite(synapse=synapse) as asker:
        with pytest.raises(NoBidError):
            await asker.dispatch_offer(capabilities=["a"], input={}, deadline_ms=50)


async def test_annotations_of_a_neuron_are_not_read(synapse: MemorySynapse) -> None:
    async def greet(input: str, context: Unknown) -> int:  # type: ignore[name-defined]  # noqa: F821
        return {"input": input}  # type: ignore[return-value]

    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="greet", neuron_fn=greet))
    async with worker, Dendrite(synapse=synapse) as asker:
        reply = await asker.dispatch_and_wait(neuron="greet", input={"name": "Ada"}, timeout_s=10)
    assert reply.payload == {"output": {"input": {"name": "Ada"}}}


async def test_type_that_is_an_argument_is_checked(synapse: MemorySynapse) -> None:
    async def greet(input: Any, context: list[Any]) -> Any:
        return input

    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="greet", neuron_fn=greet, input_type=dict[str, int]))
    async with worker, Dendrite(synapse=synapse) as asker:
        reply = await asker.dispatch_and_wait(neuron="greet", input={"name": "Ada"}, timeout_s=10)
    assert reply.payload["code"] == "INPUT_INVALID"
