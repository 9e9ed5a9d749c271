"""The tables and signatures that the description of `orbiter.context.neuron` promises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Final, NamedTuple

import pytest

from orbiter.context.context import Context
from orbiter.context.neuron import (
    EntityNeuron,
    FactNeuron,
    HistoryNeuron,
    KnowledgeNeuron,
    Neuron,
    SkillNeuron,
    SystemNeuron,
    TaskNeuron,
    TodoNeuron,
    WorkspaceNeuron,
    neuron_registry,
)
from orbiter.context.state import ContextState


class BuiltIn(NamedTuple):
    """A row of the promised table, and the state keys that the Neuron reads."""

    name: str
    kind: Callable[[], Neuron]
    priority: int
    keys: set[str]


BUILT_IN: Final = (
    BuiltIn("system", SystemNeuron, 100, set()),
    BuiltIn("task", TaskNeuron, 1, {"task_input", "task_output", "subtasks"}),
    BuiltIn("history", HistoryNeuron, 10, {"history"}),
    BuiltIn("todo", TodoNeuron, 2, {"todos"}),
    BuiltIn("knowledge", KnowledgeNeuron, 20, {"knowledge_items"}),
    BuiltIn("workspace", WorkspaceNeuron, 30, {"workspace_artifacts"}),
    BuiltIn("skill", SkillNeuron, 40, {"skills"}),
    BuiltIn("fact", FactNeuron, 50, {"facts"}),
    BuiltIn("entity", EntityNeuron, 60, {"entities"}),
)

each_built_in = pytest.mark.parametrize("built_in", BUILT_IN, ids=lambda built_in: built_in.name)


class RecordingState(ContextState):
    """A state that records which keys are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def parameters(function: Callable[..., Any]) -> list[tuple[str, object, object]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@each_built_in
def test_registered_neuron_has_its_class_name_and_priority(built_in: BuiltIn) -> None:
    neuron = neuron_registry.get(built_in.name)
    assert type(neuron) is built_in.kind
    assert (neuron.name, neuron.priority) == (built_in.name, built_in.priority)


@each_built_in
def test_builtin_neuron_takes_a_name_and_a_priority_by_keyword(built_in: BuiltIn) -> None:
    assert parameters(built_in.kind) == [
        ("name", Parameter.POSITIONAL_OR_KEYWORD, built_in.name),
        ("priority", Parameter.KEYWORD_ONLY, built_in.priority),
    ]


@each_built_in
async def test_builtin_neuron_reads_exactly_the_promised_keys(built_in: BuiltIn) -> None:
    state = RecordingState()
    await built_in.kind().format(Context("task-123", state=state))
    assert state.read == built_in.keys


@each_built_in
async def test_builtin_neuron_without_data_returns_an_empty_string(built_in: BuiltIn) -> None:
    fragment = await built_in.kind().format(Context("task-123"))
    # The task id and the time are never empty.
    assert (fragment == "") is (built_in.name not in {"task", "system"})


def test_neuron_needs_a_name_and_has_default_priority_50() -> None:
    assert parameters(Neuron) == [
        ("name", Parameter.POSITIONAL_OR_KEYWORD, Parameter.empty),
        ("priority", Parameter.KEYWORD_ONLY, 50),
    ]


@pytest.mark.parametrize("attribute", ["name", "priority"])
def test_name_and_priority_are_read_only(attribute: str) -> None:
    with pytest.raises(AttributeError):
        setattr(TaskNeuron(), attribute, "other")


def test_format_is_an_abstract_coroutine_function_of_a_context_and_keywords() -> None:
    assert Neuron.__abstractmethods__ == {"format"}
    assert inspect.iscoroutinefunction(Neuron.format)
    assert [(name, kind) for name, kind, _ in parameters(Neuron.format)] == [
        ("self", Parameter.POSITIONAL_OR_KEYWORD),
        ("ctx", Parameter.POSITIONAL_OR_KEYWORD),
        ("kwargs", Parameter.VAR_KEYWORD),
    ]
