"""What a TASK tells, put where context Neurons look for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from cosmo_context.context import Context
from cosmo_llm import PROMPT_KEYS

Feed = Callable[[Context, Mapping[str, Any], Sequence[Any]], Awaitable[None] | None]
"""Fills a Context from the ``input`` and the ``context`` that a Neuron was called with."""

ASKED: Final = ("messages", *PROMPT_KEYS)
"""The keys of an LLM Neuron's input that the prompt takes the place of."""


def feed_task(ctx: Context, input: Mapping[str, Any], context: Sequence[Any]) -> None:
    """Fill a Context from a TASK.

    - A prompt, or the text of the last message if it is the user's, becomes ``task_input``.
    - The messages before it become ``history``.
    - Every other key of the input becomes the state's key of that name: ``facts``, ``todos``, ``weather``.
    - What the Axon's context fetcher brought is added: texts to ``facts``, mappings with ``content`` to
      ``knowledge_items``.
    """
    for key, value in input.items():
        if key not in ASKED and value is not None:
            ctx.state.set(key, value)
    prompt = next((input[key] for key in PROMPT_KEYS if input.get(key) is not None), None)
    if prompt is None and isinstance(messages := input.get("messages"), list):
        prompt = _feed_messages(ctx, messages)
    if prompt is not None:
        ctx.state.set("task_input", prompt)
    extend(ctx, "facts", [item for item in context if isinstance(item, str)])
    extend(ctx, "knowledge_items", [item for item in context if _is_knowledge(item)])


def _feed_messages(ctx: Context, messages: list[Any]) -> Any:
    last = messages[-1] if messages else None
    if not isinstance(last, Mapping) or last.get("role") != "user":
        ctx.state.set("history", messages)
        return None
    ctx.state.set("history", messages[:-1])
    return last.get("content")


def _is_knowledge(item: object) -> bool:
    return isinstance(item, Mapping) and "content" in item


def extend(ctx: Context, key: str, items: Sequence[Any]) -> None:
    """Add items behind those that are there, in a list of the Context's own.

    What is there and is no list stays: whoever reads it says what is wrong with it.
    """
    there = ctx.state.get(key) or ()
    if items and isinstance(there, Iterable) and not isinstance(there, (str, bytes, bytearray, Mapping)):
        ctx.state.set(key, [*there, *items])
