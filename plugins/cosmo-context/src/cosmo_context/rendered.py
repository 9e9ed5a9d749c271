"""A composed prompt: its text, the fragment of each Neuron, and the same prompt as chat messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

from cosmo_context.neuron import Stability

Status = Literal["kept", "empty", "shortened", "dropped", "failed"]

CACHE_CONTROL: Final[Mapping[str, Any]] = MappingProxyType({"type": "ephemeral"})
"""The mark of a cache breakpoint, as Anthropic's API and gateways to it define it."""


@attrs.frozen(kw_only=True)
class Divergence:
    """The first difference between a prompt and an earlier one.

    Attributes:
        neuron: The name of the Neuron whose text differs in the later prompt, or is shorter than before.
        previous_neuron: The name of the Neuron whose text the earlier prompt has at this position; None
            between two fragments, and at the end.
        at: The position of the difference, in characters.
        shared: The share of the later prompt's bytes before this position, from 0 to 1.
    """

    neuron: str | None
    previous_neuron: str | None
    at: int
    shared: float


@attrs.frozen(kw_only=True)
class Fragment:
    """The part of a prompt that one Neuron contributed.

    Attributes:
        neuron: The name of the Neuron.
        priority: The priority of the Neuron.
        stability: How often the fragment changes.
        text: The text of the fragment in the prompt.
        start: The position of its start in the prompt, in characters.
        end: The position of its end; equal to ``start`` if the prompt has no text of it.
        tokens: The number of its tokens.
        elapsed_s: How long the Neuron took, in seconds.
        status: ``"kept"`` if unchanged, ``"empty"`` if the Neuron returned no text, ``"shortened"`` or
            ``"dropped"`` for the budget, ``"failed"`` if the Neuron failed.
        reason: Why the text differs from what the Neuron first returned; None if it does not.
        messages: The chat messages of a fragment that is a conversation.
    """

    neuron: str
    priority: float
    stability: Stability
    text: str = attrs.field(repr=False)
    start: int
    end: int
    tokens: int
    elapsed_s: float
    status: Status
    reason: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Rendered:
    """A composed prompt.

    Attributes:
        text: The prompt.
        fragments: The fragments of all Neurons in the order of the prompt, including those without text.
        tokens: The number of tokens of the prompt.
        limit: The most tokens it may have; None without a budget.
        over_trigger: Whether the prompt uses more than the share ``token_budget_trigger`` of its limit, or
            was shortened: a sign that the program should summarise its history.
    """

    text: str = attrs.field(repr=False)
    fragments: tuple[Fragment, ...]
    tokens: int
    limit: int | None = None
    over_trigger: bool = False

    def __str__(self) -> str:
        return self.text

    def explain(self) -> str:
        """Return one line per Neuron: the status, position, size and time of its fragment."""
        return "\n".join(map(_line, self.fragments))

    def diff(self, previous: Rendered) -> Divergence | None:
        """Return the first difference from an earlier prompt; None if the earlier one starts with this one.

        The prompt cache of a provider can serve the text before that position.
        """
        at = common_length(previous.text, self.text)
        if at == len(self.text):
            return None
        current, earlier = self._fragment_at(at), previous._fragment_at(at)
        # Between two fragments of this prompt, a fragment of the earlier one is shorter now, or gone.
        changed = current or earlier or self._fragment_after(at)
        return Divergence(
            neuron=changed.neuron if changed else None,
            previous_neuron=earlier.neuron if earlier else None,
            at=at,
            shared=_bytes(self.text[:at]) / _bytes(self.text),
        )

    def to_messages(self, *, cache_control: Mapping[str, Any] | None = CACHE_CONTROL) -> list[dict[str, Any]]:
        """Return the prompt as chat messages.

        The stable fragments at the beginning form the system message. A conversation becomes its own
        messages. All other fragments are messages of the user. Adjacent messages with the same role are
        joined, except those of the conversation that have more keys than role and content; these are not
        changed.

        Args:
            cache_control: The mark of a cache breakpoint. It is set on the last block before each loss of
                stability, at most three times; providers allow four. With None, contents are plain text and
                nothing is marked, for providers that cache without marks.
        """
        return _as_messages(self.fragments, cache_control)

    def _fragment_at(self, position: int) -> Fragment | None:
        return next((item for item in self.fragments if item.start <= position < item.end), None)

    def _fragment_after(self, position: int) -> Fragment | None:
        return next((item for item in self.fragments if item.start > position and item.text), None)


