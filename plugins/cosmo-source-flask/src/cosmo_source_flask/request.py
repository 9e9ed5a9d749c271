"""The HTTP request that the input of a TASK describes, checked part by part.

Each check raises a `ValueError` that names the part. No check repeats the value of a header or a cookie,
which may be secret.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from cosmo_llm import INPUT_INVALID
from cosmo_llm.options import hidden_value, wrong_value

FIELDS: Final = ("method", "path", "query", "headers", "cookies", "json", "data", "files", "content_base64")
"""The fields of an input; an input without any of them is itself the JSON body."""

DEFAULT_HOST: Final = "localhost"

_METHOD: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,31}")
_PATH: Final = re.compile(r"/[^\x00-\x1f\x7f#]*")
_QUERY: Final = re.compile(r"[^\x00-\x1f\x7f#]*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~\t]*")
_COOKIE_VALUE: Final = re.compile(r"[ -:<-~]*")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})

Upload = tuple[str, tuple[str, bytes, str]]
"""The name of a form field, and the file's name, content and type, in the form that httpx takes."""

_UPLOAD: Final = "an object of filename, content_base64 and, if known, content_type"
_UPLOAD_KEYS: Final = frozenset({"filename", "content_base64", "content_type"})
_DEFAULT_UPLOAD_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request to an app.

    Attributes:
        method: In upper case.
        url: Absolute; its host is that of the Host header.
        headers: Without Host and Cookie.
        cookies: By name.
        body: The arguments of `httpx.AsyncClient.build_request` that describe the body.
    """

    method: str
    url: httpx.URL
    headers: dict[str, str]
    cookies: dict[str, str]
    body: dict[str, Any]


def to_request(
    input: Mapping[str, Any],
    *,
    default_method: str | None,
    default_path: str,
    base_headers: Mapping[str, str],
) -> Request:
    """Turn an input into a request, without changing the input.

    Args:
        input: The input of a TASK; it has some of the `FIELDS`, or none of them.
        default_method: For an input without a method; None is POST with a body, and GET without.
        default_path: For an input without a path.
        base_headers: Headers that the input can override, with their names in lower case.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    try:
        fields = _fields_of(input)
        headers = {**base_headers, **checked_headers("headers", fields.get("headers", {}))}
        return _request(fields, headers, default_method, default_path)
    except (ValueError, httpx.InvalidURL) as error:
        reason = f"the input cannot be sent: {error}"
    raise INPUT_INVALID.error(reason)


def _fields_of(input: Mapping[str, Any]) -> dict[str, Any]:
    if not any(name in input for name in FIELDS):
        return {"json": input} if input else {}
    if unknown := [name for name in input if name not in FIELDS]:
        raise ValueError(f"{', '.join(map(repr, unknown))} is not among {', '.join(FIELDS)}")
    return {name: value for name, value in input.items() if value is not None}


def _request(
    fields: dict[str, Any], headers: dict[str, str], default_method: str | None, default_path: str
) -> Request:
    host = headers.pop("host", DEFAULT_HOST)
    cookies = _parsed_cookies(headers.pop("cookie", ""))
    cookies |= _checked_cookies("cookies", fields.get("cookies", {}))
    body = _body(fields, headers)
    method = fields.get("method", default_method or ("POST" if body else "GET"))
    return Request(
        method=checked_method("method", method),
        url=_url(host, checked_path("path", fields.get("path", default_path)), fields.get("query")),
        headers=headers,
        cookies=cookies,
        body=body,
    )


def _url(host: str, path: str, query: object) -> httpx.URL:
    if query is not None:
        pairs = _checked_query("query", query)
        encoded = pairs if isinstance(pairs, str) else urlencode(pairs)
        path += ("&" if "?" in path else "?") + encoded if encoded else ""
    return httpx.URL(f"http://{host}{path}")


