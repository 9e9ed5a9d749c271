"""What Engrams know of a TASK, put where context Neurons look for it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from cosmo_context.bridge.feeding import extend
from cosmo_context.bridge.memory import as_text
from cosmo_context.context import Context
from cosmo_core import Hit, RecallFn
from cosmo_core.contracts.engram import text_of

Query = Mapping[str, Any]

MakeQuery = Callable[[Context], Query | Awaitable[Query | None] | None]
"""Returns what a prompt asks an Engram for; None to ask nothing."""

MakeItem = Callable[[Hit], Any]
"""Returns the item that a key of the state gets for a hit."""

MAX_WORDS: Final = 64
"""How many words of a question an Engram is asked for."""

_KNOWLEDGE: Final = "knowledge_items"
_NOT_TOLD: Final = frozenset({"id", "tags"})

logger = logging.getLogger("cosmo_context")


def asked_words(ctx: Context) -> Query | None:
    """Return the query for the five entries that fit best any word of ``task_input``; None if it has none."""
    words = text_of({"asked": ctx.state.get("task_input")}).split()
    if not words:
        return None
    return {"text": " ".join(list(dict.fromkeys(words))[:MAX_WORDS]), "match": "any", "limit": 5}


@attrs.frozen
class Recalled:
    """What the prompts of a Neuron tell of an Engram.

    By default, ``knowledge_items`` get ``source`` and ``content``, and any other key gets texts. The text of
    an entry is its ``content`` or its ``text``; one that has neither is told as JSON. Its ``source``, if it
    names none, is the Engram.

    Args:
        name: Of the Axon's binding.
        key: The key of the state that the hits go to, behind what is there, the best first.
        query: Makes the query from a TASK's Context, once that is fed; awaited if it has to be.
        item: Makes an item of a hit, in the shape that the readers of the key expect.
    """

    name: str
    key: str = attrs.field(default=_KNOWLEDGE, kw_only=True)
    query: MakeQuery = attrs.field(default=asked_words, kw_only=True)
    item: MakeItem = attrs.field(kw_only=True)

    @item.default
    def _usual_item(self) -> MakeItem:
        return _knowledge if self.key == _KNOWLEDGE else _text


async def feed_recalled(ctx: Context, recalls: Sequence[Recalled], recall: RecallFn) -> None:
    """Ask for all ``recalls`` at the same time, and put what comes behind what the state has.

    Raises:
        EngramError: One of them was not answered; the state is as it was.
    """
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_hits(each, ctx, recall)) for each in recalls]
    except BaseExceptionGroup as failed:
        # As if nothing else had been asked: its code is what the TASK ends with.
        raise failed.exceptions[0] from None
    for each, answer in zip(recalls, asked, strict=True):
        extend(ctx, each.key, [each.item(hit) for hit in answer.result()])


async def _hits(recalled: Recalled, ctx: Context, recall: RecallFn) -> Sequence[Hit]:
    query = recalled.query(ctx)
    if inspect.isawaitable(query):
        query = await query
    if query is None:
        return ()
    result = await recall(recalled.name, query)
    if result.partial:
        missing = ", ".join(result.failed)
        logger.warning("the prompt of %s tells nothing from Engram %s", ctx.task_id, missing)
    return result.hits


def _knowledge(hit: Hit) -> dict[str, str]:
    source = hit.entry.get("source")
    return {"source": source if isinstance(source, str) else hit.engram_id, "content": _text(hit)}


def _text(hit: Hit) -> str:
    for key in ("content", "text"):
        if isinstance(text := hit.entry.get(key), str):
            return text
    return as_text({key: value for key, value in hit.entry.items() if key not in _NOT_TOLD})
