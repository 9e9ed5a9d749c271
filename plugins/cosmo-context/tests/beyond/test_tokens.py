"""Counting tokens without a tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import approximate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("日本語", 3), ("abc日", 2), ("\ud800", 1)],
)
def test_four_ascii_characters_or_one_other_are_one_token(text: str, tokens: int) -> None:
    assert approximate_tokens(text) == tokens


@given(st.text(), st.text())
def test_tokens_are_monotone_and_subadditive(one: str, other: str) -> None:
    both = approximate_tokens(one + other)
    assert max(approximate_tokens(one), approximate_tokens(other)) <= both
    assert both <= approximate_tokens(one) + approximate_tokens(other)


@given(st.text(st.characters(max_codepoint=127), min_size=1))
def test_tokens_are_between_one_and_the_number_of_characters(text: str) -> None:
    assert 1 <= approximate_tokens(text) <= len(text)
