"""Reading what a provider sends: JSON objects, and the ``Retry-After`` header."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosmo_llm import parse_object, retry_after_s
from cosmo_llm.wire import asked_wait_s

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


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
    assert retry_after_s(value, now=NOW) == seconds


@given(st.text())
@example("Wed, 21 Oct 99999999 07:28:30 GMT")
def test_any_retry_after_is_a_delay_or_none(value: str) -> None:
    seconds = retry_after_s(value)
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
def test_any_data_parses_to_an_object_that_json_can_carry_or_raises(data: bytes | str) -> None:
    try:
        value = parse_object(data)
    except ValueError:
        return
    assert isinstance(value, dict)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "9" * 5_000}, None),
    ],
)
def test_a_wait_may_be_asked_for_in_milliseconds(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait_s(headers) == seconds


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": 1}') == parse_object('\ufeff{"a": 1}') == {"a": 1}


def test_an_object_is_parsed() -> None:
    assert parse_object(b'{"a": [1, 2.5, "\\ud83d\\ude00"]}') == {"a": [1, 2.5, "😀"]}
    assert parse_object('{"a": {}}') == {"a": {}}
