"""Words of a text: what separates them, and what makes no difference."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from cosmo_core.contracts.engram import words_in

INVISIBLE = (
    "\u00ad\u200c\u200d\u200e\u200f\u2060\u2063\u2066\u2069\ufeff\ufe0f\u180b\u115f\u3164\U000e0001\U000e0100"
)


@pytest.mark.parametrize("invisible", INVISIBLE, ids=lambda char: f"U+{ord(char):04X}")
def test_invisible_character_does_not_change_a_word(invisible: str) -> None:
    assert words_in(f"{invisible}Zusammen{invisible}arbeit{invisible}") == ["zusammenarbeit"]
    assert words_in(invisible) == []


def test_zero_width_space_separates_words() -> None:
    assert words_in("one\u200btwo") == ["one", "two"]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("\ufb2a\u05b8\u05dc\ufb4b\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        (
            "\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596\u05d9\u05ea",
            "\u05d1\u05e8\u05d0\u05e9\u05d9\u05ea",
        ),
        ("\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f", "\u0645\u062d\u0645\u062f"),
        ("\u0645\u0640\u0640\u062d\u0645\u062f", "\u0645\u062d\u0645\u062f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
        (
            "\u0671\u0644\u0631\u0651\u064e\u062d\u06e1\u0645\u064e\u0640\u0670\u0646\u0650",
            "\u0627\u0644\u0631\u062d\u0645\u0646",
        ),
        ("\u05d9\u05d9\u05b4\u05d3\u05d9\u05e9", "\u05f2\u05d3\u05d9\u05e9"),
        ("\ufb1f\u05d3\u05d9\u05e9", "\u05f2\u05d3\u05d9\u05e9"),
        ("\u0440\u0443\u0301\u0441\u0441\u043a\u0438\u0439", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439"),
    ],
    ids=[
        "Hebrew",
        "precomposed Hebrew",
        "chanted Hebrew",
        "Arabic",
        "stretched Arabic",
        "Persian",
        "Arabic with an article",
        "Yiddish",
        "precomposed Yiddish",
        "Russian",
    ],
)
def test_optional_marks_make_no_difference(written: str, plain: str) -> None:
    assert len(words_in(plain)) == 1
    assert words_in(written) == words_in(plain)


def test_points_of_all_scripts_are_ignored() -> None:
    # The combining classes of the points of Hebrew (10 to 26), Arabic (27 to 35) and Syriac (36).
    points = [chr(code) for code in range(sys.maxunicode) if 10 <= unicodedata.combining(chr(code)) <= 36]
    assert len(points) > 30
    assert {point for point in points if words_in(f"a{point}b") != ["ab"]} == set()


@pytest.mark.parametrize(
    "text",
    [
        "\u0915\u094d\u0937\u0924\u094d\u0930",
        "\u0e44\u0e21\u0e48",
        "\u304c",
        "\ud55c\uad6d\uc5b4",
    ],
)
def test_mark_that_changes_the_meaning_stays(text: str) -> None:
    assert words_in(text) == [text]
