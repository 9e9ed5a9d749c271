"""The seed's bytes: one golden file per Neuron, and one of a prompt made of all nine.

The files have no newline at their end, and trailing spaces where the seed has them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from cosmo_context import Context, PromptBuilder

GOLDEN = Path(__file__).parent / "golden"
NINE = ["task", "todo", "history", "knowledge", "workspace", "skill", "fact", "entity", "system"]

STATE = {
    "task_input": "Write a sorting function",
    "task_output": "def sort(items):\n    return sorted(items)",
    "subtasks": ["Research algorithms", "", None, "Implement quicksort"],
    "todos": [
        {"item": "Research algorithms", "done": True},
        {"item": "Implement solution"},
        {"item": "Say no to bubble sort", "done": "no"},
        {"item": None, "done": None},
        {},
    ],
    "history": [
        {"role": "user", "content": "What is Python?"},
        {"role": "assistant", "content": "Python is a programming language.\nIt has indentation."},
        {"role": "tool", "content": None},
        {"content": "Grüße, 世界 🐍"},
        {"role": "user"},
    ],
    "knowledge_items": [
        {"source": "docs/sort.md", "content": "Quicksort is O(n log n) on average."},
        {"content": "No source"},
        {"source": None, "content": None},
        {"source": "empty.md"},
    ],
    "workspace_artifacts": [
        {"name": "sort.py", "type": "code", "size": 2048},
        {"name": "empty.txt", "size": 0},
        {"name": "notes.md", "type": "markdown", "size": None},
        {"type": None},
        {"name": "big.bin", "type": "binary", "size": "2kb"},
    ],
    "skills": [
        {"name": "search", "description": "Searches the web"},
        {"name": "shell", "description": "Runs commands", "active": False},
        {},
        {"name": "maybe", "description": None, "active": None},
        {"name": "never", "description": "Not at all", "active": 0},
    ],
    "facts": ["The user likes Python", "", None, 42],
    "entities": [
        {"name": "Python", "type": "language"},
        {"type": "city"},
        {"name": "Guido"},
        {"name": None, "type": None},
    ],
}


@pytest.fixture
def ctx(half_past_two: Callable[[], datetime]) -> Context:
    return Context("task-123", state=STATE, clock=half_past_two)


@pytest.mark.parametrize("name", NINE)
async def test_neuron_matches_its_golden_file(ctx: Context, name: str) -> None:
    prompt = await PromptBuilder(ctx).add(name).build()
    assert prompt.encode() == (GOLDEN / f"{name}.txt").read_bytes()


@pytest.mark.parametrize("order", [NINE, NINE[::-1], sorted(NINE)], ids=["seed", "reversed", "by name"])
async def test_nine_neurons_match_the_golden_prompt_in_any_order(ctx: Context, order: list[str]) -> None:
    builder = PromptBuilder(ctx)
    for name in order:
        builder.add(name)
    assert (await builder.build()).encode() == (GOLDEN / "nine.txt").read_bytes()


async def test_empty_state_gives_only_task_and_system(half_past_two: Callable[[], datetime]) -> None:
    builder = PromptBuilder(Context("task-123", clock=half_past_two))
    for name in NINE:
        builder.add(name)
    task = "<task_info>\nTask ID: task-123\n</task_info>"
    assert await builder.build() == f"{task}\n\n{(GOLDEN / 'system.txt').read_text(encoding='utf-8')}"
