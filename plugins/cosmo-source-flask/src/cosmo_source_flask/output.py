"""An app's answer as the output of a Neuron."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cosmo_source_flask.exchange import path_of

if TYPE_CHECKING:
    from cosmo_source_flask.exchange import Reply

BASE64: Final = "base64"
"""The encoding of a body that is no text."""

_JSON_TYPE: Final = re.compile(r"\s*[\w.-]+/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


def to_output(reply: Reply) -> dict[str, Any]:
    """Return ``{status, ok, json, response, headers, meta}``; JSON can carry all of it."""
    response = reply.response
    text, encoding = _decoded(reply.body, response.charset_encoding)
    is_json = encoding != BASE64 and _JSON_TYPE.fullmatch(response.headers.get("content-type", ""))
    return {
        "status": response.status_code,
        "ok": response.is_success,
        "json": _parsed(text) if is_json else None,
        "response": text,
        "headers": dict(response.headers),
        "meta": {
            "method": response.request.method,
            "path": path_of(response),
            "encoding": encoding,
            "cookies": reply.cookies,
            "redirects": reply.redirects,
        },
    }


def _decoded(body: bytes, charset: str | None) -> tuple[str, str]:
    """The body as text, and the encoding that takes it back to bytes."""
    for encoding in filter(None, (charset, "utf-8")):
        try:
            text = body.decode(encoding)
            text.encode()  # some codecs give half a surrogate pair, which no Signal can carry
        except (LookupError, ValueError):
            continue
        return text, encoding
    return base64.b64encode(body).decode("ascii"), BASE64


def _parsed(text: str) -> Any:
    """What the text says as JSON; None if it is none, or is more than a Signal can carry."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
