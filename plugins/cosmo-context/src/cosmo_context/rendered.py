"""The prompt with its provenance: what every Neuron said, where, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from cosmo_context.divergence import Divergence, common_length
from cosmo_context.messages import CACHE_CONTROL, as_messages
from cosmo_context.neuron import Stability

Status = Literal["kept", "empty", "shortened", "dropped", "failed"]


@attrs.frozen(kw_only=True)
class Fragment:
    """What one Neuron contributed.

    Attributes:
        neuron: Its name.
        priority: Its place.
        stability: How long the fragment stays as it is.
        text: What the prompt has of it.
        start: Where in the prompt it starts, in characters.
        end: Where it ends; as ``start`` when the prompt has nothing of it.
        tokens: How many tokens it has.
        elapsed_s: How long the Neuron took.
        status: ``"kept"`` as it was, ``"empty"`` when the Neuron had nothing to say, ``"shortened"`` or
            ``"dropped"`` for the budget, ``"failed"`` when there is none because of an error.
        reason: Why it is not as the Neuron first gave it; None when it is.
        messages: The chat messages that it tells, if it tells a conversation.
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
        fragments: What every Neuron contributed, in the order of the prompt; those that are not in it, too.
        tokens: How many tokens the prompt has.
        limit: How many it may have; None without a budget.
        over_trigger: Whether it has more than the Context's ``token_budget_trigger`` of what it may have, or
            lost something to the budget: time to summarise.
    """

    text: str = attrs.field(repr=False)
    fragments: tuple[Fragment, ...]
    tokens: int
    limit: int | None = None
    over_trigger: bool = False

    def __str__(self) -> str:
        return self.text

    def explain(self) -> str:
        """Return one line per Neuron: what became of its fragment, its place, size and time."""
        return "\n".join(map(_line, self.fragments))

    def diff(self, previous: Rendered) -> Divergence | None:
        """Say where this prompt first differs from an earlier one; None when the earlier one begins with it.

        A provider's prompt cache serves what is before that place.
        """
        at = common_length(previous.text, self.text)
        if at == len(self.text):
            return None
        here, there = self._fragment_at(at), previous._fragment_at(at)
        # Between two fragments of this prompt: one that went on here before is shorter now, or gone.
        changed = here or there or self._fragment_after(at)
        return Divergence(
            neuron=changed.neuron if changed else None,
            previous_neuron=there.neuron if there else None,
            at=at,
            shared=_bytes(self.text[:at]) / _bytes(self.text),
        )

    def to_messages(self, *, cache_control: Mapping[str, Any] | None = CACHE_CONTROL) -> list[dict[str, Any]]:
        """Return the prompt as chat messages.

        What is stable at the beginning makes the system message; a conversation becomes its own messages; all
        the rest is the user's. Neighbours of one role become one message, except messages of the conversation
        that have more than a role and a content: those are passed on as they are.

        Args:
            cache_control: Put on the last block before every loss of stability, three times at most where
                providers take four, for those that are told what to cache. With None, contents are plain text
                and nothing is marked: for providers that find out by themselves.
        """
        return as_messages(self.fragments, cache_control)

    def _fragment_at(self, place: int) -> Fragment | None:
        return next((item for item in self.fragments if item.start <= place < item.end), None)

    def _fragment_after(self, place: int) -> Fragment | None:
        return next((item for item in self.fragments if item.start > place and item.text), None)


def _bytes(text: str) -> int:
    # JSON can bring half of a surrogate pair, which has no encoding of its own.
    return len(text.encode(errors="surrogatepass"))


def _line(fragment: Fragment) -> str:
    reason = f": {fragment.reason}" if fragment.reason else ""
    return (
        f"{fragment.neuron}: {fragment.status}, {fragment.start}-{fragment.end}, {fragment.tokens} tokens,"
        f" {fragment.elapsed_s * 1000:.1f} ms{reason}"
    )
