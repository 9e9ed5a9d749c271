"""Limits of the text of a query."""

from __future__ import annotations

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import MAX_QUERY_TEXT, MAX_QUERY_WORDS, Query


def test_query_has_a_limited_number_of_words() -> None:
    words = [f"w{number}" for number in range(MAX_QUERY_WORDS)]
    assert Query.parse({"text": " ".join([*words, *words[:9_000]])}).words == tuple(words)
    with pytest.raises(EngramError, match="has 50001 words; the limit of a query is 50000") as caught:
        Query.parse({"text": " ".join([*words, "more"])})
    assert caught.value.code == "ENGRAM_INVALID"


def test_query_has_a_limited_number_of_characters() -> None:
    assert Query.parse({"text": "x" * MAX_QUERY_TEXT}).words == ("x" * 64,)
    with pytest.raises(EngramError, match=f"the limit of a query is {MAX_QUERY_TEXT}") as caught:
        Query.parse({"text": "x" * (MAX_QUERY_TEXT + 1)})
    assert caught.value.code == "ENGRAM_INVALID"
