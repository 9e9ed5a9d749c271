"""What the chat server says: no model runs, so the same words always bring the same answer."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"\b(?:called|named)\s+\W?(\w[\w-]*)")
_GREETING: Final = re.compile(r"\b(?:hello|hi|greet|greeting|welcome)\b", re.IGNORECASE)


class Completion(NamedTuple):
    """A reply, cut into tokens that join to its text, and why it ends."""

    tokens: list[str]
    truncated: bool

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(self.tokens)


def canned_reply(prompt: str) -> str:
    """Greet whom the prompt names when it asks for a greeting, else repeat what was asked."""
    if not _GREETING.search(prompt):
        return f"You asked: {prompt!r}. The local chat server runs no model, so this is all it can say."
    named = _NAME.search(prompt)
    whom = f", {named[1]}" if named else ""
    return f"Hello{whom}! Welcome aboard; the local chat server sends its regards."


def complete(reply: str, max_tokens: int | None) -> Completion:
    """Cut a reply into words, at most ``max_tokens`` of them."""
    tokens = re.findall(r"\s*\S+|\s+$", reply)
    limit = len(tokens) if max_tokens is None else max_tokens
    return Completion(tokens[:limit], truncated=len(tokens) > limit)


def count_tokens(text: str) -> int:
    """How many tokens, that is words, a text has."""
    return len(text.split())
