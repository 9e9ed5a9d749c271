"""The index of words is made of what `words_in` says, and of nothing else."""

from __future__ import annotations

import sys

from cosmo_core.contracts.engram import words_in
from cosmo_engram_sqlite import connection


def test_every_word_there_can_be_is_one_word_to_the_index() -> None:
    letters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    words = {word for letter in letters for word in words_in(f"{letter} a{letter}b")}
    assert len(words) > 200_000
    opened = connection.open_connection(":memory:", engram_id="ctx", store="it")
    opened.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (" ".join(words),))
    opened.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, words, row)")
    assert {term for (term,) in opened.execute("SELECT term FROM temp.terms")} == words
    opened.close()
