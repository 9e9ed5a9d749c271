"""The word index holds exactly the words that `words_in` returns."""

from __future__ import annotations

import sys

from cosmo_core.contracts.engram import words_in
from cosmo_engram_sqlite import database


def test_index_keeps_every_word_as_one_term() -> None:
    chars = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    words = {word for char in chars for word in words_in(f"{char} a{char}b")}
    assert len(words) > 200_000
    opened = database.open_connection(":memory:", engram_id="ctx", store="the store")
    opened.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (" ".join(words),))
    opened.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, words, row)")
    assert {term for (term,) in opened.execute("SELECT term FROM temp.terms")} == words
    opened.close()
