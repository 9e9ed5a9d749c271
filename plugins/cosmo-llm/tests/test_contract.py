from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cosmo_llm as chat
from cosmo_core.errors import NeuronError

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
ROLES = st.sampled_from(["user", "system", "developer"]) | ANY_JSON
MESSAGE = st.fixed_dictionaries({}, optional={"role": ROLES, "content": ANY_JSON})
PROMPTS = dict.fromkeys(chat.PROMPT_KEYS, st.text(max_size=3) | ANY_JSON)
# A bracket of `[redacted]` would complete a secret that has one, too.
SECRETS = st.text(st.characters(exclude_characters="[]…"), min_size=1)
INPUTS = st.fixed_dictionaries({}, optional={"messages": st.lists(MESSAGE, max_size=3) | ANY_JSON, **PROMPTS})


@pytest.mark.parametrize("key", ["prompt", "text", "query", "content"])
def test_a_prompt_becomes_a_user_message(key: str) -> None:
    assert chat.to_messages({key: "Hi"}) == [{"role": "user", "content": "Hi"}]


def test_messages_stay_what_they_are() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    ]
    assert chat.to_messages({"messages": messages}) == messages


def test_system_is_put_in_front() -> None:
    assert chat.to_messages({"prompt": "Hi"}, system="Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_messages_with_a_system_message_keep_their_own(role: str) -> None:
    messages = [{"role": role, "content": "Be long."}, {"role": "user", "content": "Hi"}]
    assert chat.to_messages({"messages": messages}, system="Be brief.") == messages


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
def test_a_wrong_input_is_said_with_what_was_expected(input: dict[str, Any], says: str) -> None:
    with pytest.raises(NeuronError) as caught:
        chat.to_messages(input)
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert says in str(caught.value)
    assert '{"prompt": "…"}' in str(caught.value)


@given(INPUTS, st.none() | st.text(max_size=3))
def test_any_input_becomes_messages_or_a_neuron_error_and_is_not_touched(
    input: dict[str, Any], system: str | None
) -> None:
    before = copy.deepcopy(input)
    try:
        messages = chat.to_messages(input, system=system)
    except NeuronError as error:
        failure = (error.code, error.recoverable)
        assert failure == chat.INPUT_INVALID
    else:
        for message in messages:
            message.clear()
    assert input == before


def test_the_output_has_a_text_and_the_providers_answer() -> None:
    assert chat.to_output("Hi", {"id": 1}) == {"response": "Hi", "meta": {"id": 1}}


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, ("INPUT_INVALID", False)),
        (401, ("AUTH_FAILED", False)),
        (402, ("PROVIDER_REFUSED", False)),
        (403, ("AUTH_FAILED", False)),
        (404, ("MODEL_NOT_FOUND", False)),
        (408, ("PROVIDER_TIMEOUT", True)),
        (413, ("INPUT_INVALID", False)),
        (422, ("INPUT_INVALID", False)),
        (429, ("RATE_LIMITED", True)),
        (500, ("PROVIDER_ERROR", True)),
        (599, ("PROVIDER_ERROR", True)),
        (302, ("PROVIDER_REFUSED", False)),
    ],
)
def test_every_status_stands_for_a_failure(status: int, failure: tuple[str, bool]) -> None:
    assert chat.failure_of_status(status) == failure


def test_a_failure_makes_the_error_that_ends_a_task() -> None:
    error = chat.RATE_LIMITED.error("too fast")
    assert (str(error), error.code, error.recoverable) == ("too fast", "RATE_LIMITED", True)


@given(st.text(), st.lists(SECRETS, max_size=3), st.text())
@example("", ["0 "], "0\x1f0")
@example("", ["Bearer hf_secret"], "Bearer\t hf_secret")
def test_a_providers_words_are_one_bounded_line_without_secrets(
    before: str, secrets: list[str], after: str
) -> None:
    said = chat.Secrets(secrets).quote(before + "".join(secrets) + after)
    assert len(said) <= chat.MAX_QUOTED_TEXT
    assert said == "" or said.isprintable()
    assert all(secret in "[redacted]…" or secret not in said for secret in secrets if secret.strip())


@pytest.mark.parametrize("position", [0, chat.MAX_QUOTED_TEXT - 3, 4 * chat.MAX_QUOTED_TEXT - 3])
def test_a_secret_at_the_edge_is_not_shown_in_part(position: int) -> None:
    assert "hf_" not in chat.Secrets(["hf_secret"]).quote(" " * position + "hf_secret")


def test_a_secret_that_contains_another_is_redacted_whole() -> None:
    assert chat.Secrets(["hf_secret", "Bearer hf_secret"]).quote("Bearer hf_secret!") == "[redacted]!"


def test_long_words_are_cut_and_say_so() -> None:
    said = chat.Secrets().quote("x" * 1_000)
    assert (len(said), said[-1]) == (chat.MAX_QUOTED_TEXT, "…")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
        ("0", 0),
        (" 120 ", 120),
        ("9" * 5_000, float("inf")),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("Wed, 99 Oct 2015 07:27:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_from_now(value: str | None, seconds: float | None) -> None:
    assert chat.retry_after_s(value, now=NOW) == seconds


@given(st.text())
@example("Wed, 21 Oct 99999999 07:28:30 GMT")
def test_any_retry_after_is_a_delay_or_nothing(value: str) -> None:
    seconds = chat.retry_after_s(value)
    assert seconds is None or seconds >= 0


@given(st.binary() | st.text() | ANY_JSON.map(json.dumps))
@example(b"[" * 200_000)
@example(b'{"a": "\\ud800"}')
@example(b'{"a": "\\uDFff"}')
@example(b'{"a": "\\ud83d\\ude00"}')
@example(b'{"a": 1e999}')
@example(b'{"a": NaN}')
@example(b'{"a": ' + b"9" * 5_000 + b"}")
@example("\ud800")
def test_anything_parses_to_an_object_that_json_can_carry_or_is_refused(data: bytes | str) -> None:
    try:
        value = chat.parse_object(data)
    except ValueError:
        return
    assert isinstance(value, dict)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def test_an_object_is_parsed() -> None:
    assert chat.parse_object(b'{"a": [1, 2.5, "\\ud83d\\ude00"]}') == {"a": [1, 2.5, "😀"]}
    assert chat.parse_object('{"a": {}}') == {"a": {}}
