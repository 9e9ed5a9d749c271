"""The nine that come with the package are what every context Neuron must be."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from cosmo_context import (
    Context,
    ContextConfig,
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
)
from cosmo_context.testing import ContextNeuronConformance, Example

NO_LISTS: Sequence[Any] = ("some text", 7, {"name": "a mapping"})
NO_MAPPINGS: Sequence[Any] = (*NO_LISTS, ["some text"], [{}, None])


def knowing(**state: Any) -> Context:
    return Context("task-1", state=state)


class TestTask(ContextNeuronConformance):
    never_empty = True
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"task_input": (), "task_output": (), "subtasks": NO_LISTS}

    def neuron(self) -> Neuron:
        return TaskNeuron()

    def examples(self) -> list[Example]:
        whole = knowing(task_input="Sort", task_output="def", subtasks=["Read", "Write"])
        text = (
            "<task_info>\nTask ID: task-1\nInput: Sort\nOutput: def\n"
            "Plan:\n  <step1>Read</step1>\n  <step2>Write</step2>\n</task_info>"
        )
        return [
            Example(whole, text),
            Example(knowing(task_input=""), "<task_info>\nTask ID: task-1\n</task_info>"),
        ]

    def quoting(self, text: str) -> Context:
        return knowing(subtasks=[text])


class TestTaskInput(TestTask):
    def quoting(self, text: str) -> Context:
        return knowing(task_input=text)


class TestTodo(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"todos": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return TodoNeuron()

    def examples(self) -> list[Example]:
        todos = knowing(todos=[{"item": "Read", "done": True}, {"item": "Write"}, {}])
        return [Example(todos, "<todo_list>\n  [x] Read\n  [ ] Write\n  [ ] \n</todo_list>")]

    def quoting(self, text: str) -> Context:
        return knowing(todos=[{"item": text}])


class TestHistory(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"history": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return HistoryNeuron()

    def examples(self) -> list[Example]:
        history = [{"role": role, "content": f"{n}"} for n in range(30) for role in ("user", "assistant")]
        short = Context("task-1", config=ContextConfig(history_rounds=1), state={"history": history})
        text = "<conversation_history>\n[user]: 29\n[assistant]: 29\n</conversation_history>"
        unknown = "<conversation_history>\n[unknown]: None\n</conversation_history>"
        return [
            Example(short, text),
            Example(short, text, {"step": 20}),
            Example(knowing(history=[{"content": None}]), unknown),
            Example(knowing(history=history), self.last(20)),
        ]

    @staticmethod
    def last(rounds: int) -> str:
        turns = (f"[user]: {n}\n[assistant]: {n}\n" for n in range(30 - rounds, 30))
        return f"<conversation_history>\n{''.join(turns)}</conversation_history>"

    def quoting(self, text: str) -> Context:
        return knowing(history=[{"role": "user", "content": text}])


class TestKnowledge(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"knowledge_items": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return KnowledgeNeuron()

    def examples(self) -> list[Example]:
        items = knowing(knowledge_items=[{"source": "a.md", "content": "Timsort"}, {}])
        return [Example(items, "<knowledge>\n  [a.md]: Timsort\n  [unknown]: \n</knowledge>")]

    def quoting(self, text: str) -> Context:
        return knowing(knowledge_items=[{"content": text}])


class TestWorkspace(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"workspace_artifacts": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return WorkspaceNeuron()

    def examples(self) -> list[Example]:
        artifacts = knowing(workspace_artifacts=[{"name": "a.py", "type": "code", "size": 0}, {}])
        text = "<workspace>\n  a.py [code] (0 bytes)\n  unnamed [file]\n</workspace>"
        return [Example(artifacts, text)]

    def quoting(self, text: str) -> Context:
        return knowing(workspace_artifacts=[{"size": text}])


class TestSkill(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"skills": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return SkillNeuron()

    def examples(self) -> list[Example]:
        skills = knowing(skills=[{"name": "sort", "description": "sorts"}, {"active": None}])
        text = "<available_skills>\n  - sort: sorts\n  - unnamed:  [inactive]\n</available_skills>"
        return [Example(skills, text)]

    def quoting(self, text: str) -> Context:
        return knowing(skills=[{"description": text}])


class TestFact(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"facts": NO_LISTS}

    def neuron(self) -> Neuron:
        return FactNeuron()

    def examples(self) -> list[Example]:
        return [Example(knowing(facts=["It rains", None]), "<facts>\n  - It rains\n  - None\n</facts>")]

    def quoting(self, text: str) -> Context:
        return knowing(facts=[text])


class TestEntity(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"entities": NO_MAPPINGS}

    def neuron(self) -> Neuron:
        return EntityNeuron()

    def examples(self) -> list[Example]:
        entities = knowing(entities=[{"name": "Ada", "type": "person"}, {}])
        return [Example(entities, "<entities>\n  Ada (person)\n  unknown (unknown)\n</entities>")]

    def quoting(self, text: str) -> Context:
        return knowing(entities=[{"name": text}])


class TestSystem(ContextNeuronConformance):
    never_empty = True
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {}

    def neuron(self) -> Neuron:
        return SystemNeuron()

    def examples(self) -> list[Example]:
        text = (
            "<system_info>\nCurrent date: 2025-01-15\nCurrent time: 14:30:00 UTC\n"
            f"Platform: {platform.system()} {platform.release()}\n</system_info>"
        )
        return [Example(self.at(14), text)]

    def nothing_to_say(self) -> Context:
        return self.at(15)

    @staticmethod
    def at(hour: int) -> Context:
        return Context("task-1", clock=lambda: datetime(2025, 1, 15, hour, 30, tzinfo=UTC))
