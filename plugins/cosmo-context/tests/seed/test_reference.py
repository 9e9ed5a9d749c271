"""The nine built-in Neurons compared with a model of the seed's table, for arbitrary states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_context import Context, ContextConfig, PromptBuilder, StateShapeError

# --- the model ----------------------------------------------------------------------------------------

LISTS = {
    "todo": ("todos", "todo_list"),
    "history": ("history", "conversation_history"),
    "knowledge": ("knowledge_items", "knowledge"),
    "workspace": ("workspace_artifacts", "workspace"),
    "skill": ("skills", "available_skills"),
    "fact": ("facts", "facts"),
    "entity": ("entities", "entities"),
}
ORDER = ["task", *LISTS]


class WrongShapeError(Exception):
    """The model's error for a value that is not a list, or not a mapping."""


def text(item: dict[str, Any], key: str, default: str) -> str:
    return str(item[key]) if key in item else default


def todo(item: dict[str, Any]) -> str:
    done = bool(item["done"]) if "done" in item else False
    return ("  [x] " if done else "  [ ] ") + text(item, "item", "")


def workspace(item: dict[str, Any]) -> str:
    line = "  " + text(item, "name", "unnamed") + " [" + text(item, "type", "file") + "]"
    if "size" in item and item["size"] is not None:
        line += " (" + str(item["size"]) + " bytes)"
    return line


def skill(item: dict[str, Any]) -> str:
    active = bool(item["active"]) if "active" in item else True
    line = "  - " + text(item, "name", "unnamed") + ": " + text(item, "description", "")
    return line if active else line + " [inactive]"


MAPPING_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "todo": todo,
    "history": lambda item: "[" + text(item, "role", "unknown") + "]: " + text(item, "content", ""),
    "knowledge": lambda item: "  [" + text(item, "source", "unknown") + "]: " + text(item, "content", ""),
    "workspace": workspace,
    "skill": skill,
    "entity": lambda item: "  " + text(item, "name", "unknown") + " (" + text(item, "type", "unknown") + ")",
}


def refuse(name: str, expected: str, where: str, value: object) -> WrongShapeError:
    return WrongShapeError(
        f"context Neuron {name!r} expected {expected} as {where}, not {type(value).__name__}"
    )


def items_of(name: str, key: str, state: Mapping[str, Any]) -> list[Any]:
    value = state.get(key)
    if not value:
        return []
    if type(value) not in (list, tuple):
        raise refuse(name, "a list", f"state key {key!r}", value)
    return list(value)


def model_of_task(task_id: str, state: Mapping[str, Any]) -> str:
    lines = ["<task_info>", "Task ID: " + task_id]
    if state.get("task_input"):
        lines.append("Input: " + str(state["task_input"]))
    if state.get("task_output"):
        lines.append("Output: " + str(state["task_output"]))
    steps = items_of("task", "subtasks", state)
    if steps:
        lines.append("Plan:")
    for index in range(len(steps)):
        number = str(index + 1)
        lines.append("  <step" + number + ">" + str(steps[index]) + "</step" + number + ">")
    lines.append("</task_info>")
    return "\n".join(lines)


def model_of_list(name: str, state: Mapping[str, Any], rounds: int) -> str:
    key, tag = LISTS[name]
    items = items_of(name, key, state)
    skipped = max(0, len(items) - 2 * rounds) if name == "history" else 0
    lines = []
    for index in range(skipped, len(items)):
        item = items[index]
        if name == "fact":
            lines.append("  - " + str(item))
        elif isinstance(item, dict):
            lines.append(MAPPING_LINES[name](item))
        else:
            raise refuse(name, "a mapping", f"item {index} of state key {key!r}", item)
    return "\n".join(["<" + tag + ">", *lines, "</" + tag + ">"]) if lines else ""


def model(names: Sequence[str], task_id: str, state: Mapping[str, Any], rounds: int) -> str:
    fragments = [
        model_of_task(task_id, state) if name == "task" else model_of_list(name, state, rounds)
        for name in ORDER
        if name in names
    ]
    return "\n\n".join(fragment for fragment in fragments if fragment)


# --- arbitrary states ---------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = {
    "todo": ["item", "done"],
    "history": ["role", "content"],
    "knowledge": ["source", "content"],
    "workspace": ["name", "type", "size"],
    "skill": ["name", "description", "active"],
    "entity": ["name", "type"],
}


def lists_of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=6) | st.lists(items, max_size=3).map(tuple)


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Mostly valid lists; sometimes an item or the whole value has another type."""
    if name not in FIELDS:
        return lists_of(JSON) | JSON
    good = st.fixed_dictionaries({}, optional=dict.fromkeys([*FIELDS[name], "other"], JSON))
    return lists_of(good) | lists_of(good) | lists_of(good | JSON) | JSON


def states(names: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    keys = {LISTS[name][0]: values_of(name) for name in names if name in LISTS}
    if "task" in names:
        keys |= {"task_input": JSON, "task_output": JSON, "subtasks": values_of("task")}
    return st.fixed_dictionaries({}, optional=keys)


async def compare(names: Sequence[str], task_id: str, state: dict[str, Any], rounds: int) -> None:
    ctx = Context(task_id, state=state, config=ContextConfig(history_rounds=rounds))
    builder = PromptBuilder(ctx, escape_tags=False)
    for name in names:
        builder.add(name)
    try:
        expected, error = model(names, task_id, state, rounds), ""
    except WrongShapeError as wrong:
        expected, error = "", str(wrong)
    if error:
        with pytest.raises(StateShapeError) as caught:
            await builder.build()
        assert str(caught.value) == error
    else:
        assert await builder.build() == expected


STATES = {name: states([name]) for name in ORDER}
TASK_IDS = st.text(min_size=1, max_size=10)


@pytest.mark.parametrize("name", ORDER)
@given(data=st.data(), task_id=TASK_IDS, rounds=st.integers(1, 4))
async def test_each_neuron_matches_the_model(
    name: str, data: st.DataObject, task_id: str, rounds: int
) -> None:
    await compare([name], task_id, data.draw(STATES[name]), rounds)


@settings(max_examples=200)
@given(names=st.permutations(ORDER), state=states(ORDER), task_id=TASK_IDS, rounds=st.integers(1, 4))
@example(names=ORDER, state={"facts": "x", "todos": [1]}, task_id="t", rounds=1)
async def test_all_neurons_together_match_the_model(
    names: list[str], state: dict[str, Any], task_id: str, rounds: int
) -> None:
    await compare(names, task_id, state, rounds)
