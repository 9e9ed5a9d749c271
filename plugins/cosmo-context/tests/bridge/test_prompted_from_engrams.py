"""Prompted Neurons that recall from an Engram over the bus."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import pytest

from cosmo_context import Context, PromptBuilder, Recalled, with_prompt
from cosmo_core import Axon, Dendrite, EngramBinding, EngramError, EngramGuarantees, EngramNotBound, Signal
from cosmo_core.contracts.engram import Findings, Found, Query, text_of
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse

Ask = Callable[..., Awaitable[Signal]]

ENTRIES: list[dict[str, Any]] = [
    {"text": "The bus stops at noon.", "source": "timetable"},
    {"text": "Ada takes the bus."},
    {"text": "It rains."},
]


class Notes:
    """A read-only Engram with a few entries."""

    engram_id = "notes"
    engram_kind = "context"
    guarantees = EngramGuarantees(durable=False, vectors=False, rollback=False)

    def __init__(self) -> None:
        self.error: EngramError | None = None

    async def connect(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def recall(self, query: Query) -> Findings:
        if self.error is not None:
            raise self.error
        fitting = [
            Found(str(number), json.dumps(entry).encode())
            for number, entry in enumerate(ENTRIES)
            if set(query.words or ()) & set(text_of(entry).split())
        ]
        return Findings(fitting[: query.limit], len(fitting) > query.limit)

    async def imprint(self, write: Any) -> NoReturn:
        raise EngramError("these notes are read-only", code="ENGRAM_UNSUPPORTED")

    async def roll_back(self, trace_id: str) -> int:
        return 0

    async def commit(self, trace_id: str) -> None:
        """Do nothing."""


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def ask(notes: Notes) -> AsyncIterator[Ask]:
    """Host a Neuron whose Axon binds the notes, and return the reply to a TASK."""
    async with contextlib.AsyncExitStack() as stack:
        synapse = MemorySynapse()
        await synapse.connect()
        stack.push_async_callback(synapse.close)
        keeper, worker, asker = (Dendrite(synapse=synapse, plugins=PluginManager()) for _ in range(3))
        keeper.attach_engram(notes)
        for dendrite in (keeper, worker, asker):
            await stack.enter_async_context(dendrite)

        async def ask(neuron: Any, input: dict[str, Any]) -> Signal:
            await worker.add_axon(
                Axon(neuron_id="llm", neuron_fn=neuron, engrams=[EngramBinding("ctx", "notes")])
            )
            return await asker.dispatch_and_wait(neuron="llm", input=input, timeout_s=5)

        yield ask


def compose(ctx: Context) -> PromptBuilder:
    return PromptBuilder(ctx).add("knowledge").add("fact")


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return {"response": input["prompt"]}


async def echo_in_pieces(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
    for line in input["prompt"].splitlines(keepends=True):
        yield line


each_kind = pytest.mark.parametrize("model", [echo, echo_in_pieces])


@each_kind
async def test_prompt_contains_entries_of_the_bound_engram(ask: Ask, model: Any) -> None:
    neuron = with_prompt(
        model,
        compose,
        recalls=[
            Recalled("ctx"),
            Recalled("ctx", key="facts", query=lambda ctx: {"text": ctx.state.get("weather")}),
        ],
    )
    answer = await ask(neuron, {"prompt": "When is a bus?", "weather": "rains", "facts": ["It is May."]})
    assert answer.raise_for_error().payload["output"]["response"] == (
        "<knowledge>\n"
        "  [timetable]: The bus stops at noon.\n"
        "  [notes]: Ada takes the bus.\n"
        "</knowledge>\n\n"
        "<facts>\n  - It is May.\n  - It rains.\n</facts>"
    )


@each_kind
async def test_failing_engram_ends_the_task_with_its_code(ask: Ask, notes: Notes, model: Any) -> None:
    notes.error = EngramError("the disk is gone", code="ENGRAM_UNAVAILABLE", recoverable=True)
    answer = await ask(with_prompt(model, compose, recalls=[Recalled("ctx")]), {"prompt": "When is a bus?"})
    assert answer.payload == {
        "code": "ENGRAM_UNAVAILABLE",
        "message": "the disk is gone",
        "recoverable": True,
    }


@each_kind
def test_axon_without_binding_is_refused(model: Any) -> None:
    with pytest.raises(EngramNotBound, match="recall"):
        Axon(neuron_id="llm", neuron_fn=with_prompt(model, compose, recalls=[Recalled("ctx")]))
    Axon(neuron_id="llm", neuron_fn=with_prompt(model, compose))
    Axon(neuron_id="llm", neuron_fn=with_prompt(model, compose, recalls=[]))


async def test_unbound_name_ends_the_task(ask: Ask) -> None:
    answer = await ask(with_prompt(echo, compose, recalls=[Recalled("memory")]), {"prompt": "When?"})
    assert answer.payload["code"] == "ENGRAM_NOT_BOUND"
    assert "no EngramBinding named 'memory'; it has 'ctx'" in answer.payload["message"]


async def test_neuron_can_pass_on_its_recall(ask: Ask) -> None:
    prompted: Any = with_prompt(echo, compose, recalls=[Recalled("ctx")])

    async def outer(input: dict[str, Any], context: list[Any], *, recall: Any) -> Any:
        return {"said": (await prompted(input, context, recall=recall))["response"]}

    answer = await ask(outer, {"prompt": "Does Ada come?"})
    assert answer.payload["output"]["said"] == "<knowledge>\n  [notes]: Ada takes the bus.\n</knowledge>"


async def test_aclose_closes_plain_and_streaming_models() -> None:
    closed: list[str] = []

    class Model:
        async def __call__(self, input: dict[str, Any], context: list[Any]) -> None: ...

        async def aclose(self) -> None:
            closed.append("plain")

    class StreamingModel:
        async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
            yield ""

        async def aclose(self) -> None:
            closed.append("streaming")

    for model in (Model(), StreamingModel()):
        neuron: Any = with_prompt(model, compose, recalls=[Recalled("ctx")])
        await neuron.aclose()
    assert closed == ["plain", "streaming"]
