"""Keeps secrets out of what is quoted from a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cosmo_llm import Secrets as Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST: Final = 4
"""A shorter value is no secret, and redacting it would garble every quote."""
_MARK: Final = "[redacted]"
_QUOTED_END: Final = 400


class Secrets:
    """What must not be shown: the given values, and the parts they are likely to be shown in.

    A value of several lines may be printed line by line, and of ``Bearer …`` the token alone.
    """

    def __init__(self, values: Iterable[str]) -> None:
        parts = {part.strip() for value in values for part in _parts(value)}
        written = {form for part in parts if len(part) >= _SHORTEST for form in _written(part)}
        # Longest first: a secret that contains another must not survive in part.
        self._secrets = sorted(written, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._secrets)}>"

    def quote(self, text: str) -> str:
        """The beginning of a server's own words, without secrets, on one line and not too long."""
        return Redactor().quote(self._redact(text))

    def quote_end(self, text: str, *, cut: bool) -> str:
        """The same for the end of its words; ``cut`` when the text begins later than they do."""
        if cut:
            text = self._without_remainder(text.lstrip("\ufffd"))
        return Redactor().quote(self._redact(text)[-_QUOTED_END:])

    def _without_remainder(self, text: str) -> str:
        """Drop what is left of a secret whose beginning was cut off."""
        ends = (secret[start:] for secret in self._secrets for start in range(1, len(secret)))
        return text[max((len(end) for end in ends if text.startswith(end)), default=0) :]

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MARK)
        return text


def _written(secret: str) -> tuple[str, ...]:
    """As it is, and as it is written inside JSON and Python."""
    return secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]


def _parts(value: str) -> list[str]:
    scheme, _, credentials = value.partition(" ")
    return [value, *value.splitlines(), credentials if scheme.isalpha() else ""]
