"""Descriptions of Neurons, fetched on request (P-4.17 and P-4.18)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import msgspec
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    LifecycleError,
    MalformedSignalError,
    NeuronDescription,
    NoRouteError,
    Signal,
    SignalType,
    encode,
)
from cosmo_core.protocol.payloads import MAX_DESCRIPTION, MAX_SCHEMA_BYTES

Start = Callable[..., Awaitable[Dendrite]]
DETAILS = {"description", "input_schema", "output_schema"}


class Order(TypedDict):
    topic: str


async def plan(input: Order, context: list[Any]) -> list[str]:
    """Plan an article.

    More.
    """
    return [input["topic"]]


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return input


PLAN = Axon(neuron_id="plan", neuron_fn=plan, capabilities=["plans"], version="2")
DESCRIPTION = NeuronDescription(
    "plan",
    "Plan an article.",
    ("plans",),
    "2",
    msgspec.json.schema(Order),
    {"type": "array", "items": {"type": "string"}},
)


@pytest.mark.clause("P-4.17")
async def test_description_is_fetched_on_request_only(start: Start, synapse: Any) -> None:
    worker = await start(PLAN, echo, role="worker", heartbeat_s=0.01)
    asker = await start(role="worker")
    assert await asker.describe_neuron("plan", timeout_s=10) == DESCRIPTION
    assert await worker.describe_neuron("plan", timeout_s=10) == DESCRIPTION
    assert await asker.describe_neuron("echo", timeout_s=10) == NeuronDescription(
        "echo", None, ("any",), None, None, None
    )
    with pytest.raises(NoRouteError):
        await asker.describe_neuron("outline", timeout_s=0.001)
    await synapse.have(SignalType.HEARTBEAT)
    asked = {sent.signal.id for sent in synapse.of(SignalType.DISCOVER) if "details" in sent.signal.payload}
    registers = [sent.signal for sent in synapse.of(SignalType.REGISTER)]
    told = [signal for signal in registers if DETAILS & signal.payload.keys()]
    assert [signal.directed.id for signal in told] == ["plan", "plan"]
    assert {signal.parent_id for signal in told} <= asked
    assert len(registers) > len(told) + 2


@pytest.mark.clause("P-4.17")
@pytest.mark.parametrize(
    "wish", [{}, {"details": True}, {"neuron": "plan"}, {"neuron": "plan", "details": False}], ids=repr
)
async def test_description_needs_a_name_and_details(start: Start, synapse: Any, wish: dict[str, Any]) -> None:
    await start(PLAN, role="worker")
    discover = Signal.new(SignalType.DISCOVER, wish, meta={"reply_to": "asker"})
    await synapse.publish("cosmonapse.test.DISCOVER", encode(discover))
    answer = await synapse.have(SignalType.REGISTER, lambda signal: signal.parent_id == discover.id)
    assert answer.payload == {"role": "neuron", "capabilities": ["plans"], "version": "2"}


async def test_first_answer_for_a_neuron_counts(start: Start, synapse: Any, shelf: Any) -> None:
    await start(shelf("plan"), role="worker")
    asker = await start()
    asking = asyncio.create_task(asker.describe_neuron("plan", timeout_s=10))
    discover = await synapse.have(SignalType.DISCOVER, lambda signal: "details" in signal.payload)
    # The Engram of the same id has answered; so do a host that knows no details, and another one.
    for version in ("1", "2"):
        answer = discover.reply(
            SignalType.REGISTER,
            {"role": "neuron", "capabilities": [], "version": version},
            directed=Directed("plan"),
        )
        subject = f"cosmonapse.test.REGISTER.inbox.{discover.meta['reply_to']}"
        await synapse.publish(subject, encode(answer))
    assert await asking == NeuronDescription("plan", None, (), "1", None, None)


async def test_error_names_the_neuron_that_does_not_answer(start: Start) -> None:
    await start(echo, role="worker")
    asker = await start()
    with pytest.raises(NoRouteError) as raised:
        await asker.describe_neuron("plan", timeout_s=0)
    assert str(raised.value) == (
        "no live Neuron 'plan' that answers within 0 s in this namespace; known: echo"
    )
    with pytest.raises(MalformedSignalError, match="neuron_id"):
        await asker.describe_neuron("a b")
    with pytest.raises(ValueError, match="timeout_s"):
        await asker.describe_neuron("plan", timeout_s=float("nan"))


async def test_waiting_ends_with_the_dendrite(start: Start, synapse: Any) -> None:
    asker = await start()
    asking = asyncio.create_task(asker.describe_neuron("plan", timeout_s=None))
    await synapse.have(SignalType.DISCOVER, lambda signal: "details" in signal.payload)
    await asker.stop()
    with pytest.raises(LifecycleError, match="stopped while it waited for a description"):
        await asking
    with pytest.raises(LifecycleError, match="is not running"):
        await asker.describe_neuron("plan")


@pytest.mark.clause("P-4.18")
@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"description": "a" * (MAX_DESCRIPTION + 1)}, "payload.description"),
        ({"description": 5}, "payload.description"),
        ({"input_schema": []}, "payload.input_schema"),
        ({"output_schema": "object"}, "payload.output_schema"),
        ({"output_schema": {"title": "a" * MAX_SCHEMA_BYTES}}, "payload"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_malformed_description_is_rejected(details: dict[str, Any], field: str) -> None:
    register = {"role": "neuron", "capabilities": []}
    with pytest.raises(MalformedSignalError) as raised:
        Signal.new(SignalType.REGISTER, {**register, **details})
    assert raised.value.field == field
    Signal.new(SignalType.REGISTER, {**register, **dict.fromkeys(DETAILS)})


def test_details_is_a_boolean() -> None:
    with pytest.raises(MalformedSignalError, match=r"payload\.details"):
        Signal.new(SignalType.DISCOVER, {"neuron": "plan", "details": "yes"})
