"""The history Neuron, and the conversation it tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from cosmo_context.context import Context
from cosmo_context.data import marker
from cosmo_context.neuron import Stability
from cosmo_context.neurons.listing import ListNeuron, as_list


class Conversation(str):
    """A fragment that also knows the chat messages it tells, for `Rendered.to_messages`."""

    __slots__ = ("messages",)

    messages: tuple[Mapping[str, Any], ...]

    def __new__(cls, text: str, messages: Iterable[Mapping[str, Any]]) -> Self:
        """Make a fragment of its text and its messages."""
        conversation = super().__new__(cls, text)
        conversation.messages = tuple(messages)
        return conversation


class HistoryNeuron(ListNeuron):
    """Tells the last messages: ``history``, mappings with ``role`` and ``content``.

    The last ``2 * ctx.config.history_rounds`` messages, whatever their role.

    With the option ``step``, which the cache layout gives, the window's beginning moves by that many messages
    at a time, so that most prompts begin as the one before; and a window that leaves messages out does not
    begin with a tool's result, which would stand without its call. It is never longer than without.
    """

    key = "history"
    tag = "conversation_history"
    stability = Stability.GROWING
    # The one that loses least when it is shortened.
    importance = 10
    cache_options = MappingProxyType({"step": 20})

    def __init__(self, name: str = "history", *, priority: float = 10) -> None:
        super().__init__(name, priority=priority)

    def items(self, ctx: Context, *, step: int = 1, **kwargs: Any) -> Sequence[Any]:
        """Return the messages in the window; the time it takes depends on the window alone."""
        history = as_list(self.name, self.key, ctx.state.get(self.key))
        window = 2 * ctx.config.history_rounds
        surplus = len(history) - window
        if surplus <= 0:
            return history
        if step <= 1:
            return history[surplus:]
        step = min(step, window)
        # Rounded up: the window may be shorter than it could be, never longer.
        return history[_after_results(history, -(-surplus // step) * step) :]

    def kept(self, items: Sequence[Any], count: int) -> Sequence[Any]:
        """Return the last ``count`` messages."""
        return items[len(items) - count :]

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``[role]: content`` of each."""
        data = marker()
        return [f"[{data(turn.get('role', 'unknown'))}]: {data(turn.get('content', ''))}" for turn in items]

    def listing(self, items: Sequence[Any]) -> str:
        """Return the messages as text that also knows the messages."""
        text = super().listing(items)
        return Conversation(text, items) if text else ""


def _after_results(history: Sequence[Any], start: int) -> int:
    for index in range(start, len(history)):
        message = history[index]
        if not isinstance(message, Mapping) or message.get("role") != "tool":
            return index
    return start
