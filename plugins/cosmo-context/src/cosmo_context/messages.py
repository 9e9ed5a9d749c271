"""Chat messages: the text of their contents, and conversations that every chat template accepts.

The strictest templates accept one system message, at the beginning, and then turns of the user and the
assistant that alternate, the user first. Each call of a tool needs one result, right after the message with
the calls, and the user speaks again after the assistant only.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

SYSTEM_ROLES: Final = frozenset({"system", "developer"})
"""The roles of messages that instruct the model."""

NOTHING_SAID: Final = "…"
"""The content of a turn that a chat template needs and that a conversation does not have."""

Block = dict[str, Any]


def content_text(content: Any) -> str:
    """Return the content of a message as text. A part that is not text is named, such as ``[image]``."""
    return "\n".join(map(_part_text, content)) if is_parts(content) else format(content)


def other_parts(content: Any) -> tuple[Block, ...]:
    """Return copies of the parts of a message's content that are not text, such as images."""
    return tuple(dict(part) for part in content if not _is_text(part)) if is_parts(content) else ()


def call_text(call: object) -> str:
    """Return a call of a tool as text: ``name(arguments)``."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return "a call of a tool"
    arguments = function.get("arguments", "")
    return f"{function.get('name')}({arguments if isinstance(arguments, str) else _json(arguments)})"


def is_parts(content: Any) -> bool:
    """Tell whether a content consists of typed parts, such as texts and images."""
    return (
        isinstance(content, (list, tuple))
        and bool(content)
        and all(isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in content)
    )


def _is_text(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def _part_text(part: Mapping[str, Any]) -> str:
    name = part["type"].removeprefix("input_").removesuffix("_url")
    return str(part["text"]) if _is_text(part) else f"[{name}]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def blocks_of(content: object) -> list[Block]:
    """Return a content as content blocks; empty texts have none, since providers reject an empty block."""
    if isinstance(content, (list, tuple)) and all(isinstance(block, Mapping) for block in content):
        return [dict(block) for block in content if block.get("text") != ""]
    text = "" if content is None else content if isinstance(content, str) else _json(content)
    return [{"type": "text", "text": text}] if text else []


@attrs.define
class Message:
    """A chat message that is being made.

    Attributes:
        role: The role.
        blocks: Its content.
        more: Its keys besides role and content.
        original: The message that it was made from, if that is sent as it is.
    """

    role: str
    blocks: list[Block]
    more: dict[str, Any] = attrs.field(factory=dict)
    original: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Message:
        """Make one from a message of a conversation, which is not changed."""
        content = message.get("content")
        more = {key: value for key, value in message.items() if key not in {"role", "content"}}
        original = message if more and isinstance(content, (str, list, type(None))) else None
        return cls(str(message.get("role", "user")), blocks_of(content), more, original)

    @property
    def calls(self) -> list[Any]:
        """The calls of tools."""
        calls = self.more.get("tool_calls") if self.role == "assistant" else None
        return calls if isinstance(calls, list) else []

    def keep_calls(self, calls: list[Any]) -> None:
        """Omit all other calls."""
        if calls != self.calls:
            del self.more["tool_calls"]
            self.more |= {"tool_calls": calls} if calls else {}
            self.original = None

    def join(self, following: Message) -> None:
        """Append the next message of the same role. Keys that both have with different values are omitted."""
        shared = self.more.keys() & following.more.keys()
        differing = {key for key in shared if self.more[key] != following.more[key]}
        more = {**self.more, **following.more}
        self.more = {key: value for key, value in more.items() if key not in differing}
        self.blocks += following.blocks
        self.original = None

    def as_dict(self, *, plain: bool) -> dict[str, Any]:
        """Return the chat message; with ``plain``, a content that consists of texts is a string."""
        if self.original is not None:
            return {"role": self.role, **self.original}
        texts = [block["text"] for block in self.blocks if block.keys() == {"type", "text"}]
        plain = plain and len(texts) == len(self.blocks)
        content = "\n\n".join(texts) if plain or not self.blocks else self.blocks
        return {"role": self.role, **self.more, "content": content or (None if self.calls else "")}


class Turns:
    """The messages of a conversation, in the order and number that every chat template accepts.

    - System messages are kept apart.
    - A call without a result, and a result without a call, are omitted; so is a message without content.
    - Adjacent messages of one role are joined.
    - If the assistant speaks first, or the user right after the result of a tool, a turn with `NOTHING_SAID`
      is put between.

    Attributes:
        system: The contents of the system messages.
        messages: The other messages.
    """

    def __init__(self) -> None:
        self.system: list[Block] = []
        self.messages: list[Message] = []

    def extend(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Append messages, which are not changed."""
        given: deque[Message] = deque()
        for message in map(Message.of, messages):
            if message.role in SYSTEM_ROLES:
                self.system += message.blocks
            else:
                given.append(message)
        while given:
            message = given.popleft()
            results: list[Message] = []
            while given and given[0].role == "tool":
                results.append(given.popleft())
            if message.role != "tool":
                answered = _answered(message.calls, results)
                message.keep_calls([call for call, _ in answered])
                self.add(message)
                self.messages += [result for _, result in answered]

    def add(self, message: Message) -> None:
        """Append a message of the user or the assistant."""
        if not (message.blocks or message.calls):
            return
        last = self.messages[-1].role if self.messages else "assistant"
        if self.messages and last == message.role:
            self.messages[-1].join(message)
            return
        if (last, message.role) in {("assistant", "assistant"), ("tool", "user")}:
            other = "user" if message.role == "assistant" else "assistant"
            self.messages.append(Message(other, blocks_of(NOTHING_SAID)))
        self.messages.append(message)

    def add_asked(self, blocks: list[Block], *, is_question: bool) -> None:
        """Append what the user says now. Without a question, it may belong to the one that is being answered.

        Then the assistant still uses tools, and the blocks are put before that question.
        """
        if is_question or not self.messages or self.messages[-1].role != "tool":
            self.add(Message("user", blocks))
            return
        asked = next(message for message in reversed(self.messages) if message.role == "user")
        asked.blocks[:0] = blocks
        asked.original = None

    def last_block(self) -> Block | None:
        """Return the last block of a content, to mark it; None if no message has content."""
        last = next((message for message in reversed(self.messages) if message.blocks), None)
        if last is None:
            return None
        last.original = None
        return last.blocks[-1]


def _answered(calls: list[Any], results: list[Message]) -> list[tuple[Any, Message]]:
    """Return each call that has a result, with it. A result without an id belongs to the next call."""
    answered = []
    for call in calls:
        id = call.get("id") if isinstance(call, Mapping) else None
        result = next((each for each in results if each.more.get("tool_call_id", id) == id), None)
        if result is not None:
            results = [each for each in results if each is not result]
            answered.append((call, result))
    return answered
