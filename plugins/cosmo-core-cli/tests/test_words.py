"""Text that is fit to be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core_cli.words import one_line, printable, redacted


@given(st.text())
def test_what_is_shown_on_one_line_is_one_line_and_obeyed_by_no_terminal(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


@given(st.text())
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    kept = "".join(each for each in text if each.isprintable() or each in "\n\t")
    assert printable(kept) == kept


def test_a_terminals_commands_are_escaped() -> None:
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
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
