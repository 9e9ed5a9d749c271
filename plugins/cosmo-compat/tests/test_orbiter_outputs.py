"""The outputs in the description of `orbiter.context.neuron` are reproduced."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from orbiter.context.config import make_config
from orbiter.context.context import Context
from orbiter.context.neuron import HistoryNeuron, Neuron, SystemNeuron, TaskNeuron, TodoNeuron

SYSTEM: Final = """\
<system_info>
Current date: 2025-01-15
Current time: 14:30:00 UTC
Platform: Linux 6.1.0
</system_info>"""

TASK: Final = """\
<task_info>
Task ID: task-123
Input: Write a sorting function
Plan:
  <step1>Research algorithms</step1>
  <step2>Implement quicksort</step2>
</task_info>"""

HISTORY: Final = """\
<conversation_history>
[user]: What is Python?
[assistant]: Python is a programming language.
</conversation_history>"""

TODO: Final = """\
<todo_list>
  [x] Research algorithms
  [ ] Implement solution
</todo_list>"""

STATE: Final[Mapping[str, Any]] = {
    "task_input": "Write a sorting function",
    "subtasks": ["Research algorithms", "Implement quicksort"],
    "history": [
        {"role": "user", "content": "What is Python?"},
        {"role": "assistant", "content": "Python is a programming language."},
    ],
    "todos": [{"item": "Research algorithms", "done": True}, {"item": "Implement solution"}],
}


@pytest.mark.parametrize(
    ("neuron", "printed"),
    [(SystemNeuron(), SYSTEM), (TaskNeuron(), TASK), (HistoryNeuron(), HISTORY), (TodoNeuron(), TODO)],
    ids=lambda value: value.name if isinstance(value, Neuron) else "",
)
async def test_neuron_writes_the_printed_output(
    neuron: Neuron, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "release", lambda: "6.1.0")
    ctx = Context("task-123", state=STATE, clock=lambda: datetime(2025, 1, 15, 14, 30, tzinfo=UTC))
    assert await neuron.format(ctx) == printed


async def test_history_round_is_two_messages() -> None:
    history = [{"role": "user", "content": str(number)} for number in range(9)]
    ctx = Context("task-123", config=make_config(history_rounds=2), state={"history": history})
    told = (await HistoryNeuron().format(ctx)).splitlines()[1:-1]
    assert told == ["[user]: 5", "[user]: 6", "[user]: 7", "[user]: 8"]
