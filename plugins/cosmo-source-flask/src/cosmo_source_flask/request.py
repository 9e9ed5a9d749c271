"""The input of a TASK as the HTTP request it stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import httpx

from cosmo_core.errors import NeuronError
from cosmo_source_flask.http_fields import (
    checked_cookies,
    checked_headers,
    checked_method,
    checked_pairs,
    checked_path,
    checked_query,
    parsed_cookies,
)
from cosmo_source_flask.uploads import checked_uploads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_flask.options import Options

FIELDS: Final = ("method", "path", "query", "headers", "cookies", "json", "data", "files")
"""What an input may say; one that says nothing of it is itself the JSON body."""

DEFAULT_HOST: Final = "localhost"


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """What to send.

    Attributes:
        method: In upper case.
        url: Absolute; its host is the Host header's.
        headers: Without Host and Cookie.
        cookies: By name.
        body: The body, in the words of `httpx.AsyncClient.build_request`.
    """

    method: str
    url: httpx.URL
    headers: dict[str, str]
    cookies: dict[str, str]
    body: dict[str, Any]


def to_request(input: Mapping[str, Any], options: Options) -> Request:
    """Turn an input into a request, without touching the input.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    try:
        return _request(_fields_of(input), options)
    except (ValueError, httpx.InvalidURL) as error:
        reason = f"the input cannot be sent: {error}"
    raise NeuronError(reason, code="INPUT_INVALID")


def _fields_of(input: Mapping[str, Any]) -> dict[str, Any]:
    if not any(name in input for name in FIELDS):
        return {"json": input} if input else {}
    if unknown := [name for name in input if name not in FIELDS]:
        raise ValueError(f"{', '.join(map(repr, unknown))} is not among {', '.join(FIELDS)}")
    return {name: value for name, value in input.items() if value is not None}


def _request(fields: dict[str, Any], options: Options) -> Request:
    headers = {**options.base_headers, **checked_headers("headers", fields.get("headers", {}))}
    host = headers.pop("host", DEFAULT_HOST)
    cookies = parsed_cookies(headers.pop("cookie", ""))
    cookies |= checked_cookies("cookies", fields.get("cookies", {}))
    body = _body(fields, headers)
    method = options.default_method or ("POST" if body else "GET")
    return Request(
        method=checked_method("method", fields.get("method", method)),
        url=_url(host, checked_path("path", fields.get("path", options.default_path)), fields.get("query")),
        headers=headers,
        cookies=cookies,
        body=body,
    )


def _url(host: str, path: str, query: object) -> httpx.URL:
    if query is not None:
        pairs = checked_query("query", query)
        encoded = pairs if isinstance(pairs, str) else urlencode(pairs)
        path += ("&" if "?" in path else "?") + encoded if encoded else ""
    return httpx.URL(f"http://{host}{path}")


def _body(fields: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """The body; a content type that the headers lack is added to them."""
    given = [name for name in ("json", "data", "files") if name in fields]
    if "json" in given and len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are two bodies; json comes alone")
    if "json" in given:
        headers.setdefault("content-type", "application/json")
        return {"content": _encoded(fields["json"])}
    data = fields.get("data", {})
    if "files" in given and (uploads := checked_uploads("files", fields["files"])):
        headers.pop("content-type", None)  # it holds the boundary, which only the encoder knows
        return {"data": _form(data), "files": uploads}
    if isinstance(data, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        return {"content": data.encode()}
    return {"data": _form(data)} if "data" in given else {}


def _form(data: object) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in checked_pairs("data", data):
        form.setdefault(name, []).append(value)
    return form


def _encoded(body: object) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"json: {error}") from None
