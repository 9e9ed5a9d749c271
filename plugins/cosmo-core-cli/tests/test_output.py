"""Escaping and redaction of text for a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core_cli.output import one_line, printable, redacted


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


@given(st.text())
def test_printable_text_is_unchanged(text: str) -> None:
    kept = "".join(each for each in text if each.isprintable() or each in "\n\t")
    assert printable(kept) == kept


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
