"""The requests that inputs describe, and the inputs that are refused before the app is called."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_source_flask.request import FIELDS
from cosmo_testing.strategies import json_objects, json_values

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_flask import AsgiNeuron, WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron | AsgiNeuron]

UPLOAD = {"filename": "a", "content_base64": "YQ=="}
TEXT_TYPE, FORM_TYPE = "text/plain; charset=utf-8", "application/x-www-form-urlencoded"

SEEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"method": "GET", "path": "/", "query": "", "type": None, "body": ""}),
    ({"prompt": "Hi"}, {"method": "POST", "type": "application/json", "body": '{"prompt": "Hi"}'}),
    ({"method": "delete", "path": "/a"}, {"method": "DELETE", "path": "/a", "body": ""}),
    ({"method": None, "path": None, "json": None, "query": None}, {"method": "GET", "path": "/"}),
    ({"json": [1, "ä", None]}, {"method": "POST", "body": '[1, "ä", null]'}),
    ({"json": False}, {"body": "false"}),
    ({"json": {}, "method": "GET"}, {"method": "GET", "body": "{}"}),
    ({"data": "größer"}, {"method": "POST", "type": TEXT_TYPE, "body": "größer"}),
    ({"data": ""}, {"method": "POST", "body": ""}),
    ({"data": "a,b", "headers": {"Content-Type": "text/csv"}}, {"type": "text/csv"}),
    ({"data": {"a": "ä b", "c": [1, True, None]}}, {"type": FORM_TYPE, "body": "a=%C3%A4+b&c=1&c=true&c="}),
    ({"data": {}}, {"method": "POST", "body": ""}),
    ({"data": {"a": 1}, "files": {}}, {"type": FORM_TYPE, "body": "a=1"}),
    ({"path": "/a?x=1&x=2", "query": {"x": [3.5, False]}}, {"query": "x=1&x=2&x=3.5&x=false"}),
    ({"path": "/a?x=1", "query": {}}, {"path": "/a", "query": "x=1"}),
    ({"path": "/a b/ü%20", "query": "ü=&&b"}, {"path": "/a b/ü ", "query": "%C3%BC=&&b"}),
    ({"path": "//other.example/x"}, {"path": "//other.example/x"}),
]


@pytest.mark.parametrize(("input", "expected"), SEEN, ids=lambda value: json.dumps(value)[:40])
async def test_app_receives_the_request_that_the_input_describes(
    make_mirror: Make, ask: Ask, input: dict[str, Any], expected: dict[str, Any]
) -> None:
    seen = (await ask(make_mirror(), input))["json"]
    seen["body"] = base64.b64decode(seen["body"]).decode()
    assert {name: seen[name] for name in expected} == expected


async def test_options_are_the_defaults(make_mirror: Make, ask: Ask) -> None:
    neuron = make_mirror(default_method="put", default_path="/v1?debug=1", base_headers={"X-Team": "a"})
    seen = (await ask(neuron, {"prompt": "Hi"}))["json"]
    assert (seen["method"], seen["path"], seen["query"]) == ("PUT", "/v1", "debug=1")
    assert seen["headers"]["x_team"] == "a"


async def test_headers_of_the_input_override_base_headers(make_mirror: Make, ask: Ask) -> None:
    base = {"X-Team": "a", "Accept": "text/html", "Cookie": "theme=dark", "Host": "a.example"}
    neuron = make_mirror(base_headers=base)
    input = {"headers": {"x-team": "b", "HOST": "b.example:8000"}, "cookies": {"user": "ada"}}
    headers = (await ask(neuron, input))["json"]["headers"]
    assert (headers["x_team"], headers["accept"], headers["host"]) == ("b", "text/html", "b.example:8000")
    assert sorted(headers["cookie"].split("; ")) == ["theme=dark", "user=ada"]


async def test_call_leaves_nothing_for_the_next_call(make_mirror: Make, ask: Ask) -> None:
    neuron = make_mirror()
    first = (await ask(neuron))["json"]
    await ask(neuron, {"headers": {"X-Team": "a"}, "cookies": {"user": "ada"}, "query": {"a": 1}})
    assert (await ask(neuron))["json"] == first


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"path": "/", "prompt": "Hi"}, "'prompt' is not among method, path"),
    ({"method": 1}, "method=1"),
    ({"method": ""}, "an HTTP method such as 'GET' is needed"),
    ({"method": "GET /\r\nX: y"}, "an HTTP method"),
    ({"path": "a"}, "path='a': a path that starts with /"),
    ({"path": "http://other.example/"}, "a path that starts with /"),
    ({"path": "/a\r\nX: y"}, "a path"),
    ({"path": "/a#b"}, "a path"),
    ({"path": ["/a"]}, "a path"),
    ({"path": "/" + "a" * 70_000}, "too long"),
    ({"path": "/\ud800"}, "surrogates"),
    ({"query": 1}, "query: an object .* needed; the given int is not shown"),
    ({"query": {"a": {"b": 1}}}, r"query\.a="),
    ({"query": {"a": [[1]]}}, r"query\.a="),
    ({"query": "a=1\n"}, "query="),
    ({"query": {"\ud800": 1}}, "surrogates"),
    ({"headers": []}, "headers: an object of names to strings is needed; the given list is not shown"),
    ({"headers": {"X": 1}}, r"headers\['X'\]"),
    ({"headers": {"X y": "1"}}, "headers='X y': an HTTP field name"),
    ({"headers": {"X\r\nY": "1"}}, "an HTTP field name"),
    ({"headers": {"": "1"}}, "an HTTP field name"),
    ({"headers": {"X": "a\r\nSet-Cookie: b"}}, r"headers\['X'\]: printable ASCII"),
    ({"headers": {"X": "a\n"}}, "without line breaks"),
    ({"headers": {"X": "ä"}}, "printable ASCII"),
    ({"headers": {"Host": "a/b"}}, "a host name"),
    ({"headers": {"Host": "a\n"}}, "a host name"),
    ({"headers": {"Content-Length": "3"}}, "leave it out"),
    ({"headers": {"transfer-encoding": "chunked"}}, "leave it out"),
    ({"cookies": "a=1"}, "cookies: an object of names to strings is needed; the given str is not shown"),
    ({"cookies": {"a": "1; b=2"}}, r"cookies\['a'\]"),
    ({"cookies": {"a;": "1"}}, "an HTTP field name"),
    ({"json": 1, "data": "a"}, "json and data are two bodies"),
    ({"json": 1, "files": {"a": UPLOAD}}, "json and files are two bodies"),
    ({"data": "a", "files": {"a": UPLOAD}}, "data: an object .* needed; the given str is not shown"),
    ({"data": [1]}, "data: an object .* needed; the given list is not shown"),
    ({"data": {"a": {}}}, r"data\.a="),
    ({"data": "\ud800"}, "surrogates"),
    ({"data": {"a": "\ud800"}}, "surrogates"),
    ({"json": float("nan")}, "not JSON compliant"),
    ({"json": "\ud800"}, "surrogates"),
    ({"files": [UPLOAD]}, "files: an object of fields to files is needed; the given list is not shown"),
    (
        {"files": {"a": "YQ=="}},
        r"files\['a'\]: an object of filename, .* is needed; the given str is not shown",
    ),
    ({"files": {"a": {**UPLOAD, "size": 1}}}, "has 'size'"),
    ({"files": {"a": {"content_base64": ""}}}, r"files\['a'\]\.filename"),
    ({"files": {"a": {**UPLOAD, "filename": "a\r\nb"}}}, r"\.filename"),
    ({"files": {"a": {"filename": "a"}}}, r"\.content_base64"),
    ({"files": {"a": {**UPLOAD, "content_base64": "?"}}}, r"\.content_base64"),
    ({"files": {"a": {**UPLOAD, "content_base64": "ä"}}}, r"\.content_base64"),
    ({"files": {"a": {**UPLOAD, "content_type": "a\r\nX: y"}}}, "without line breaks"),
    ({"files": {"a": {**UPLOAD, "content_type": 1}}}, "content-type"),
    ({"files": {"\ud800": UPLOAD}}, "surrogates"),
]


@pytest.mark.parametrize(("input", "reason"), REFUSED, ids=lambda value: ascii(value)[:40])
async def test_invalid_input_is_refused(
    make_mirror: Make, ask: Ask, input: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NeuronError, match=reason) as caught:
        await ask(make_mirror(), input)
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert caught.value.__context__ is None


async def test_too_deeply_nested_input_is_refused(make_mirror: Make, ask: Ask) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NeuronError, match="recursion") as caught:
        await ask(make_mirror(), {"json": deep})
    assert caught.value.code == "INPUT_INVALID"


def texts(*samples: str) -> st.SearchStrategy[str]:
    return st.sampled_from(samples) | st.text(max_size=8)


NAMES = texts("Host", "Cookie", "X-A", "content-type", "expect")
TEXTS = texts("a", "shop.example", "a=1; b=2", "text/plain", "multipart/form-data; boundary=x")
FILES = st.fixed_dictionaries(
    {"filename": texts("a.png"), "content_base64": texts("YQ==")}, optional={"content_type": TEXTS}
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "method": texts("get", "HEAD", "POST", "OPTIONS"),
        "path": st.builds("/{}".format, st.text(max_size=8)) | st.text(max_size=8),
        "query": st.dictionaries(TEXTS, json_values(2), max_size=2) | st.text(max_size=8),
        "headers": st.dictionaries(NAMES, TEXTS, max_size=2),
        "cookies": st.dictionaries(NAMES, TEXTS, max_size=2),
        "json": json_values(),
        "data": st.text() | st.dictionaries(TEXTS, st.text() | st.integers(), max_size=2),
        "files": st.dictionaries(st.text(max_size=4), FILES | st.lists(FILES, max_size=2), max_size=2),
    },
)
ANYTHING = st.dictionaries(st.sampled_from(FIELDS), json_values(), max_size=3)


async def output_or_error(call: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | NeuronError:
    try:
        return await call
    except NeuronError as error:
        return error


@given(input=REQUESTS | ANYTHING | json_objects())
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(input={"json": 10**5000})
@example(input={"query": {"a": 10**400}})
@example(input={"cookies": {"$Version": "1"}})
@example(input={"headers": {"Host": "[::1]"}})
@example(input={"headers": {"Host": "a..b"}})
@example(input={"headers": {"Host": "-"}})
@example(input={"headers": {"Content-Type": "multipart/form-data"}, "files": {"a": UPLOAD}})
@example(input={"headers": {"Content-Type": "multipart/form-data; boundary=x"}, "data": {"a": "1"}})
async def test_any_json_input_gives_a_json_output_or_is_refused(
    make_mirror: Make, ask: Ask, input: dict[str, Any]
) -> None:
    before = copy.deepcopy(input)
    outcome = await output_or_error(ask(make_mirror(), input))
    assert input == before
    if isinstance(outcome, NeuronError):
        assert (outcome.code, outcome.recoverable) == ("INPUT_INVALID", False)
        str(outcome).encode()
    else:
        assert outcome["status"] == 200
        json.dumps(outcome, allow_nan=False, ensure_ascii=False).encode()
