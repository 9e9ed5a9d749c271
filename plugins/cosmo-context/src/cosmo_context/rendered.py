"""A composed prompt: its text, the fragment of each Neuron, and the same prompt as chat messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

from cosmo_context.messages import Block, Message, Turns, blocks_of
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
        parts: The parts of the user's question that are not text, such as images; None if the fragment does
            not contain the question.
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
    parts: tuple[Mapping[str, Any], ...] | None = attrs.field(default=None, repr=False)


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

    def to_messages(
        self,
        *,
        question: object = None,
        conversation: Iterable[Mapping[str, Any]] = (),
        cache_control: Mapping[str, Any] | None = CACHE_CONTROL,
    ) -> list[dict[str, Any]]:
        """Return the prompt as chat messages, in an order that every chat template accepts.

        1. The system message: the stable fragments at the beginning, and the system messages of
           conversations.
        2. The conversations, see `Turns`. Messages with more keys than role and content are not changed
           unless they are joined.
        3. One message of the user: all other fragments, the user's question last. If there is no question,
           and the conversations end with the result of a tool, these fragments are put into the last message
           of the user, since the assistant is still answering it.

        Args:
            question: The content of the user's question, for a prompt that does not contain it in a fragment.
            conversation: Messages of a conversation that the prompt does not contain in a fragment.
            cache_control: The mark of a cache breakpoint. It is set on the last block before each loss of
                stability, at most three times; providers allow four. With None, contents are plain text and
                nothing is marked, for providers that cache without marks.
        """
        return _as_messages(self.fragments, question, conversation, cache_control)

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


def _as_messages(
    fragments: Iterable[Fragment],
    question: object,
    conversation: Iterable[Mapping[str, Any]],
    cache_control: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return fragments as chat messages; see `Rendered.to_messages`."""
    visible = [fragment for fragment in fragments if fragment.text]
    talks = [fragment for fragment in visible if fragment.messages is not None]
    others = [fragment for fragment in visible if fragment.messages is None]
    lead = list(takewhile(lambda fragment: fragment.stability <= Stability.SESSION, others))
    tail = sorted(others[len(lead) :], key=lambda fragment: fragment.parts is not None)
    ordered = [*lead, *talks, *tail]
    breakpoints = _breakpoints(ordered) if cache_control else set()
    turns, system, asked = Turns(), list[Block](), list[Block]()
    block: Block | None = None
    for index, fragment in enumerate(ordered):
        if fragment.messages is not None:
            turns.extend(fragment.messages)
        else:
            block = {"type": "text", "text": fragment.text}
            (system if index < len(lead) else asked).append(block)
            asked += map(dict, fragment.parts or ())
        if index in breakpoints and cache_control:
            if fragment.messages is not None:
                block = turns.last_block() or block
            if block is not None:
                block["cache_control"] = dict(cache_control)
    if not any(fragment.parts is not None for fragment in tail):
        asked += blocks_of(question)
    turns.extend(conversation)
    has_question = bool(question) or any(fragment.parts is not None for fragment in tail)
    turns.add_asked(asked, is_question=has_question)
    system += turns.system
    messages = [Message("system", system), *turns.messages] if system else turns.messages
    return [message.as_dict(plain=not cache_control) for message in messages]


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
