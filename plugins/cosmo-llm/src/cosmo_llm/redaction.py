"""Keeps secrets out of errors, logs and quoted text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_QUOTED_TEXT: Final = 500
"""How many characters of a provider's text an error quotes."""

_MARK: Final = "[redacted]"
_MAX_QUOTED_END: Final = 400
_SHORTEST_WORD: Final = 8
_SEPARATORS: Final = re.compile(r"[\s;,=]+")


class Secrets:
    """The values that no error, log or quote may show.

    A value is also recognised as JSON and as a Python repr write it. With ``parts=True`` it is recognised in
    part too: each of its lines, its words, and what follows a scheme such as ``Bearer``.

    Args:
        values: The secret values.
        shortest: Values and parts with fewer characters are not secret; redacting those would garble a quote.
        parts: Whether a part of a value is secret as well.
    """

    __slots__ = ("_forms", "_values")

    def __init__(self, values: Iterable[str] = (), *, shortest: int = 1, parts: bool = False) -> None:
        given = {part for value in values for part in (_parts(value, shortest) if parts else (value,))}
        self._values = frozenset(value for value in given if len(value) >= max(shortest, 1))
        forms = {form for value in self._values for form in _written(value)}
        # Longest first: a secret that contains another one must not survive in part.
        self._forms = sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._values)}>"

    def __or__(self, other: Secrets) -> Secrets:
        """The secrets of both."""
        return Secrets(self._values | other._values)

    def __contains__(self, value: object) -> bool:
        return value in self._values

    def __len__(self) -> int:
        return len(self._values)

    def redact(self, text: str) -> str:
        """Replace every secret in a text by ``[redacted]``."""
        for form in self._forms:
            text = text.replace(form, _MARK)
        return text

    def begun_at_end(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a secret."""
        longest = min(len(self._forms[0]) - 1, len(text)) if self._forms else 0
        ends = (size for size in range(longest, 0, -1) if self._begins(text[-size:]))
        return next(ends, 0)

    def _begins(self, end: str) -> bool:
        return any(form.startswith(end) for form in self._forms)

    def quote(self, text: str) -> str:
        """Make a text fit to be quoted in an error.

        Secrets are redacted, white space and control characters become single spaces, and a text longer than
        `MAX_QUOTED_TEXT` ends in ``…``.
        """
        text = self.redact(text)
        text = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_QUOTED_TEXT])
        # Once more: a secret with a space in it may have come with another white space in its place.
        text = self.redact(" ".join(text.split()))
        return text if len(text) <= MAX_QUOTED_TEXT else text[: MAX_QUOTED_TEXT - 1] + "…"

    def quote_end(self, text: str, *, cut: bool = False) -> str:
        """Make the last 400 characters of a text fit to be quoted.

        Args:
            text: The text.
            cut: Whether the beginning of the text is missing. What it then begins with may be the rest of a
                secret, and is left out.
        """
        if cut:
            text = self._without_rest_of_secret(text.lstrip("\ufffd"))
        return self.quote(self.redact(text)[-_MAX_QUOTED_END:])

    def _without_rest_of_secret(self, text: str) -> str:
        ends = (form[start:] for form in self._forms for start in range(1, len(form)))
        return text[max((len(end) for end in ends if text.startswith(end)), default=0) :]


def _parts(value: str, shortest: int) -> Iterator[str]:
    """A value, and the parts of it in which it is likely to be shown."""
    yield value
    yield from (line.strip() for line in value.splitlines())
    scheme, _, credentials = value.partition(" ")
    if scheme.isalpha():
        yield credentials.strip()
    yield from (word for word in _SEPARATORS.split(value) if len(word) >= max(shortest, _SHORTEST_WORD))


def _written(secret: str) -> Iterator[str]:
    """A secret as it is, as JSON writes it, and as Python writes it; each also with ``/`` escaped."""
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        yield form
        yield form.replace("/", r"\/")
