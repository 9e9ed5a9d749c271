"""Redaction of secrets that are shown in part, in another notation, or cut off, and the length of a quote."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosmo_llm import MAX_QUOTED_TEXT, Secrets

KEY = "sk-THEKEY0123456789"
# A secret with a bracket could be completed by the brackets of `[redacted]`.
SECRETS = st.text(st.characters(exclude_characters="[]…"), min_size=1)


def test_parts_of_a_secret_are_redacted() -> None:
    values = [f"Bearer {KEY}", "-----BEGIN-----\nfirst line\nsecond line\n", "debug", "no", ""]
    secrets = Secrets(values, shortest=4, parts=True)
    said = secrets.quote(f"token {KEY} and second line with Bearer {KEY}; no debug")
    assert said == "token [redacted] and [redacted] with [redacted]; no [redacted]"


def test_a_word_of_a_secret_is_redacted_if_it_is_long_enough() -> None:
    secrets = Secrets([f"session={KEY}; theme=dark"], shortest=4, parts=True)
    assert secrets.redact(f"{KEY} theme dark") == "[redacted] theme dark"


def test_a_secret_is_recognised_only_whole_without_parts() -> None:
    assert Secrets(["Bearer abcdefgh"]).redact("abcdefgh, Bearer abcdefgh") == "abcdefgh, [redacted]"


@pytest.mark.parametrize("secret", ['say "hü" \\ twice', "a/b twice"])
def test_a_secret_is_recognised_as_json_and_python_write_it(secret: str) -> None:
    secrets = Secrets([secret])
    for written in (json.dumps(secret), repr(secret), secret, json.dumps(secret).replace("/", r"\/")):
        assert "twice" not in secrets.quote(f"got {written}")


@pytest.mark.parametrize("shift", [0, 1, 1_000, 2_999])
def test_the_rest_of_a_secret_whose_beginning_is_cut_off_is_not_shown(shift: int) -> None:
    secret = "".join(f"{n:04d}" for n in range(750))
    text = (4 * secret)[shift:] + " and no more"
    said = Secrets([secret]).quote_end(text, cut=True)
    assert not any(secret[start : start + 8] in said for start in range(len(secret) - 8))
    assert said.endswith("and no more")


def test_the_end_of_a_text_is_quoted() -> None:
    assert Secrets().quote_end("x" * 1_000 + " end") == "x" * 396 + " end"


def test_the_secrets_of_two_are_joined() -> None:
    assert (Secrets(["a1"]) | Secrets(["b2"])).redact("a1 b2") == "[redacted] [redacted]"


def test_no_repr_shows_a_secret() -> None:
    assert repr(Secrets([KEY])) == "<Secrets: 1>"


@given(st.text(), st.lists(SECRETS, max_size=3), st.text())
@example("", ["0 "], "0\x1f0")
@example("", ["Bearer hf_secret"], "Bearer\t hf_secret")
def test_a_quote_is_one_bounded_line_without_secrets(before: str, secrets: list[str], after: str) -> None:
    said = Secrets(secrets).quote(before + "".join(secrets) + after)
    assert len(said) <= MAX_QUOTED_TEXT
    assert said == "" or said.isprintable()
    assert all(secret in "[redacted]…" or secret not in said for secret in secrets if secret.strip())


@pytest.mark.parametrize("position", [0, MAX_QUOTED_TEXT - 3, 4 * MAX_QUOTED_TEXT - 3])
def test_a_secret_at_the_edge_is_not_shown_in_part(position: int) -> None:
    assert "hf_" not in Secrets(["hf_secret"]).quote(" " * position + "hf_secret")


def test_a_secret_that_contains_another_is_redacted_whole() -> None:
    assert Secrets(["hf_secret", "Bearer hf_secret"]).quote("Bearer hf_secret!") == "[redacted]!"


def test_a_long_quote_is_cut_and_ends_in_an_ellipsis() -> None:
    said = Secrets().quote("x" * 1_000)
    assert (len(said), said[-1]) == (MAX_QUOTED_TEXT, "…")
