"""A conversation of many turns, rendered by the nine context Neurons in prompts of about 27 kB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Final, Literal

from cosmo_context import Context, PromptBuilder, Rendered

Layout = Literal["priority", "cache"]

NINE: Final = ("task", "todo", "history", "knowledge", "workspace", "skill", "fact", "entity", "system")

_STARTED: Final = datetime(2025, 1, 15, 14, 30, tzinfo=UTC)
_WORDS: Final = [
    "the",
    "sorting",
    "function",
    "keeps",
    "every",
    "record",
    "that",
    "was",
    "read",
    "from",
    "an",
    "index",
    "before",
    "it",
    "asks",
    "whether",
    "another",
    "worker",
    "has",
    "written",
    "a",
    "newer",
    "one",
    "since",
    "then",
    "and",
    "reports",
    "what",
    "it",
    "found",
    "to",
    "whoever",
    "started",
    "the",
    "task",
    "in",
    "the",
    "first",
    "place",
]


def conversation(turns: int = 60) -> Iterator[Context]:
    """Yield the Context of a conversation before each answer of the model; it is one object.

    Skills and knowledge do not change, two artifacts are added, the history grows by a question and an
    answer per turn, and a few todos, facts and entities change every turn. The conversation is deterministic.
    """
    random = Random(60)  # noqa: S311 - a text to measure with, not a secret
    now = _STARTED
    ctx = Context("migrate-the-index", clock=lambda: now)
    ctx.state.update(_background(random))
    history = ctx.state["history"]
    for turn in range(turns):
        now += timedelta(seconds=random.randint(20, 90))
        question = _prose(random, random.randint(150, 400))
        history.append({"role": "user", "content": question})
        ctx.state.update(_news(random, turn, question))
        if turn in {20, 40}:
            ctx.state["workspace_artifacts"].append(_artifact(random, f"report_{turn}"))
        yield ctx
        history.append({"role": "assistant", "content": _prose(random, random.randint(150, 400))})


async def prompts(layout: Layout, turns: int = 60) -> list[Rendered]:
    """Return the prompts of a conversation, one per turn."""
    rendered = []
    for ctx in conversation(turns):
        builder = PromptBuilder(ctx, layout=layout)
        for name in NINE:
            builder.add(name)
        rendered.append(await builder.render())
    return rendered


async def shared_share(layout: Layout, turns: int = 60) -> float:
    """Return the share of bytes that the prompts of a conversation share with the previous prompt."""
    texts = [rendered.text.encode() for rendered in await prompts(layout, turns)]
    shared = sum(_in_common(before, text) for before, text in pairwise(texts))
    return shared / sum(map(len, texts[1:]))


def _in_common(one: bytes, other: bytes) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _background(random: Random) -> dict[str, Any]:
    return {
        "task_input": _prose(random, 500),
        "subtasks": [_prose(random, 50) for _ in range(4)],
        "history": [],
        "skills": [
            {"name": f"skill_{number}", "description": _prose(random, 270), "active": number % 7 != 0}
            for number in range(20)
        ],
        "knowledge_items": [
            {"source": f"handbook/{number}.md", "content": _prose(random, 700)} for number in range(15)
        ],
        "workspace_artifacts": [_artifact(random, f"index_{number}") for number in range(40)],
    }


def _news(random: Random, turn: int, question: str) -> dict[str, Any]:
    return {
        "todos": [{"item": f"step {number}", "done": number < turn % 8} for number in range(8)],
        "facts": [f"turn {turn} asks for {question[:40]}", *(_prose(random, 60) for _ in range(4))],
        "entities": [{"name": f"worker-{random.randint(0, 99)}", "type": "process"} for _ in range(4)],
    }


def _artifact(random: Random, name: str) -> dict[str, Any]:
    return {"name": f"{name}.json", "type": "file", "size": random.randint(100, 99_999)}


def _prose(random: Random, characters: int) -> str:
    words: list[str] = []
    while len(text := " ".join(words)) < characters:
        words.append(random.choice(_WORDS))
    return text
