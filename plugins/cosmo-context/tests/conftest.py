from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cosmo_context import Context, ContextConfig, Neuron, PromptBuilder

Tell = Callable[..., Coroutine[Any, Any, str]]


class Saying(Neuron):
    """Gives whatever it was made with, and keeps the options it was asked with."""

    def __init__(self, fragment: object, name: str, *, priority: float) -> None:
        super().__init__(name, priority=priority)
        self.fragment = fragment
        self.asked_with: list[dict[str, Any]] = []

    async def format(self, ctx: Context, **kwargs: Any) -> Any:
        self.asked_with.append(kwargs)
        if isinstance(self.fragment, Exception):
            raise self.fragment
        return self.fragment


@pytest.fixture
def say() -> Callable[..., Saying]:
    """Make a Neuron that gives this fragment, or raises it."""

    def say(fragment: object, name: str = "saying", *, priority: float = 50) -> Saying:
        return Saying(fragment, name, priority=priority)

    return say


@pytest.fixture
def tell() -> Tell:
    """Build the prompt of one built-in Neuron alone, over a state."""

    async def tell(
        name: str,
        state: Mapping[str, Any] | None = None,
        *,
        task_id: str = "task-123",
        config: ContextConfig | None = None,
        **options: Any,
    ) -> str:
        ctx = Context(task_id, state=state, config=config)
        return await PromptBuilder(ctx).add(name, **options).build()

    return tell


@pytest.fixture
def half_past_two(monkeypatch: pytest.MonkeyPatch) -> Callable[[], datetime]:
    """A clock that stands at 2025-01-15 14:30:00 UTC, on a Linux 6.1.0."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.release", lambda: "6.1.0")
    return lambda: datetime(2025, 1, 15, 14, 30, tzinfo=UTC)
