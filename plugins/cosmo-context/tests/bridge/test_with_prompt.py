"""`with_prompt` over the bus: a prompt is composed for each TASK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

import cosmo_llm
from cosmo_context import (
    Context,
    Neuron,
    PromptBuilder,
    PromptBuilderError,
    TraceMemory,
    with_prompt,
)
from cosmo_context.bridge.feeding import PROMPT_KEYS
from cosmo_core import Signal
from cosmo_core.protocol.ids import new_trace_id

Ask = Callable[..., Awaitable[Signal]]


class Model(Protocol):
    given: list[dict[str, Any]]
    closed: bool

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any: ...


def builder(ctx: Context) -> PromptBuilder:
    return PromptBuilder(ctx).add("task").add("history").add("fact").add("knowledge")


class FailingNeuron(Neuron):
    def __init__(self, error: Exception) -> None:
        super().__init__("failing")
        self._error = error

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        raise self._error


async def test_prompt_is_composed_from_the_task(ask: Ask, model: Model) -> None:
    answer = await ask(with_prompt(model, builder), {"prompt": "Why?", "facts": ["it rains"]})
    assert answer.raise_for_error().payload["output"] == {"response": "answer 1"}
    assert model.given == [
        {
            "facts": ["it rains"],
            "prompt": f"<task_info>\nTask ID: {answer.parent_id}\nInput: Why?\n</task_info>\n\n"
            "<facts>\n  - it rains\n</facts>",
        }
    ]


async def test_next_prompt_on_a_trace_contains_the_conversation(ask: Ask, model: Model) -> None:
    neuron, trace = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("history")), new_trace_id()
    await ask(neuron, {"prompt": "one"}, trace)
    await ask(neuron, {"prompt": "two"}, trace)
    await ask(neuron, {"prompt": "three"}, new_trace_id())
    assert [given["prompt"] for given in model.given] == [
        "",
        "<conversation_history>\n[user]: one\n[assistant]: answer 1\n</conversation_history>",
        "",
    ]


async def test_messages_become_task_and_history_and_form_messages_passes_messages(
    ask: Ask, model: Model
) -> None:
    neuron = with_prompt(
        model, lambda ctx: PromptBuilder(ctx, layout="cache").add("history").add("skill"), form="messages"
    )
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "now what"},
    ]
    skills = [{"name": "sing", "description": "out loud"}]
    await ask(neuron, {"messages": messages, "skills": skills, "tools": []})
    assert model.given == [
        {
            "tools": [],
            "skills": skills,
            "messages": [
                {
                    "role": "system",
                    "content": "<available_skills>\n  - sing: out loud\n</available_skills>",
                },
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "hi"},
                {"role": "user", "content": "now what"},
            ],
        }
    ]


async def test_model_gets_only_the_keys_that_it_says_it_takes(ask: Ask, model: Model) -> None:
    model.input_keys = frozenset({"prompt", "messages", "temperature"})  # type: ignore[attr-defined]
    neuron = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("fact"))
    await ask(neuron, {"prompt": "?", "facts": ["known"], "temperature": 0, "weather": "fine"})
    assert model.given == [{"temperature": 0, "prompt": "<facts>\n  - known\n</facts>"}]


async def test_items_of_the_context_fetcher_become_facts_and_knowledge(ask: Ask, model: Model) -> None:
    async def fetch(ref: str | None) -> list[Any]:
        return ["a fact", {"source": "book", "content": "a quote"}, 3]

    neuron = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("fact").add("knowledge"))
    await ask(neuron, {"prompt": "?", "facts": ("known",)}, axon={"context_fetcher": fetch})
    assert model.given[0]["prompt"] == (
        "<knowledge>\n  [book]: a quote\n</knowledge>\n\n<facts>\n  - known\n  - a fact\n</facts>"
    )


async def test_tasks_read_the_shared_context_and_write_their_own(ask: Ask, model: Model) -> None:
    shared = Context("shared", state={"facts": ["old"]})
    neuron = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("fact"), context=shared)
    await ask(neuron, {"prompt": "?", "facts": ["mine"]})
    shared.state.set("facts", ["new"])
    await ask(neuron, {"prompt": "?"})
    assert [given["prompt"] for given in model.given] == [
        "<facts>\n  - mine\n</facts>",
        "<facts>\n  - new\n</facts>",
    ]
    assert shared.state.to_dict() == {"facts": ["new"]}


async def test_streaming_neuron_streams_and_is_remembered(ask: Ask) -> None:
    prompts = []

    async def streams(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        prompts.append(input["prompt"])
        yield "a"
        yield "b"

    neuron, trace = with_prompt(streams, lambda ctx: PromptBuilder(ctx).add("history")), new_trace_id()
    answer = await ask(neuron, {"prompt": "one"}, trace)
    assert answer.payload["output"] == {"response": "ab"}
    await ask(neuron, {"prompt": "two"}, trace)
    assert prompts[1] == "<conversation_history>\n[user]: one\n[assistant]: ab\n</conversation_history>"


async def test_plain_function_can_be_prompted(ask: Ask) -> None:
    def shout(input: dict[str, Any], context: list[Any]) -> str:
        return str(input["prompt"]).upper()

    answer = await ask(with_prompt(shout, lambda ctx: PromptBuilder(ctx).add("fact")), {"facts": ["x"]})
    assert answer.payload["output"] == {"value": "<FACTS>\n  - X\n</FACTS>"}


async def test_call_without_a_bus_is_not_remembered(model: Model) -> None:
    memory = TraceMemory()
    neuron = with_prompt(model, builder, memory=memory)
    assert await neuron({"prompt": "Why?"}, []) == {"response": "answer 1"}
    assert repr(memory) == "<TraceMemory of 0 traces>"


async def test_aclose_closes_the_model(model: Model) -> None:
    neuron = with_prompt(model, builder)
    await neuron.aclose()  # type: ignore[attr-defined]
    assert model.closed


async def test_input_of_the_wrong_type_is_invalid_input(ask: Ask, model: Model) -> None:
    answer = await ask(with_prompt(model, builder), {"prompt": "?", "facts": "s3cret"})
    assert answer.payload == {
        "code": "INPUT_INVALID",
        "message": "context Neuron 'fact' expected a list as state key 'facts', not str",
        "recoverable": False,
    }
    assert model.given == []


async def test_shared_state_of_the_wrong_type_is_a_failed_prompt(ask: Ask, model: Model) -> None:
    shared = Context("shared", state={"facts": "s3cret"})
    answer = await ask(with_prompt(model, builder, context=shared), {"prompt": "?"})
    assert answer.payload["code"] == "PROMPT_FAILED"


async def test_message_of_a_neurons_exception_is_not_sent(ask: Ask, model: Model) -> None:
    def compose(ctx: Context) -> PromptBuilder:
        return PromptBuilder(ctx).add_neuron(FailingNeuron(ValueError("s3cret")))

    answer = await ask(with_prompt(model, compose), {"prompt": "?"})
    assert answer.payload == {
        "code": "PROMPT_FAILED",
        "message": "context Neuron 'failing' failed: ValueError",
        "recoverable": False,
    }


def test_unknown_neuron_is_reported_before_any_task(model: Model) -> None:
    with pytest.raises(PromptBuilderError, match="did you mean 'history'"):
        with_prompt(model, lambda ctx: PromptBuilder(ctx).add("histori"))


def test_prompt_keys_are_those_of_the_llm_sources() -> None:
    # `cosmo_llm` brings an HTTP client, so this package states the keys itself.
    assert PROMPT_KEYS == cosmo_llm.PROMPT_KEYS


def test_unknown_form_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="'chat'"):
        with_prompt(model, builder, form="chat")  # type: ignore[call-overload]
