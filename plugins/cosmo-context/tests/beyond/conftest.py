from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cosmo_context import Context, Neuron, PromptBuilder, Stability
from cosmo_context.neuron import Fits

Format = Callable[[Context], Awaitable[Any]]
Shorten = Callable[[Fits], Awaitable[Any]]


class Told(Neuron):
    """Says one text, or whatever its function gives; shortens itself as it is told to."""

    def __init__(
        self,
        name: str,
        says: str | Format,
        *,
        priority: float = 50,
        importance: float = 50,
        stability: Stability = Stability.TURN,
        shorten: Shorten | None = None,
    ) -> None:
        super().__init__(name, priority=priority)
        self.importance = importance
        self.stability = stability
        self._says = says
        self._shorten = shorten
        self.asked_to_shorten = 0

    async def format(self, ctx: Context, **kwargs: Any) -> Any:
        return self._says if isinstance(self._says, str) else await self._says(ctx)

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> Any:
        self.asked_to_shorten += 1
        return "" if self._shorten is None else await self._shorten(fits)


@pytest.fixture(scope="session")
def told() -> Callable[..., Told]:
    """Make a Neuron that says this."""
    return Told


@pytest.fixture(scope="session")
def nine() -> Callable[..., PromptBuilder]:
    """Make a builder of the nine, added in no order."""

    def nine(ctx: Context, **settings: Any) -> PromptBuilder:
        builder = PromptBuilder(ctx, **settings)
        for name in (
            "system",
            "entity",
            "task",
            "history",
            "skill",
            "todo",
            "fact",
            "workspace",
            "knowledge",
        ):
            builder.add(name)
        return builder

    return nine


@pytest.fixture(scope="session")
def known() -> Callable[..., Context]:
    """Make a Context with something to say for each of the nine, a text put where users write."""

    def known(text: str = "some text", **more: Any) -> Context:
        state = {
            "task_input": text,
            "task_output": text,
            "subtasks": [text, "then that"],
            "todos": [{"item": text, "done": True}, {"item": "rest"}],
            "history": [{"role": "user", "content": text}, {"role": "assistant", "content": "Well."}],
            "knowledge_items": [{"source": text, "content": text}],
            "workspace_artifacts": [{"name": text, "type": text, "size": text}],
            "skills": [{"name": text, "description": text, "active": False}],
            "facts": [text, text],
            "entities": [{"name": text, "type": text}],
        }
        return Context(
            "t-1", state={**state, **more}, clock=lambda: datetime(2025, 1, 15, 14, 30, tzinfo=UTC)
        )

    return known


@pytest.fixture
async def nobody_left() -> Any:
    """After the test, no task is left but the test's own."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, left
