"""Conversion of messages, in the forms of other sources, to Ollama's form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_source_ollama.chat import to_ollama_messages

IMAGE = "aW1hZ2U="
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
URLS = st.sampled_from(["data:image/png;base64,aGk=", "data:,", "https://host/cat.png", ""])
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio"])},
    optional={
        "text": st.text(max_size=3) | ANY,
        "image_url": URLS | st.fixed_dictionaries({"url": URLS | ANY}),
    },
)
CALLS = st.fixed_dictionaries(
    {}, optional={"function": st.fixed_dictionaries({"arguments": st.just("{}") | ANY}) | ANY}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "developer", "assistant"])},
    optional={
        "content": st.text(max_size=3) | st.lists(PARTS | ANY, max_size=3),
        "tool_calls": st.lists(CALLS),
    },
)


def translated(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return to_ollama_messages({"messages": list(messages)}, system=None)


def test_messages_in_ollamas_own_form_stay_unchanged() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [IMAGE]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "7", "tool_name": "f"},
    ]
    assert translated(*messages) == messages


def test_parts_become_one_text_and_images() -> None:
    parts = [
        {"type": "text", "text": "What"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}", "detail": "low"}},
        {"type": "text", "text": "is this?"},
        {"type": "image_url", "image_url": f"data:image/png;base64,{IMAGE}"},
    ]
    expected = {"role": "user", "content": "What\nis this?", "images": ["b2xk", IMAGE, IMAGE]}
    assert translated({"role": "user", "content": parts, "images": ["b2xk"]}) == [expected]
    assert translated({"role": "user", "content": parts[:1]}) == [{"role": "user", "content": "What"}]


def test_images_beside_a_prompt_belong_to_its_message() -> None:
    messages = to_ollama_messages({"prompt": "What is this?", "images": [IMAGE]}, system="Be brief.")
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [IMAGE]},
    ]


def test_arguments_in_a_string_become_an_object() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    (message,) = translated({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message["tool_calls"] == [{**call, "function": {"name": "f", "arguments": {"a": 1}}}]


def test_the_role_developer_becomes_system() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    roles = [message["role"] for message in to_ollama_messages({"messages": messages}, system="Be long.")]
    assert roles == ["system", "user"]


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "part 'input_audio'"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "part 'text'"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "part 'Hi'"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "https://host/a"}]}
                ]
            },
            "does not fetch",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:,Hi"}]}]},
            "base64",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]},
            "not a JSON object",
        ),
        ({"messages": [{"role": "user", "content": "Hi"}], "images": [IMAGE]}, "goes with a prompt"),
    ],
)
def test_content_without_a_form_in_ollama_is_refused(input: dict[str, Any], says: str) -> None:
    with pytest.raises(NeuronError, match=says) as caught:
        to_ollama_messages(input, system=None)
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)


@pytest.mark.parametrize("arguments", ["", " ", "null", None, {}, "{}"])
def test_empty_arguments_of_a_tool_call_are_an_empty_object(arguments: object) -> None:
    call = {"id": "a", "function": {"name": "clock", "arguments": arguments}}
    (message,) = translated({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message["tool_calls"] == [{"id": "a", "function": {"name": "clock", "arguments": {}}}]


def test_absent_arguments_of_a_tool_call_are_an_empty_object() -> None:
    (message,) = translated(
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
    )
    assert message["tool_calls"] == [{"function": {"name": "f", "arguments": {}}}]


def translated_or_code(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        return translated(*messages)
    except NeuronError as error:
        return [{"content": error.code}]


@given(st.lists(MESSAGES, min_size=1, max_size=3))
def test_any_messages_become_valid_for_ollama_or_a_neuron_error(
    messages: list[dict[str, Any]],
) -> None:
    for message in translated_or_code(messages):
        assert isinstance(message.get("content") or "", str)
        assert all(not url.startswith("data:") for url in message.get("images", ()))