def _bytes(text: str) -> int:
    # JSON can contain half of a surrogate pair, which plain UTF-8 cannot encode.
    return len(text.encode(errors="surrogatepass"))


def _line(fragment: Fragment) -> str:
    reason = f": {fragment.reason}" if fragment.reason else ""
    return (
        f"{fragment.neuron}: {fragment.status}, {fragment.start}-{fragment.end}, {fragment.tokens} tokens,"
        f" {fragment.elapsed_s * 1000:.1f} ms{reason}"
    )


def common_length(one: str, other: str) -> int:
    """Return the length of the common start of two texts, in characters."""
    common, different = 0, min(len(one), len(other)) + 1
    # A binary search with slices: comparing slices is fast, and each step compares only the unknown part.
    while different - common > 1:
        middle = (common + different) // 2
        if one[common:middle] == other[common:middle]:
            common = middle
        else:
            different = middle
    return common


@attrs.define
class _Message:
    role: str
    # Copies of the content blocks; empty if the content is neither text nor blocks.
    blocks: list[dict[str, Any]]
    # The original message, if it has more keys than role and content.
    original: Mapping[str, Any] | None = None
    marked: bool = False


def _as_messages(
    fragments: Iterable[Fragment], cache_control: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return fragments as chat messages; see `Rendered.to_messages`."""
    visible = [fragment for fragment in fragments if fragment.text]
    breakpoints = _breakpoints(visible) if cache_control else set()
    messages: list[_Message] = []
    role = "system"
    for index, fragment in enumerate(visible):
        if fragment.stability > Stability.SESSION:
            role = "user"
        if fragment.messages is None:
            _append(messages, _Message(role, _blocks(fragment.text)))
        else:
            for message in fragment.messages:
                _append(messages, _message(message))
        if index in breakpoints and cache_control:
            _mark(messages, cache_control)
    return [_as_dict(message, plain=not cache_control) for message in messages]


def _breakpoints(visible: Sequence[Fragment]) -> set[int]:
    """Return the indexes of the fragments after which stability is lost: at most three."""
    indexes = set()
    stability = Stability.STATIC
    for index, fragment in enumerate(visible):
        stability = max(stability, fragment.stability)
        if stability > Stability.GROWING:
            break
        following = visible[index + 1].stability if index + 1 < len(visible) else Stability.VOLATILE
        if following > stability:
            indexes.add(index)
    return indexes


def _message(message: Mapping[str, Any]) -> _Message:
    role, blocks = str(message.get("role", "user")), _blocks(message.get("content"))
    plain = blocks and message.keys() <= {"role", "content"}
    return _Message(role, blocks, None if plain else message)


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        # Providers reject an empty block.
        return [{"type": "text", "text": content}] if content else []
    if isinstance(content, list) and all(isinstance(block, Mapping) for block in content):
        return [dict(block) for block in content]
    return []


def _append(messages: list[_Message], message: _Message) -> None:
    last = messages[-1] if messages else None
    # Messages with more keys, such as tool calls, are not joined.
    if last and last.role == message.role and last.original is None and message.original is None:
        last.blocks += message.blocks
    else:
        messages.append(message)


def _mark(messages: Sequence[_Message], cache_control: Mapping[str, Any]) -> None:
    # A tool call may have no content to mark; then the message before it is marked.
    last = next((message for message in reversed(messages) if message.blocks), None)
    if last is not None:
        last.blocks[-1]["cache_control"] = dict(cache_control)
        last.marked = True


def _as_dict(message: _Message, *, plain: bool) -> dict[str, Any]:
    if message.original is not None and not message.marked:
        return {"role": message.role, **message.original}
    content: str | list[dict[str, Any]] = message.blocks
    if plain and all(block.keys() == {"type", "text"} for block in message.blocks):
        content = "\n\n".join(block["text"] for block in message.blocks)
    return {"role": message.role, **(message.original or {}), "content": content}
