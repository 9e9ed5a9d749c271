"""What a provider sends, made fit to use: its words, its JSON, its wish to be left alone for a while."""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PROVIDER_TEXT: Final = 500
"""How many characters of a provider's own words an error repeats."""

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def provider_text(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Make a provider's own words fit to be repeated in an error.

    Secrets, as they are or as JSON or a repr writes them, become ``[redacted]``, white space and control
    characters become single spaces, and what is longer than `MAX_PROVIDER_TEXT` ends in ``…``.
    """
    secrets = _written(filter(None, secrets))
    text = _redacted(text, secrets)
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_PROVIDER_TEXT])
    # Once more: a secret with a space in it may have come with another white space in its place.
    text = _redacted(" ".join(text.split()), secrets)
    return text if len(text) <= MAX_PROVIDER_TEXT else text[: MAX_PROVIDER_TEXT - 1] + "…"


def _written(secrets: Iterable[str]) -> list[str]:
    """The secrets in every way in which they may be written, the longest first."""
    forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])}
    # A secret that contains another must not survive in part.
    return sorted(forms | {form.replace("/", r"\/") for form in forms}, key=len, reverse=True)


def _redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def retry_after_s(value: str | None, *, now: float | None = None) -> float | None:
    """Read a ``Retry-After`` header as seconds from now, at least 0.

    Args:
        value: The header: seconds, or an HTTP date.
        now: Seconds since the epoch; the present by default.

    Returns:
        ``None`` when the header is absent or is neither. The value has no upper bound: compare it with the
        time that is left.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a provider's JSON object, refusing what could not travel on in a Signal.

    Raises:
        ValueError: It is not JSON, not an object, nested too deep, or holds a number or a string that JSON
            as UTF-8 cannot carry (``NaN``, ``1e999``, half a surrogate pair).
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = _FINITE_JSON.decode(text)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one error for all of it
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number


# Made once: making a decoder takes longer than decoding a delta.
_FINITE_JSON: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)
