"""Escaping and redaction of text for a terminal."""

from __future__ import annotations

import json
import sys
import unicodedata

import click.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import Signal, SignalType, decode
from cosmo_core_cli.output import HARMLESS, one_line, print_json_line, print_signal, printable, redacted


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = one_line(text)
    assert all(each.isprintable() or each in HARMLESS for each in shown)
    assert len(shown.splitlines()) <= 1


def test_harmless_characters_are_spaces_joiners_and_marks() -> None:
    categories = {unicodedata.category(each) for each in HARMLESS - {"\n", "\t"}}
    assert categories == {"Zs", "Cf"}
    assert {"\n", "\t", *filter(is_space, map(chr, range(sys.maxunicode + 1)))} <= HARMLESS | {" "}


def is_space(character: str) -> bool:
    return unicodedata.category(character) == "Zs"


@given(st.text())
def test_printable_text_is_unchanged(text: str) -> None:
    kept = "".join(each for each in text if each.isprintable() or each in HARMLESS)
    assert printable(kept) == kept


@pytest.mark.parametrize(
    "text", ["5\u202f000\xa0€", "全角\u3000空白", "👨\u200d👩\u200d👧", "क्\u200dष", "Silben\xadtrennung"]
)
def test_text_of_many_languages_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_line_breaks_of_windows_are_line_breaks() -> None:
    assert printable("a\r\nb\rc") == "a\nb\\rc"


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b31m", "\x7f\x00\r", "\u202e\u2066", "\u2028", "\ud800", "\U000e0041"]
)
def test_json_has_no_character_that_a_terminal_could_interpret(
    text: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    print_json_line({"a": text, "b": "日本\xa0"})
    shown = capsysbinary.readouterr().out.decode().removesuffix("\n")
    assert all(each.isprintable() or each in HARMLESS for each in shown)
    assert json.loads(shown) == {"a": text, "b": "日本\xa0"}
    assert "日本\xa0" in shown


@given(st.text())
def test_printed_signal_is_the_same_signal(text: str) -> None:
    signal = Signal.new(SignalType.TASK, {"input": {"text": text.encode(errors="replace").decode()}})
    with click.testing.CliRunner().isolation() as (out, *_):
        print_signal(signal)
        (line,) = out.getvalue().decode().splitlines()
    assert decode(line.encode()) == signal


def test_terminal_commands_are_escaped() -> None:
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://ann:s3cret@host:4222 is out", "nats://…@host:4222 is out"),
        ("postgresql://u:p@ss@host/db", "postgresql://…@host/db"),
        ("zmq://127.0.0.1:7071, ask x@y", "zmq://127.0.0.1:7071, ask x@y"),
        ("postgresql://h/db?user=u&password=s3cret&x=1", "postgresql://h/db?user=u&password=…&x=1"),
        ("api_key=s3cret", "api_key=…"),
    ],
)
def test_secrets_are_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