def _body(fields: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """Return the body, and add its content type to the headers if they have none."""
    given = [name for name in ("json", "content_base64", "data", "files") if name in fields]
    if given[:1] in (["json"], ["content_base64"]) and len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are two bodies; {given[0]} comes alone")
    if "content_base64" in given:
        headers.setdefault("content-type", _DEFAULT_UPLOAD_TYPE)
        return {"content": _decoded("content_base64", fields["content_base64"])}
    if "json" in given:
        headers.setdefault("content-type", "application/json")
        return {"content": _encoded(fields["json"])}
    data = fields.get("data", {})
    if "files" in given and (uploads := _checked_uploads("files", fields["files"])):
        headers.pop("content-type", None)  # the encoder sets it, with the boundary that it chose
        return {"data": _form(data), "files": uploads}
    if isinstance(data, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        return {"content": data.encode()}
    return {"data": _form(data)} if "data" in given else {}


def _form(data: object) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in _checked_pairs("data", data):
        form.setdefault(name, []).append(value)
    return form


def _encoded(body: object) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"json: {error}") from None


def checked_method(name: str, value: object) -> str:
    """Return an HTTP method in upper case."""
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise wrong_value(name, value, "an HTTP method such as 'GET'")
    return value.upper()


def checked_path(name: str, value: object) -> str:
    """Return a path, which may include a query."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise wrong_value(name, value, "a path that starts with / and has no fragment")
    return value


def checked_headers(name: str, value: object) -> dict[str, str]:
    """Return headers with their names in lower case."""
    headers = {}
    for key, text in _checked_texts(name, value).items():
        lower = key.lower()
        if lower in _FRAMING:
            raise ValueError(f"{name}[{key!r}]: this header follows from the body; leave it out")
        if lower == "host" and not _HOST.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: a host name, with or without a port, is needed")
        if not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: printable ASCII characters without line breaks are needed")
        headers[lower] = text
    return headers


def _checked_cookies(name: str, value: object) -> dict[str, str]:
    """Return cookies by name."""
    cookies = _checked_texts(name, value)
    for key, text in cookies.items():
        if not _COOKIE_VALUE.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: printable ASCII characters without ; are needed")
    return cookies


def _parsed_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a ``Cookie`` header by name."""
    pairs = (part.partition("=") for part in header.split(";"))
    return {name.strip(): value.strip() for name, equals, value in pairs if name.strip() and equals}


def _checked_query(name: str, value: object) -> str | list[tuple[str, str]]:
    """Return an encoded query as it is, or the pairs to encode."""
    if not isinstance(value, str):
        return _checked_pairs(name, value)
    if not _QUERY.fullmatch(value):
        raise wrong_value(name, value, "an object, or a query such as 'a=1&b=2',")
    return value


def _checked_pairs(name: str, value: object) -> list[tuple[str, str]]:
    """Return the pairs of an object whose values are scalars, or lists of scalars for repeated names."""
    given = _checked_object(name, value, "an object of names to values, or to lists of values,")
    return [
        (_checked_text(key), _checked_text(_text_of(f"{name}.{key}", item)))
        for key, items in given.items()
        for item in (items if isinstance(items, (list, tuple)) else (items,))
    ]


def _checked_uploads(name: str, value: object) -> list[Upload]:
    """Return the files of a form; a field may have several, as a list."""
    return [
        (_checked_text(field), _upload(f"{name}[{field!r}]", file))
        for field, files in _checked_object(name, value, "an object of fields to files").items()
        for file in (files if isinstance(files, (list, tuple)) else (files,))
    ]


def _upload(name: str, value: object) -> tuple[str, bytes, str]:
    file = _checked_object(name, value, _UPLOAD)
    if unknown := set(file) - _UPLOAD_KEYS:
        raise ValueError(f"{name} has {', '.join(map(repr, unknown))}: {_UPLOAD} is needed")
    filename = file.get("filename")
    if not isinstance(filename, str) or not filename or not filename.isprintable():
        raise ValueError(f"{name}.filename: a non-empty string without control characters is needed")
    # The type becomes a header of the form's part.
    header = {"content-type": file.get("content_type") or _DEFAULT_UPLOAD_TYPE}
    content_type = checked_headers(name, header)["content-type"]
    return filename, _decoded(f"{name}.content_base64", file.get("content_base64")), content_type


def _decoded(name: str, encoded: object) -> bytes:
    if isinstance(encoded, str):
        try:
            return base64.b64decode("".join(encoded.split()), validate=True)  # programs break it into lines
        except ValueError:
            pass
    raise ValueError(f"{name}: the content in base64 is needed")


def _checked_object(name: str, value: object, wanted: str) -> Mapping[Any, Any]:
    """Return an object as it is. An error does not repeat another value, which may be secret."""
    if not isinstance(value, Mapping):
        raise hidden_value(name, value, wanted)
    return value


def _checked_texts(name: str, value: object) -> dict[str, str]:
    """Return an object whose keys are HTTP field names and whose values are strings."""
    given = dict(_checked_object(name, value, "an object of names to strings"))
    for key, text in given.items():
        if not isinstance(key, str) or not _TOKEN.fullmatch(key):
            raise wrong_value(name, key, "an HTTP field name")
        if not isinstance(text, str):
            raise hidden_value(f"{name}[{key!r}]", text, "a string")
    return given


def _checked_text(text: str) -> str:
    """Return a text that UTF-8 can encode, and refuse half a surrogate pair."""
    text.encode()
    return text


def _text_of(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) or _is_finite(value):
        return str(value)
    raise wrong_value(name, value, "a string, a number, true, false or null")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max  # False for NaN too
