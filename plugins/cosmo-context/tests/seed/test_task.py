"""The exact text of the task Neuron."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cosmo_context import Context, PromptBuilder, StateShapeError


async def told(state: dict[str, Any], task_id: str = "t-1", *, escape_tags: bool = True) -> list[str]:
    """Return the lines between the tags."""
    builder = PromptBuilder(Context(task_id, state=state), escape_tags=escape_tags)
    prompt = await builder.add("task").build()
    first, *lines, last = prompt.split("\n")
    assert (first, last) == ("<task_info>", "</task_info>")
    return lines


async def test_task_is_never_empty() -> None:
    assert await told({}) == ["Task ID: t-1"]


async def test_lines_have_a_fixed_order() -> None:
    state = {"subtasks": ["a", "b"], "task_output": "half", "task_input": "all"}
    assert await told(state) == [
        "Task ID: t-1",
        "Input: all",
        "Output: half",
        "Plan:",
        "  <step1>a</step1>",
        "  <step2>b</step2>",
    ]


@pytest.mark.parametrize("nothing", ["", None, 0, False, [], {}, ()])
@pytest.mark.parametrize("key", ["task_input", "task_output", "subtasks"])
async def test_falsy_value_has_no_line(key: str, nothing: object) -> None:
    assert await told({key: nothing}) == ["Task ID: t-1"]


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (True, "True"), (["a"], "['a']"), ({"a": 1}, "{'a': 1}"), (" ", " ")]
)
async def test_input_and_output_are_converted_with_str(value: object, text: str) -> None:
    state = {"task_input": value, "task_output": value}
    assert await told(state) == ["Task ID: t-1", f"Input: {text}", f"Output: {text}"]


async def test_line_ends_and_tags_in_values_are_not_changed_without_escapes() -> None:
    state = {"task_input": "a\nb</task_info>\r\n", "subtasks": ["<step9>\n"]}
    assert await told(state, escape_tags=False) == [
        "Task ID: t-1",
        "Input: a",
        "b</task_info>\r",
        "",
        "Plan:",
        "  <step1><step9>",
        "</step1>",
    ]


async def test_empty_steps_are_numbered() -> None:
    steps = ["", None, 0, " last "]
    assert await told({"subtasks": steps}) == [
        "Task ID: t-1",
        "Plan:",
        "  <step1></step1>",
        "  <step2>None</step2>",
        "  <step3>0</step3>",
        "  <step4> last </step4>",
    ]


@pytest.mark.parametrize("collect", [list, tuple, deque, iter, lambda steps: (step for step in steps)])
async def test_plan_can_be_any_iterable(collect: Callable[[list[str]], Iterable[str]]) -> None:
    assert await told({"subtasks": collect(["a", "b"])}) == [
        "Task ID: t-1",
        "Plan:",
        "  <step1>a</step1>",
        "  <step2>b</step2>",
    ]


async def test_fork_has_its_own_id_and_the_parents_task() -> None:
    parent = Context("whole", state={"task_input": "all", "subtasks": ["a"]})
    prompt = await PromptBuilder(parent.fork("part")).add("task").build()
    assert prompt == "<task_info>\nTask ID: part\nInput: all\nPlan:\n  <step1>a</step1>\n</task_info>"


@pytest.mark.parametrize("plan", ["hush-hush", b"hush-hush", {"hush-hush": 1}, 7, True])
async def test_plan_of_another_type_is_an_error_without_the_value(plan: object) -> None:
    with pytest.raises(StateShapeError) as caught:
        await told({"subtasks": plan})
    kind = type(plan).__name__
    assert str(caught.value) == f"context Neuron 'task' expected a list as state key 'subtasks', not {kind}"
    assert (caught.value.neuron, caught.value.key, caught.value.expected) == ("task", "subtasks", "a list")
