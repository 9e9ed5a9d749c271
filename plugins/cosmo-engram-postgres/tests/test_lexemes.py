"""Words as ``tsvector`` and ``tsquery`` literals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.contracts.engram import text_of
from cosmo_engram_postgres.lexemes import as_tsquery, as_tsvector


def test_tsvector_has_each_word_once_with_its_positions() -> None:
    assert as_tsvector("the bus to the stop") == "'the':1,4 'bus':2 'to':3 'stop':5"
    assert as_tsvector("") == ""


def test_tsvector_positions_stay_within_the_limits() -> None:
    vector = as_tsvector(" ".join(["a"] * 20_000 + ["b", "b"]))
    often, late = vector.split(" ")
    assert often.count(",") == 254
    assert late == "'b':16383"


@given(st.lists(st.sampled_from("abc"), min_size=1), st.sampled_from(["all", "any"]))
def test_tsquery_is_a_balanced_tree_of_all_words(words: list[str], match: str) -> None:
    query = as_tsquery(words, "all" if match == "all" else "any")
    assert [char for char in query if char.isalpha()] == words
    assert query.count("(") == len(words) - 1
    deepest = max(query[:end].count("(") - query[:end].count(")") for end in range(len(query)))
    assert deepest <= len(words).bit_length()


@given(st.text())
def test_words_of_any_text_need_no_escaping(text: str) -> None:
    for word in text_of({"text": text}).split():
        assert "'" not in word
        assert "\\" not in word
