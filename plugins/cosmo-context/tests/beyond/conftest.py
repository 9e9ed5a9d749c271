"""Scripted Neurons, and Contexts with a value for each built-in Neuron."""

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


class Scripted(Neuron):
    """Returns a text or the result of a function; shortens its fragment with another function."""

    def __init__(
        self,
        name: str,
        text: str | Format,
        *,
        priority: float = 50,
        importance: float = 50,
        stability: Stability = Stability.TURN,
        shorten: Shorten | None = None,
    ) -> None:
        super().__init__(name, priority=priority)
        self.importance = importance
        self.stability = stability
        self._text = text
        self._shorten = shorten
        self.asked_to_shorten = 0

    async def format(self, ctx: Context, **kwargs: Any) -> Any:
        return self._text if isinstance(self._text, str) else await self._text(ctx)

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> Any:
        self.asked_to_shorten += 1
        return "" if self._shorten is None else await self._shorten(fits)


@pytest.fixture(scope="session")
def scripted() -> Callable[..., Scripted]:
    """Make a `Scripted` Neuron."""
    return Scripted


@pytest.fixture(scope="session")
def nine() -> Callable[..., PromptBuilder]:
    """Make a builder with the nine built-in Neurons, added in a mixed order."""

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
    """Make a Context with values for the nine built-in Neurons; user data is ``text``."""

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
async def no_task_left() -> Any:
    """Check after the test that no asyncio task is left."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, left
