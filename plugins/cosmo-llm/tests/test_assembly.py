"""Joining the parts of a streamed answer, whatever their fields are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_llm import UnexpectedShapeError
from cosmo_llm.assembly import (
    DELTA,
    HEAD,
    MAX_NAME_LENGTH,
    MAX_OPEN_ITEMS,
    PART,
    Rule,
    add_to,
    assembled,
    mended,
)

TEXTS = st.text("aä😀", max_size=5)
NAMES = st.sampled_from(["content", "reasoning", "x_new", "audio", "parts", "id", "type"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def joined(*parts: dict[str, Any], rule: Rule = DELTA) -> dict[str, Any]:
    """The parts, merged."""
    whole: dict[str, Any] = {}
    for part in parts:
        add_to(whole, json.loads(json.dumps(part)), rule)
    result: dict[str, Any] = assembled(whole)
    return result


def call(
    id: str | None = None, name: str | None = None, arguments: Any = None, **rest: Any
) -> dict[str, Any]:
    """A delta with one fragment of a tool call."""
    function = {
        key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None
    }
    return {"tool_calls": [{**({} if id is None else {"id": id}), "function": function, **rest}]}


def calls_in(*parts: dict[str, Any]) -> list[tuple[str | None, str | None, Any]]:
    """Id, name and arguments of the joined tool calls."""
    calls = joined(*parts)["tool_calls"]
    return [
        (each.get("id"), each["function"].get("name"), each["function"].get("arguments")) for each in calls
    ]


# --- fields -------------------------------------------------------------------------------------------


@given(st.dictionaries(NAMES, VALUES))
def test_a_single_part_is_the_whole(part: dict[str, Any]) -> None:
    for rule in (HEAD, PART):
        assert joined(part, rule=rule) == part


@pytest.mark.parametrize(
    ("rule", "parts", "whole"),
    [
        (DELTA, [{"x_new": "a"}, {"x_new": "b"}], {"x_new": "ab"}),
        (DELTA, [{"x": {"y": "a", "n": 1}}, {"x": {"y": "b", "n": 2}}], {"x": {"y": "ab", "n": 2}}),
        (DELTA, [{"id": "1", "role": "a"}, {"id": "1", "role": "a"}], {"id": "1", "role": "a"}),
        (DELTA, [{"item_id": "1"}, {"item_id": ""}, {"item_id": None}], {"item_id": "1"}),
        (DELTA, [{"refusal": None}, {"refusal": "No"}, {"refusal": None}], {"refusal": "No"}),
        (DELTA, [{"refusal": None}, {"refusal": None}], {"refusal": None}),
        (
            DELTA,
            [{"annotations": [{"u": 1}]}, {"annotations": [{"u": 2}]}],
            {"annotations": [{"u": 1}, {"u": 2}]},
        ),
        (
            PART,
            [{"logprobs": {"content": [1]}}, {"logprobs": {"content": [1]}}],
            {"logprobs": {"content": [1, 1]}},
        ),
        (
            PART,
            [{"finish_reason": ""}, {"finish_reason": "stop"}, {"finish_reason": ""}],
            {"finish_reason": "stop"},
        ),
        (HEAD, [{"provider": "A"}, {"service_tier": "b"}], {"provider": "A", "service_tier": "b"}),
        (HEAD, [{"usage": {"a": 1}}, {"usage": None}], {"usage": {"a": 1}}),
        (HEAD, [{"x": {"id": "1"}}, {"x": {"usage": 2}}], {"x": {"id": "1", "usage": 2}}),
        (HEAD, [{"citations": ["a"]}, {"citations": ["a"]}], {"citations": ["a"]}),
        (HEAD, [{"citations": ["a"]}, {"citations": ["a", "b"]}], {"citations": ["a", "b"]}),
        (HEAD, [{"citations": ["a"]}, {"citations": ["b"]}], {"citations": ["a", "b"]}),
    ],
)
def test_fields_are_merged_by_the_rule_of_their_place(
    rule: Rule, parts: list[dict[str, Any]], whole: dict[str, Any]
) -> None:
    assert joined(*parts, rule=rule) == whole


def test_items_with_an_index_continue_each_other() -> None:
    parts = [
        {"details": [{"index": i, "type": "t", "text": text}]} for i, text in ((0, "a"), (1, "c"), (0, "b"))
    ]
    assert joined(*parts) == {
        "details": [{"index": 0, "type": "t", "text": "ab"}, {"index": 1, "type": "t", "text": "c"}]
    }


def test_parts_of_content_continue_a_part_of_their_type() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,a"}}
    parts: list[Any] = [
        [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "m."}]}],
        [{"type": "text", "text": "Hel"}],
        "lo",
        [image, image],
    ]
    assert joined(*({"content": part} for part in parts)) == {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]},
            {"type": "text", "text": "Hello"},
            image,
            image,
        ]
    }


@given(st.lists(st.dictionaries(NAMES | st.just("tool_calls"), VALUES, max_size=3), max_size=4))
def test_any_parts_are_joined_to_json_or_refused(parts: list[dict[str, Any]]) -> None:
    for rule in (DELTA, PART, HEAD):
        try:
            whole = joined(*parts, rule=rule)
        except UnexpectedShapeError:
            continue
        assert json.loads(json.dumps(whole)) == whole
        assert set(whole) == {name for part in parts for name in part}


# --- surrogates ---------------------------------------------------------------------------------------


@given(st.text("\ud83d\ude00A😀", max_size=6), st.integers(0, 6))
def test_a_text_may_be_cut_within_a_surrogate_pair(text: str, cut: int) -> None:
    halves = "".join(map(chr, memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")))
    whole = joined({"content": halves[:cut]}, {"content": halves[cut:]})
    assert whole == {"content": mended(halves)}
    whole["content"].encode()


def test_a_half_that_is_alone_is_replaced() -> None:
    assert mended("a\ud83d\ude00b\ud83dc\ude00") == "a😀b\ufffdc\ufffd"


# --- tool calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [{"index": 0}, {}, {"index": None}])
def test_a_new_id_begins_a_call_although_the_index_is_the_same(index: dict[str, Any]) -> None:
    parts = [
        call("a", "clock", "", **index),
        call(None, None, '{"zone":', **index),
        call(None, None, "1}", **index),
        call("b", "date", '{"day"', **index),
        call("", None, ":2}", **index),
    ]
    assert calls_in(*parts) == [("a", "clock", '{"zone":1}'), ("b", "date", '{"day":2}')]


def test_an_id_that_is_repeated_continues_its_call() -> None:
    parts = [call("a", "f", "{"), call("b", "g", "["), call("a", "f", "}"), call("b", "g", "]")]
    assert calls_in(*parts) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_an_index_tells_interleaved_calls_apart() -> None:
    parts = [
        call("a", "f", "{", index=0),
        call("b", "g", "[", index=1),
        call(None, None, "}", index=0),
        call(None, None, "]", index=1),
    ]
    assert calls_in(*parts) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_an_id_that_comes_late_belongs_to_the_call_that_has_none() -> None:
    assert calls_in(call(None, "f", "", index=0), call("a", None, "{}", index=0)) == [("a", "f", "{}")]


@pytest.mark.parametrize("arguments", ['{"x":1}', "{}", {"x": 1}])
def test_without_ids_a_name_begins_a_call_when_the_last_one_is_whole(arguments: Any) -> None:
    parts = [call(None, "f", arguments, index=0), call(None, "f", arguments, index=0)]
    assert calls_in(*parts) == [(None, "f", arguments)] * 2


def test_two_calls_of_one_delta_are_two_calls() -> None:
    fragments = [call(None, name, "")["tool_calls"][0] for name in ("f", "g")]
    assert calls_in({"tool_calls": fragments}) == [(None, "f", ""), (None, "g", "")]


@pytest.mark.parametrize(
    ("names", "whole"), [(["f", "f"], "f"), (["get_", "time"], "get_time"), (["get", "get_time"], "get_time")]
)
def test_a_name_may_be_repeated_or_cut(names: list[str], whole: str) -> None:
    parts = [call("a" if index == 0 else None, name, "", index=0) for index, name in enumerate(names)]
    assert calls_in(*parts, call(None, None, "{}", index=0)) == [("a", whole, "{}")]


def test_what_grows_with_the_parts_is_bounded() -> None:
    (found,) = calls_in(*(call("a", chr(65 + number % 26) * 9, "") for number in range(1_000)))
    assert found[1] is not None
    assert len(found[1]) == MAX_NAME_LENGTH
    items = [{"index": number, "text": "a"} for number in range(MAX_OPEN_ITEMS + 1)]
    # The first item is too far behind to be continued.
    assert len(joined({"items": items}, {"items": items[:1]})["items"]) == MAX_OPEN_ITEMS + 2


@pytest.mark.parametrize("fragments", [[7], ["f"], [[]]])
def test_tool_calls_that_are_not_objects_are_refused(fragments: list[Any]) -> None:
    with pytest.raises(UnexpectedShapeError, match="tool call"):
        joined({"tool_calls": fragments})


def test_the_names_of_objects_are_converted_as_texts_are() -> None:
    found = assembled({"secret": ["a secret"]}, lambda text: text.replace("secret", "[redacted]"))
    assert found == {"[redacted]": ["a [redacted]"]}
