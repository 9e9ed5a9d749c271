"""The input and the output of an LLM Neuron."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm import INPUT_INVALID, PROMPT_KEYS, to_messages, to_output

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
ROLES = st.sampled_from(["user", "system", "developer"]) | ANY_JSON
MESSAGE = st.fixed_dictionaries({}, optional={"role": ROLES, "content": ANY_JSON})
PROMPTS = dict.fromkeys(PROMPT_KEYS, st.text(max_size=3) | ANY_JSON)
INPUTS = st.fixed_dictionaries({}, optional={"messages": st.lists(MESSAGE, max_size=3) | ANY_JSON, **PROMPTS})


@pytest.mark.parametrize("key", ["prompt", "text", "query", "content"])
def test_a_prompt_becomes_a_user_message(key: str) -> None:
    assert to_messages({key: "Hi"}) == [{"role": "user", "content": "Hi"}]


def test_to_messages_returns_valid_messages_unchanged() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    ]
    assert to_messages({"messages": messages}) == messages


def test_system_becomes_the_first_message() -> None:
    assert to_messages({"prompt": "Hi"}, system="Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_is_ignored_if_the_messages_begin_with_a_system_message(role: str) -> None:
    messages = [{"role": role, "content": "Be long."}, {"role": "user", "content": "Hi"}]
    assert to_messages({"messages": messages}, system="Be brief.") == messages


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({}, "neither prompt nor messages"),
        ({"prompt": None}, "neither prompt nor messages"),
        ({"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]}, "messages and prompt"),
        ({"prompt": "Hi", "text": "Ho"}, "prompt and text"),
        ({"prompt": ""}, "input.prompt"),
        ({"query": 7}, "input.query"),
        ({"messages": []}, "input.messages"),
        ({"messages": "Hi"}, "input.messages"),
        ({"messages": ["Hi"]}, "input.messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "input.messages[0]"),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "user"}]}, "input.messages[1]"),
    ],
)
def test_a_wrong_input_raises_an_error_that_says_what_was_expected(input: dict[str, Any], says: str) -> None:
    with pytest.raises(NeuronError) as caught:
        to_messages(input)
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert says in str(caught.value)
    assert '{"prompt": "…"}' in str(caught.value)


@given(INPUTS, st.none() | st.text(max_size=3))
def test_any_input_becomes_messages_or_a_neuron_error_and_is_not_changed(
    input: dict[str, Any], system: str | None
) -> None:
    before = copy.deepcopy(input)
    try:
        messages = to_messages(input, system=system)
    except NeuronError as error:
        failure = (error.code, error.recoverable)
        assert failure == INPUT_INVALID
    else:
        for message in messages:
            message.clear()
    assert input == before


def test_the_output_has_a_text_and_the_providers_answer() -> None:
    assert to_output("Hi", {"id": 1}) == {"response": "Hi", "meta": {"id": 1}}
