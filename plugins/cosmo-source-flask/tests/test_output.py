"""The output for any answer: valid JSON, from which the body can be restored."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_source_flask import wsgi

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

PNG = b"\x89PNG\r\n\x1a\n"


async def answer(body: bytes, content_type: str | None, *, status: str = "200 OK") -> dict[str, Any]:
    """The output of a Neuron for an app with this answer."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [] if content_type is None else [("Content-Type", content_type)])
        return [body]

    neuron = wsgi(app=app, threads=1)
    output = await neuron({}, [])
    await neuron.aclose()
    return output


def to_bytes(output: dict[str, Any]) -> bytes:
    assert output["json"] is None, "the body is in the output once"
    text: str = output["response"]
    encoding: str = output["meta"]["encoding"]
    return base64.b64decode(text) if encoding == "base64" else text.encode(encoding)


async def test_output_has_exactly_the_documented_fields() -> None:
    output = await answer(b"[]", "application/json")
    assert output == {
        "status": 200,
        "ok": True,
        "json": [],
        "response": "",
        "headers": {"content-type": "application/json"},
        "meta": {"method": "GET", "path": "/", "encoding": "utf-8", "cookies": {}, "redirects": []},
    }


@pytest.mark.parametrize(
    ("body", "content_type", "text", "encoding"),
    [
        (b"caf\xc3\xa9", None, "café", "utf-8"),
        (b"caf\xe9", "text/plain; charset=ISO-8859-1", "café", "iso-8859-1"),
        (b"caf\xc3\xa9", "text/plain; charset=no-such", "café", "utf-8"),
        (b"caf\xc3\xa9", "text/plain; charset=hex", "café", "utf-8"),
        (b"caf\xc3\xa9", "text/plain; charset=ascii", "café", "utf-8"),
        (PNG, "image/png", base64.b64encode(PNG).decode(), "base64"),
        (b"caf\xe9", "text/plain", base64.b64encode(b"caf\xe9").decode(), "base64"),
        (b"\\ud800", "text/plain; charset=unicode_escape", "\\ud800", "utf-8"),
        (b"", "image/png", "", "utf-8"),
    ],
)
async def test_body_is_text_or_else_base64(
    body: bytes, content_type: str | None, text: str, encoding: str
) -> None:
    output = await answer(body, content_type)
    assert (output["response"], output["meta"]["encoding"]) == (text, encoding)


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1}', "Application/JSON", {"a": 1}),
        (b'"\xe9"', "application/json; charset=latin-1", "é"),
        (b'{"a": 1}', "text/plain", None),
        (b'{"a": 1}', "application/jsonish", None),
        (b'{"a": 1}', None, None),
        (b"<h1>Oops</h1>", "application/json", None),
        (b"", "application/json", None),
        (b"NaN", "application/json", None),
        (b"1e999", "application/json", None),
        (b'"\\ud800"', "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b"\xff", "application/json", None),
    ],
)
async def test_json_is_parsed_if_the_content_type_is_json(
    body: bytes, content_type: str | None, value: object
) -> None:
    output = await answer(body, content_type)
    assert output["json"] == value
    if value is None:
        assert to_bytes(output) == body
    else:
        assert output["response"] == ""


@pytest.mark.parametrize(
    ("status", "code", "ok"),
    [
        ("204 No Content", 204, True),
        ("304 Not Modified", 304, False),
        ("418 Teapot", 418, False),
        ("599", 599, False),
    ],
)
async def test_any_status_is_an_output(status: str, code: int, ok: bool) -> None:
    output = await answer(b"said", "text/plain", status=status)
    assert (output["status"], output["ok"], output["response"]) == (code, ok, "said")


@given(
    body=st.binary(max_size=40) | st.text().map(str.encode),
    content_type=st.sampled_from([None, "application/json", "text/html; charset=latin-1", "image/png"]),
)
@settings(deadline=None)
@example(body=b"9" * 5_000, content_type="application/json")
@example(body=b"-0.0", content_type="application/json")
async def test_any_body_can_be_restored_from_the_json_output(body: bytes, content_type: str | None) -> None:
    output = await answer(body, content_type)
    json.dumps(output, allow_nan=False, ensure_ascii=False).encode()
    if output["json"] is None:
        assert to_bytes(output) == body
    else:
        assert output["json"] == json.loads(body)
        assert output["response"] == ""
