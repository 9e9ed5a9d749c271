"""What a conversation keeps."""

from __future__ import annotations

import pytest

from cosmo_core_cli.chat import MAX_MESSAGES, MAX_TEXT, Conversation


@pytest.fixture
def talk() -> Conversation:
    return Conversation("n", system="Be brief.", as_prompt=False, timeout_s=1)


def kept(talk: Conversation) -> list[str]:
    return [message["content"] for message in talk._messages]


def test_oldest_messages_are_left_out(talk: Conversation) -> None:
    for number in range(MAX_MESSAGES + 2):
        talk._add("user", str(number))
    assert kept(talk) == [str(number) for number in range(2, MAX_MESSAGES + 2)]


def test_oldest_texts_are_left_out_so_that_the_rest_fits_a_frame(talk: Conversation) -> None:
    talk._add("user", "é" * (MAX_TEXT // 4))
    talk._add("assistant", "b" * (MAX_TEXT // 2))
    assert len(kept(talk)) == 2
    talk._add("user", "c")
    assert [text[0] for text in kept(talk)] == ["b", "c"]


def test_last_message_is_kept_whatever_its_size(talk: Conversation) -> None:
    talk._add("user", "a")
    talk._add("user", "b" * (MAX_TEXT + 1))
    assert kept(talk) == ["b" * (MAX_TEXT + 1)]
