"""Looking for the state's texts in a fragment that marks none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_context.data import Part, data, marking, parts, unmarked
from cosmo_context.provenance import split, suspicious_texts


def own(text: str) -> Part:
    return Part(text, own=True)


def quoted(text: str) -> Part:
    return Part(text, own=False)


def test_only_what_could_pass_for_structure_is_looked_for() -> None:
    values = {"a": "harmless", "b": ["${x} and more", "a <= b", "</p>", 7, None], "c": "Note [1]: no"}
    assert set(suspicious_texts(values)) == {"${x} and more", "{x}", "</p>", "Note [1]: no"}


def test_the_longest_comes_first() -> None:
    assert suspicious_texts(["{a}", "{a} {b}", "x{a} {b}"])[0] == "x{a} {b}"


def test_white_space_around_a_text_does_not_hide_it() -> None:
    assert "${x}" in suspicious_texts(["\n ${x} "])


def test_a_fragment_is_split_where_it_quotes() -> None:
    assert split("I say ${x}, you: ${x}.", ["${x}, you", "{x}"]) == [
        own("I say "),
        quoted("${x}, you"),
        own(": $"),
        quoted("{x}"),
        own("."),
    ]


def test_a_fragment_that_quotes_nothing_is_one_part() -> None:
    assert split("All mine.", ["{x}"]) == [own("All mine.")]
    assert split("All mine.", []) == [own("All mine.")]


@given(st.text("ab{}$"), st.lists(st.text("ab{}$", min_size=1), max_size=5))
def test_splitting_loses_nothing_and_leaves_no_text_that_was_looked_for(
    fragment: str, texts: list[str]
) -> None:
    found = split(fragment, texts)
    assert "".join(part.text for part in found) == fragment
    assert not [part for part in found if part.own and any(text in part.text for text in texts)]


# --- marks ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text("ab\ufdd0\ufdd1\ufdd7"), st.booleans())))
def test_marks_tell_exactly_what_is_whose(pieces: list[tuple[str, bool]]) -> None:
    with marking():
        fragment = "".join(text.replace("\ufdd0", "") if mine else data(text) for text, mine in pieces)
    told = parts(fragment) or [own(unmarked(fragment))]
    assert [(character, part.own) for part in told for character in part.text] == [
        (character, mine) for text, mine in pieces for character in unmarked(text)
    ]


def test_data_in_data_is_all_data() -> None:
    with marking():
        fragment = data(f"{data('a')} and {data('b')}")
    assert parts(fragment) == [quoted("a and b")]


def test_without_marking_data_is_the_value_as_an_f_string_would_have_it() -> None:
    assert [data(value) for value in (1.5, None, "\ufdd0", [1])] == ["1.5", "None", "\ufdd0", "[1]"]


def test_marking_ends_with_its_block() -> None:
    with marking():
        assert data("x") != "x"
    assert data("x") == "x"


@given(st.text())
def test_what_nobody_marked_has_no_parts(text: str) -> None:
    assert parts(text) is None
