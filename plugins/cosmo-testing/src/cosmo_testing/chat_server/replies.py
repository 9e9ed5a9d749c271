"""The texts of the chat server: deterministic replies, cut into tokens."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"\b(?:called|named)\s+\W?(\w[\w-]*)")
_GREETING: Final = re.compile(r"\b(?:hello|hi|greet|greeting|welcome)\b", re.IGNORECASE)


class Completion(NamedTuple):
    """A reply as tokens.

    Attributes:
        tokens: The tokens; joined, they are the text.
        truncated: Whether the token limit cut the reply.
    """

    tokens: list[str]
    truncated: bool

    @property
    def text(self) -> str:
        """The text."""
        return "".join(self.tokens)


def canned_reply(prompt: str) -> str:
    """Greet the person that the prompt names if it asks for a greeting; otherwise repeat the prompt."""
    if not _GREETING.search(prompt):
        return f"You asked: {prompt!r}. The local chat server runs no model, so this is all it can say."
    named = _NAME.search(prompt)
    whom = f", {named[1]}" if named else ""
    return f"Hello{whom}! Welcome aboard; the local chat server sends its regards."


def complete(reply: str, max_tokens: int | None) -> Completion:
    """Cut a reply into tokens, which are words, and keep at most ``max_tokens``."""
    tokens = re.findall(r"\s*\S+|\s+$", reply)
    limit = len(tokens) if max_tokens is None else max_tokens
    return Completion(tokens[:limit], truncated=len(tokens) > limit)


def count_tokens(text: str) -> int:
    """Count the tokens of a text, which are words."""
    return len(text.split())
