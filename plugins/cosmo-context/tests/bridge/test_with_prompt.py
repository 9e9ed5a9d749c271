"""A Neuron whose prompt is composed per TASK, over the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from cosmo_context import (
    Context,
    Neuron,
    PromptBuilder,
    PromptBuilderError,
    TraceMemory,
    with_prompt,
)
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


async def test_the_prompt_is_composed_of_the_task(ask: Ask, model: Model) -> None:
    answer = await ask(with_prompt(model, builder), {"prompt": "Why?", "facts": ["it rains"]})
    assert answer.raise_for_error().payload["output"] == {"response": "answer 1"}
    assert model.given == [
        {
            "facts": ["it rains"],
            "prompt": f"<task_info>\nTask ID: {answer.parent_id}\nInput: Why?\n</task_info>\n\n"
            "<facts>\n  - it rains\n</facts>",
        }
    ]


async def test_the_next_prompt_on_a_trace_tells_what_was_said_before(ask: Ask, model: Model) -> None:
    neuron, trace = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("history")), new_trace_id()
    await ask(neuron, {"prompt": "one"}, trace)
    await ask(neuron, {"prompt": "two"}, trace)
    await ask(neuron, {"prompt": "three"}, new_trace_id())
    assert [given["prompt"] for given in model.given] == [
        "",
        "<conversation_history>\n[user]: one\n[assistant]: answer 1\n</conversation_history>",
        "",
    ]


async def test_chat_messages_give_task_and_history_and_the_model_gets_messages(
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
            ],
        }
    ]


async def test_what_the_context_fetcher_brings_becomes_facts_and_knowledge(ask: Ask, model: Model) -> None:
    async def fetch(ref: str | None) -> list[Any]:
        return ["a fact", {"source": "book", "content": "a quote"}, 3]

    neuron = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("fact").add("knowledge"))
    await ask(neuron, {"prompt": "?", "facts": ("known",)}, axon={"context_fetcher": fetch})
    assert model.given[0]["prompt"] == (
        "<knowledge>\n  [book]: a quote\n</knowledge>\n\n<facts>\n  - known\n  - a fact\n</facts>"
    )


async def test_tasks_read_the_shared_context_live_and_write_their_own(ask: Ask, model: Model) -> None:
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


async def test_a_neuron_that_streams_still_streams_and_is_remembered(ask: Ask) -> None:
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


async def test_a_plain_function_works_too(ask: Ask) -> None:
    def shout(input: dict[str, Any], context: list[Any]) -> str:
        return str(input["prompt"]).upper()

    answer = await ask(with_prompt(shout, lambda ctx: PromptBuilder(ctx).add("fact")), {"facts": ["x"]})
    assert answer.payload["output"] == {"value": "<FACTS>\n  - X\n</FACTS>"}


async def test_without_a_bus_there_is_no_trace_to_remember(model: Model) -> None:
    memory = TraceMemory()
    neuron = with_prompt(model, builder, memory=memory)
    assert await neuron({"prompt": "Why?"}, []) == {"response": "answer 1"}
    assert repr(memory) == "<TraceMemory of 0 traces>"


async def test_what_the_model_holds_is_closed(model: Model) -> None:
    neuron = with_prompt(model, builder)
    await neuron.aclose()  # type: ignore[attr-defined]
    assert model.closed


async def test_an_input_of_the_wrong_shape_is_the_callers_mistake(ask: Ask, model: Model) -> None:
    answer = await ask(with_prompt(model, builder), {"prompt": "?", "facts": "s3cret"})
    assert answer.payload == {
        "code": "INPUT_INVALID",
        "message": "context Neuron 'fact' expected a list as state key 'facts', not str",
        "recoverable": False,
    }
    assert model.given == []


async def test_a_shared_state_of_the_wrong_shape_is_not(ask: Ask, model: Model) -> None:
    shared = Context("shared", state={"facts": "s3cret"})
    answer = await ask(with_prompt(model, builder, context=shared), {"prompt": "?"})
    assert answer.payload["code"] == "PROMPT_FAILED"


async def test_the_words_of_a_neurons_exception_stay_here(ask: Ask, model: Model) -> None:
    def compose(ctx: Context) -> PromptBuilder:
        return PromptBuilder(ctx).add_neuron(FailingNeuron(ValueError("s3cret")))

    answer = await ask(with_prompt(model, compose), {"prompt": "?"})
    assert answer.payload == {
        "code": "PROMPT_FAILED",
        "message": "context Neuron 'failing' failed: ValueError",
        "recoverable": False,
    }


def test_a_mistyped_name_is_found_before_any_task(model: Model) -> None:
    with pytest.raises(PromptBuilderError, match="did you mean 'history'"):
        with_prompt(model, lambda ctx: PromptBuilder(ctx).add("histori"))


def test_an_unknown_form_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="'chat'"):
        with_prompt(model, builder, form="chat")  # type: ignore[call-overload]
