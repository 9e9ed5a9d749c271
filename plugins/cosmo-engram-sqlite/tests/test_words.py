"""The word index holds exactly the words that `words_in` returns."""

from __future__ import annotations

import math
import sqlite3
import sys

from cosmo_core.contracts.engram import words_in
from cosmo_engram_sqlite import database
from cosmo_engram_sqlite.finding import MINUS_SCORE


def test_index_keeps_every_word_as_one_term() -> None:
    chars = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    words = {word for char in chars for word in words_in(f"{char} a{char}b")}
    assert len(words) > 200_000
    opened = database.open_connection(":memory:", engram_id="ctx", store="the store")
    opened.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (" ".join(words),))
    opened.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, words, row)")
    assert {term for (term,) in opened.execute("SELECT term FROM temp.terms")} == words
    opened.close()


def test_scores_keep_the_order_of_adjacent_ranks() -> None:
    connection = sqlite3.connect(":memory:")
    ranks = [-number / 10_007 for number in range(1, 10_000)]
    pairs = "SELECT ? AS rank UNION ALL SELECT ?"
    sql = f"SELECT {MINUS_SCORE} FROM ({pairs}) AS words"  # noqa: S608 - no value is in it
    for rank in ranks:
        better, worse = connection.execute(sql, (rank, math.nextafter(rank, 0))).fetchall()
        assert -1 < better[0] <= worse[0] < 0
    connection.close()
