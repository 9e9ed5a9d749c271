"""Checks on values that a user gave; each raises a `ValueError` that names the value's owner."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = (re.compile(r"[^=\0]+"), re.compile(r"[^\0]*"))
"""The name and the value of an environment variable."""
HEADER: Final = (re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), re.compile(r"[ -~]*"))
"""The name and the value of an HTTP header."""


def wrong(name: str, value: object, wanted: str) -> ValueError:
    """The error that says what was given and what is wanted."""
    return ValueError(f"{name}={reprlib.repr(value)}: {wanted} is needed")


def check_text(name: str, value: object) -> None:
    """Accept ``None`` and a non-empty string without NUL."""
    if value is not None and (not isinstance(value, str) or value == "" or "\0" in value):
        raise wrong(name, value, "a non-empty string")


def text_list(name: str, value: object) -> tuple[str, ...]:
    """Take a list of strings and paths; no item is repeated in an error, for it may be a secret."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name}: a list of strings is needed, not {type(value).__name__}")  # noqa: TRY004
    texts = tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in value)
    for index, text in enumerate(texts):
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"{name}[{index}]: a string without NUL is needed")
    return texts


def text_mapping(name: str, value: object, kind: tuple[re.Pattern[str], re.Pattern[str]]) -> dict[str, str]:
    """Take names with their values; no value is repeated in an error, for it may be a secret."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: a mapping of names to values is needed")  # noqa: TRY004 - one error for all
    for key, text in value.items():
        if not isinstance(key, str) or not kind[0].fullmatch(key):
            raise ValueError(f"{name}: a key is not a name that can be used there")
        if not isinstance(text, str) or not kind[1].fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: the value is not a string that can be used there")
    return dict(value)
