"""Words in PostgreSQL's own text types."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.contracts.engram import text_of
from cosmo_engram_postgres.lexemes import as_tsquery, as_tsvector


def test_a_vector_has_each_word_once_with_its_places() -> None:
    assert as_tsvector("the bus to the stop") == "'the':1,4 'bus':2 'to':3 'stop':5"
    assert as_tsvector("") == ""


def test_places_stay_within_what_a_vector_keeps() -> None:
    told = as_tsvector(" ".join(["a"] * 20_000 + ["b", "b"]))
    often, late = told.split(" ")
    assert often.count(",") == 254
    assert late == "'b':16383"


@given(st.lists(st.sampled_from("abc"), min_size=1), st.sampled_from(["all", "any"]))
def test_a_query_has_every_word_and_halves_as_deep_as_each_other(words: list[str], match: str) -> None:
    told = as_tsquery(words, "all" if match == "all" else "any")
    assert [letter for letter in told if letter.isalpha()] == words
    assert told.count("(") == len(words) - 1
    deepest = max(told[:end].count("(") - told[:end].count(")") for end in range(len(told)))
    assert deepest <= len(words).bit_length()


@given(st.text())
def test_every_text_is_words_that_need_no_more_than_quotes(text: str) -> None:
    for word in text_of({"text": text}).split():
        assert "'" not in word
        assert "\\" not in word
