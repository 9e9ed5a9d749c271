from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_testing.chat_server.replies import canned_reply, complete


@pytest.mark.parametrize(
    ("prompt", "beginning"),
    [
        ("Say hello to a project called Cosmonapse in one line.", "Hello, Cosmonapse! "),
        ('Please greet the person named "Ada".', "Hello, Ada! "),
        ("hi", "Hello! "),
        ("What is this?", "You asked: 'What is this?'. "),
        ("A project called X is what?", "You asked: "),
        ("", "You asked: ''. "),
    ],
)
def test_the_reply_takes_up_the_prompt(prompt: str, beginning: str) -> None:
    assert canned_reply(prompt).startswith(beginning)


@given(st.text())
def test_the_reply_says_that_no_model_made_it(prompt: str) -> None:
    assert "local chat server" in canned_reply(prompt)


@given(st.text(), st.none() | st.integers(1, 20))
def test_the_tokens_join_to_the_beginning_of_the_reply(reply: str, limit: int | None) -> None:
    completion = complete(reply, limit)
    assert reply.startswith(completion.text)
    assert completion.truncated is (completion.text != reply)
    assert limit is None or len(completion.tokens) <= limit
