"""Context Neurons and prompts for all tests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cosmo_context import Context, ContextConfig, Neuron, PromptBuilder

BuildOne = Callable[..., Coroutine[Any, Any, str]]


class Fixed(Neuron):
    """Returns or raises a given object, and records its options."""

    def __init__(self, fragment: object, name: str, *, priority: float) -> None:
        super().__init__(name, priority=priority)
        self.fragment = fragment
        self.options: list[dict[str, Any]] = []

    async def format(self, ctx: Context, **kwargs: Any) -> Any:
        self.options.append(kwargs)
        if isinstance(self.fragment, Exception):
            raise self.fragment
        return self.fragment


@pytest.fixture
def fixed() -> Callable[..., Fixed]:
    """Make a Neuron that returns this fragment, or raises it."""

    def fixed(fragment: object, name: str = "saying", *, priority: float = 50) -> Fixed:
        return Fixed(fragment, name, priority=priority)

    return fixed


@pytest.fixture
def build_one() -> BuildOne:
    """Build the prompt of one built-in Neuron for a state."""

    async def build_one(
        name: str,
        state: Mapping[str, Any] | None = None,
        *,
        task_id: str = "task-123",
        config: ContextConfig | None = None,
        **options: Any,
    ) -> str:
        ctx = Context(task_id, state=state, config=config)
        return await PromptBuilder(ctx).add(name, **options).build()

    return build_one


@pytest.fixture
def half_past_two(monkeypatch: pytest.MonkeyPatch) -> Callable[[], datetime]:
    """A clock that always returns 2025-01-15 14:30:00 UTC, on Linux 6.1.0."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.release", lambda: "6.1.0")
    return lambda: datetime(2025, 1, 15, 14, 30, tzinfo=UTC)
