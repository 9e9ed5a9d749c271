"""Chat messages from fragments, with cache breakpoints where stability is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

from cosmo_context.neuron import Stability

CACHE_CONTROL: Final[Mapping[str, Any]] = MappingProxyType({"type": "ephemeral"})
"""Marks a cache breakpoint in the words that Anthropic's models and gateways to them understand."""


class Told(Protocol):
    """What is known of a fragment here."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def stability(self) -> Stability: ...  # noqa: D102
    @property
    def messages(self) -> tuple[Mapping[str, Any], ...] | None: ...  # noqa: D102


@attrs.define
class _Message:
    role: str
    # Copies, and none where the content is neither text nor blocks.
    blocks: list[dict[str, Any]]
    # As it was given, when there is more to it than role and content.
    given: Mapping[str, Any] | None = None
    marked: bool = False


def as_messages(fragments: Iterable[Told], cache_control: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return fragments as chat messages; see `Rendered.to_messages`."""
    told = [fragment for fragment in fragments if fragment.text]
    breakpoints = _breakpoints(told) if cache_control else set()
    messages: list[_Message] = []
    role = "system"
    for place, fragment in enumerate(told):
        if fragment.stability > Stability.SESSION:
            role = "user"
        if fragment.messages is None:
            _append(messages, _Message(role, _blocks(fragment.text)))
        else:
            for message in fragment.messages:
                _append(messages, _turn(message))
        if place in breakpoints and cache_control:
            _mark(messages, cache_control)
    return [_as_dict(message, plain=not cache_control) for message in messages]


def _breakpoints(told: Sequence[Told]) -> set[int]:
    """Return after which fragments stability is lost, once for every degree of it: three at most."""
    places = set()
    stability = Stability.STATIC
    for place, fragment in enumerate(told):
        stability = max(stability, fragment.stability)
        if stability > Stability.GROWING:
            break
        following = told[place + 1].stability if place + 1 < len(told) else Stability.VOLATILE
        if following > stability:
            places.add(place)
    return places


def _turn(message: Mapping[str, Any]) -> _Message:
    role, blocks = str(message.get("role", "user")), _blocks(message.get("content"))
    plain = blocks and message.keys() <= {"role", "content"}
    return _Message(role, blocks, None if plain else message)


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        # Providers refuse an empty block.
        return [{"type": "text", "text": content}] if content else []
    if isinstance(content, list) and all(isinstance(block, Mapping) for block in content):
        return [dict(block) for block in content]
    return []


def _append(messages: list[_Message], message: _Message) -> None:
    last = messages[-1] if messages else None
    # Turns with more to them, such as calls of tools, stay as they are.
    if last and last.role == message.role and last.given is None and message.given is None:
        last.blocks += message.blocks
    else:
        messages.append(message)


def _mark(messages: Sequence[_Message], cache_control: Mapping[str, Any]) -> None:
    # A call of a tool may have no content to mark: what is before it is the next best.
    last = next((message for message in reversed(messages) if message.blocks), None)
    if last is not None:
        last.blocks[-1]["cache_control"] = dict(cache_control)
        last.marked = True


def _as_dict(message: _Message, *, plain: bool) -> dict[str, Any]:
    if message.given is not None and not message.marked:
        return {"role": message.role, **message.given}
    content: str | list[dict[str, Any]] = message.blocks
    if plain and all(block.keys() == {"type", "text"} for block in message.blocks):
        content = "\n\n".join(block["text"] for block in message.blocks)
    return {"role": message.role, **(message.given or {}), "content": content}
