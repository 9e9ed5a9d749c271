"""Filling the Context of a TASK: from its input, and from shared memory."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from cosmo_context.bridge.memory import as_text
from cosmo_context.context import Context
from cosmo_context.messages import is_parts
from cosmo_core import Hit, RecallFn
from cosmo_core.contracts.engram import text_of

Feed = Callable[[Context, Mapping[str, Any], Sequence[Any]], Awaitable[None] | None]
"""Fills a Context from the ``input`` and the ``context`` that a Neuron is called with."""

PROMPT_KEYS: Final = ("prompt", "text", "query", "content")
"""The keys under which an LLM Neuron takes its prompt. They are part of the contract of LLM sources."""

INPUT_KEYS: Final = ("messages", *PROMPT_KEYS)
"""The keys of an LLM Neuron's input that the composed prompt replaces."""


def feed_task(ctx: Context, input: Mapping[str, Any], context: Sequence[Any]) -> None:
    """Fill a Context from a TASK.

    - A prompt, or the text of the last message if it is the user's, becomes ``task_input``.
    - The messages before it become ``history``.
    - Every other key of the input becomes a key of the state, such as ``facts``, ``todos`` or ``weather``.
    - The items of the Axon's context fetcher are added: strings to ``facts``, mappings with ``content`` to
      ``knowledge_items``.
    """
    for key, value in input.items():
        if key not in INPUT_KEYS and value is not None:
            ctx.state.set(key, value)
    prompt = next((input[key] for key in PROMPT_KEYS if input.get(key) is not None), None)
    if prompt is None and isinstance(messages := input.get("messages"), list):
        prompt = _feed_messages(ctx, messages)
    if prompt is not None:
        ctx.state.set("task_input", prompt)
    _extend(ctx, "facts", [item for item in context if isinstance(item, str)])
    _extend(ctx, "knowledge_items", [item for item in context if _is_knowledge(item)])


def _feed_messages(ctx: Context, messages: list[Any]) -> Any:
    last = messages[-1] if messages else None
    if not isinstance(last, Mapping) or last.get("role") != "user":
        ctx.state.set("history", messages)
        return None
    ctx.state.set("history", messages[:-1])
    return last.get("content")


def _is_knowledge(item: object) -> bool:
    return isinstance(item, Mapping) and "content" in item


def _extend(ctx: Context, key: str, items: Sequence[Any]) -> None:
    """Append items to the list under a key, in a new list that only this Context has.

    A value that is not a list is not changed; the Neuron that reads it reports the error.
    """
    old = ctx.state.get(key) or ()
    if items and isinstance(old, Iterable) and not isinstance(old, (str, bytes, bytearray, Mapping)):
        ctx.state.set(key, [*old, *items])


Query = Mapping[str, Any]

MakeQuery = Callable[[Context], Query | Awaitable[Query | None] | None]
"""Returns the query for an Engram; None for no query."""

MakeItem = Callable[[Hit], Any]
"""Returns the item for a hit, which is added to a key of the state."""

MAX_WORDS: Final = 64
"""Most words of a question that a query contains."""

_KNOWLEDGE: Final = "knowledge_items"
_HIDDEN_KEYS: Final = frozenset({"id", "tags"})

logger = logging.getLogger("cosmo_context")


def asked_words(ctx: Context) -> Query | None:
    """Return a query for the five best entries with any word of ``task_input``; None if it has no words."""
    asked = ctx.state.get("task_input")
    # The data of an image is not a word.
    texts = [part.get("text") for part in asked] if is_parts(asked) else asked
    words = text_of({"question": texts}).split()
    if not words:
        return None
    return {"text": " ".join(list(dict.fromkeys(words))[:MAX_WORDS]), "match": "any", "limit": 5}


@attrs.frozen
class Recalled:
    """An Engram whose entries the prompts of a Neuron contain.

    By default, ``knowledge_items`` gets mappings with ``source`` and ``content``, and any other key gets
    strings. The text of an entry is its ``content`` or its ``text``, or the whole entry as JSON if it has
    neither. The source is the ``source`` of the entry, or the id of the Engram.

    Args:
        name: The name of one of the Axon's bindings.
        key: The key of the state to which the hits are appended, the best first.
        query: Makes the query from the Context of a TASK after it was filled; may be a coroutine function.
        item: Makes an item from a hit, in the form that the readers of the key expect.
    """

    name: str
    key: str = attrs.field(default=_KNOWLEDGE, kw_only=True)
    query: MakeQuery = attrs.field(default=asked_words, kw_only=True)
    item: MakeItem = attrs.field(
        # Not `@item.default`: type checkers other than mypy would take the argument for required.
        default=attrs.Factory(lambda self: _knowledge if self.key == _KNOWLEDGE else _text, takes_self=True),
        kw_only=True,
    )


async def feed_recalled(ctx: Context, recalls: Sequence[Recalled], recall: RecallFn) -> None:
    """Do all ``recalls`` concurrently, and append the hits to the state.

    Raises:
        EngramError: One recall failed; the state was not changed.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_hits(each, ctx, recall)) for each in recalls]
    except BaseExceptionGroup as failed:
        # The first error without its group: the TASK ends with its code.
        raise failed.exceptions[0] from None
    for each, task in zip(recalls, tasks, strict=True):
        _extend(ctx, each.key, [each.item(hit) for hit in task.result()])


async def _hits(recalled: Recalled, ctx: Context, recall: RecallFn) -> Sequence[Hit]:
    query = recalled.query(ctx)
    if inspect.isawaitable(query):
        query = await query
    if query is None:
        return ()
    result = await recall(recalled.name, query)
    if result.partial:
        missing = ", ".join(result.failed)
        logger.warning("the prompt of %s has no entries from Engram %s, which failed", ctx.task_id, missing)
    return result.hits


def _knowledge(hit: Hit) -> dict[str, str]:
    source = hit.entry.get("source")
    return {"source": source if isinstance(source, str) else hit.engram_id, "content": _text(hit)}


def _text(hit: Hit) -> str:
    for key in ("content", "text"):
        if isinstance(text := hit.entry.get(key), str):
            return text
    return as_text({key: value for key, value in hit.entry.items() if key not in _HIDDEN_KEYS})
