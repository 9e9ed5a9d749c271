"""Counting tokens without a tokenizer."""

from __future__ import annotations

from collections.abc import Callable

CountTokens = Callable[[str], int]
"""Counts the tokens of a text; a model's own tokenizer is the one to use where the limit is tight."""


def approximate_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four ASCII characters, and one per other character.

    Good to some ten per cent for English prose, on the safe side for most other scripts, and too low for text
    that tokenizers split finely, such as numbers.
    """
    ascii_only = len(text.encode("ascii", "ignore"))
    return -(-ascii_only // 4) + len(text) - ascii_only
