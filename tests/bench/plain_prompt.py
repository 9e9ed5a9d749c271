"""The state of the nine Neurons in the bench, and the same prompt written with f-strings alone."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

TASK_ID: Final = "task-123"
NOW: Final = datetime(2025, 1, 15, 14, 30, tzinfo=UTC)
SHOWN: Final = 40
"""The number of messages that a prompt shows by default."""

STATE: Final[Mapping[str, Any]] = {
    "task_input": "Write a sorting function",
    "task_output": "def sort(items):",
    "subtasks": ["Research algorithms", "Implement quicksort", "Test it"],
    "todos": [{"item": f"Try algorithm {number}", "done": number % 2 == 0} for number in range(50)],
    "history": [
        {"role": "assistant" if number % 2 else "user", "content": f"Message {number} of the conversation"}
        for number in range(60)
    ],
    "knowledge_items": [
        {"source": f"book-{number}", "content": "Merge sort is stable."} for number in range(3)
    ],
    "workspace_artifacts": [
        {"name": f"sort-{number}.py", "type": "code", "size": 812} for number in range(3)
    ],
    "skills": [
        {"name": f"skill-{number}", "description": "Runs the tests", "active": True} for number in range(3)
    ],
    "facts": [f"Fact {number} about sorting" for number in range(50)],
    "entities": [{"name": f"Person {number}", "type": "author"} for number in range(3)],
}


def plain_prompt() -> str:
    """Return the prompt that the nine Neurons make from `STATE`."""
    return "\n\n".join((_task(), *_lists(), _system()))


def _task() -> str:
    steps = "\n".join(
        [f"  <step{number}>{step}</step{number}>" for number, step in enumerate(STATE["subtasks"], 1)]
    )
    return (
        f"<task_info>\nTask ID: {TASK_ID}\nInput: {STATE['task_input']}\nOutput: {STATE['task_output']}\n"
        f"Plan:\n{steps}\n</task_info>"
    )


def _lists() -> Iterator[str]:
    yield _list(
        "todo_list", [f"  [{'x' if todo['done'] else ' '}] {todo['item']}" for todo in STATE["todos"]]
    )
    yield _list(
        "conversation_history", [f"[{turn['role']}]: {turn['content']}" for turn in STATE["history"][-SHOWN:]]
    )
    yield _list(
        "knowledge", [f"  [{item['source']}]: {item['content']}" for item in STATE["knowledge_items"]]
    )
    yield _list(
        "workspace",
        [
            f"  {item['name']} [{item['type']}] ({item['size']} bytes)"
            for item in STATE["workspace_artifacts"]
        ],
    )
    yield _list(
        "available_skills", [f"  - {skill['name']}: {skill['description']}" for skill in STATE["skills"]]
    )
    yield _list("facts", [f"  - {fact}" for fact in STATE["facts"]])
    yield _list("entities", [f"  {entity['name']} ({entity['type']})" for entity in STATE["entities"]])


def _list(tag: str, lines: list[str]) -> str:
    return "\n".join((f"<{tag}>", *lines, f"</{tag}>"))


def _system() -> str:
    return (
        f"<system_info>\nCurrent date: {NOW:%Y-%m-%d}\nCurrent time: {NOW:%H:%M:%S} UTC\n"
        f"Platform: {platform.system()} {platform.release()}\n</system_info>"
    )
