"""The output of a Neuron, made from an app's answer."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

import msgspec

from cosmo_source_flask.exchange import Reply, path_of

BASE64: Final = "base64"
"""The encoding of a body that is not text."""

_JSON_TYPE: Final = re.compile(r"\s*[\w.-]+/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


def to_output(reply: Reply) -> dict[str, Any]:
    """Return ``{status, ok, json, response, headers, meta}``, all of which JSON can encode.

    The body is in it once: as ``json``, or else as ``response``.
    """
    response = reply.response
    text, encoding = _decoded(reply.body, response.charset_encoding)
    is_json = encoding != BASE64 and _JSON_TYPE.fullmatch(response.headers.get("content-type", ""))
    value = _parsed(text) if is_json else None
    return {
        "status": response.status_code,
        "ok": response.is_success,
        "json": value,
        "response": text if value is None else "",
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
    """The body as text, and the encoding that turns it back into bytes."""
    for encoding in filter(None, (charset, "utf-8")):
        try:
            text = body.decode(encoding)
            text.encode()  # some codecs give half a surrogate pair, which a Signal cannot carry
        except (LookupError, ValueError):
            continue
        return text, encoding
    return base64.b64encode(body).decode("ascii"), BASE64


def _parsed(text: str) -> Any:
    """The value of a JSON text; None if the text is not JSON, or a Signal cannot carry the value."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
