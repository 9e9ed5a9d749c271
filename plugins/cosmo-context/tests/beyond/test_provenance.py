"""Unmarked data: searching a fragment for texts of the state. Marked data: splitting a fragment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_context.data import Part, data, marking, parts, unmarked
from cosmo_context.refining import split, suspicious_texts


def own(text: str) -> Part:
    return Part(text, own=True)


def quoted(text: str) -> Part:
    return Part(text, own=False)


def test_only_texts_that_resemble_structure_are_searched() -> None:
    values = {"a": "harmless", "b": ["${x} and more", "a <= b", "</p>", 7, None], "c": "Note [1]: no"}
    assert set(suspicious_texts(values)) == {"${x} and more", "{x}", "</p>", "Note [1]: no"}


def test_longest_text_comes_first() -> None:
    assert suspicious_texts(["{a}", "{a} {b}", "x{a} {b}"])[0] == "x{a} {b}"


def test_surrounding_white_space_is_ignored() -> None:
    assert "${x}" in suspicious_texts(["\n ${x} "])


def test_fragment_is_split_at_its_quotes() -> None:
    assert split("I say ${x}, you: ${x}.", ["${x}, you", "{x}"]) == [
        own("I say "),
        quoted("${x}, you"),
        own(": $"),
        quoted("{x}"),
        own("."),
    ]


def test_fragment_without_quotes_is_one_part() -> None:
    assert split("All mine.", ["{x}"]) == [own("All mine.")]
    assert split("All mine.", []) == [own("All mine.")]


@given(st.text("ab{}$"), st.lists(st.text("ab{}$", min_size=1), max_size=5))
def test_splitting_keeps_all_text_and_leaves_no_quote_in_own_parts(fragment: str, texts: list[str]) -> None:
    found = split(fragment, texts)
    assert "".join(part.text for part in found) == fragment
    assert not [part for part in found if part.own and any(text in part.text for text in texts)]


# --- marks --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text("ab\ufdd0\ufdd1\ufdd7"), st.booleans())))
def test_marks_separate_data_and_own_text_exactly(pieces: list[tuple[str, bool]]) -> None:
    with marking():
        fragment = "".join(text.replace("\ufdd0", "") if mine else data(text) for text, mine in pieces)
    scripted = parts(fragment) or [own(unmarked(fragment))]
    assert [(character, part.own) for part in scripted for character in part.text] == [
        (character, mine) for text, mine in pieces for character in unmarked(text)
    ]


def test_nested_data_is_one_part() -> None:
    with marking():
        fragment = data(f"{data('a')} and {data('b')}")
    assert parts(fragment) == [quoted("a and b")]


def test_data_without_marking_equals_an_f_string() -> None:
    assert [data(value) for value in (1.5, None, "\ufdd0", [1])] == ["1.5", "None", "\ufdd0", "[1]"]


def test_marking_ends_with_its_block() -> None:
    with marking():
        assert data("x") != "x"
    assert data("x") == "x"


@given(st.text())
def test_unmarked_text_has_no_parts(text: str) -> None:
    assert parts(text) is None
