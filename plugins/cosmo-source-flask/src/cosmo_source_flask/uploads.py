"""Files in a JSON input: ``{field: {"filename": …, "content_base64": …, "content_type": …}}``."""

from __future__ import annotations

import base64
from typing import Final

from cosmo_source_flask.checks import object_of
from cosmo_source_flask.http_fields import checked_headers, encodable

Upload = tuple[str, tuple[str, bytes, str]]
"""A field's name, and the file's name, content and type, as httpx takes them."""

DEFAULT_TYPE: Final = "application/octet-stream"

_WANTED: Final = "an object of filename, content_base64 and, if known, content_type"
_KEYS: Final = frozenset({"filename", "content_base64", "content_type"})


def checked_uploads(name: str, value: object) -> list[Upload]:
    """Return the files of a form; a field may bring several, as a list.

    Raises:
        ValueError: Names the file and what is wrong with it.
    """
    return [
        (encodable(field), _upload(f"{name}[{field!r}]", file))
        for field, files in object_of(name, value, "an object of fields to files").items()
        for file in (files if isinstance(files, (list, tuple)) else (files,))
    ]


def _upload(name: str, value: object) -> tuple[str, bytes, str]:
    file = object_of(name, value, _WANTED)
    if unknown := set(file) - _KEYS:
        raise ValueError(f"{name} has {', '.join(map(repr, unknown))}: {_WANTED} is needed")
    filename = file.get("filename")
    if not isinstance(filename, str) or not filename or not filename.isprintable():
        raise ValueError(f"{name}.filename: a non-empty string without control characters is needed")
    # The type becomes a header of the form's part.
    header = {"content-type": file.get("content_type") or DEFAULT_TYPE}
    content_type = checked_headers(name, header)["content-type"]
    return filename, _content(name, file.get("content_base64")), content_type


def _content(name: str, encoded: object) -> bytes:
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            pass
    raise ValueError(f"{name}.content_base64: the file's content in base64 is needed")
