"""`cosmo validate`: checks of Signals and traces in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Invoke

from cosmo_core import Signal, SignalType, encode


@pytest.fixture
def answered(task: Signal) -> list[Signal]:
    """A valid trace."""
    return [
        task,
        task.reply(SignalType.THOUGHT_DELTA, {"delta": "hel", "seq": 0}),
        task.reply(SignalType.AGENT_OUTPUT, {"output": {"response": "hello"}}),
    ]


def lines(signals: list[Signal]) -> bytes:
    return b"".join(encode(signal) + b"\n" for signal in signals)


def test_json_lines_are_counted(invoke: Invoke, answered: list[Signal]) -> None:
    shown = invoke("validate", "-", input=lines(answered))
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "Signals: 3, faults: 0\n")


@pytest.mark.parametrize("indent", [None, 2])
def test_document_is_a_signal_or_a_list_of_signals(
    invoke: Invoke, tmp_path: Path, wire: dict[str, Any], indent: int | None
) -> None:
    file = tmp_path / "signals.json"
    for document, count in ((wire, 1), ([wire, wire], 2), ([], 0)):
        file.write_text(json.dumps(document, indent=indent))
        shown = invoke("validate", str(file), "--json")
        assert (shown.exit_code, json.loads(shown.stdout)) == (0, {"signals": count, "invalid": []})


def test_fault_has_its_line_field_and_reason(invoke: Invoke, tmp_path: Path, wire: dict[str, Any]) -> None:
    file = tmp_path / "signals.jsonl"
    broken = [wire, {**wire, "payload": {}}, {**wire, "id": "evt_1"}]
    text = "\n".join(map(json.dumps, broken))
    file.write_text(f"{text}\n\n{{\n[]\n")
    shown = invoke("validate", str(file))
    assert shown.exit_code == 1
    faults = [line.removeprefix(f"{file}:").split(": ", 2) for line in shown.stdout.splitlines()]
    assert [(place, field) for place, field, _ in faults] == [
        ("2", "payload.input"),
        ("3", "id"),
        ("5", "$"),
        ("6", "$"),
    ]
    assert shown.stderr == "Signals: 1, faults: 4\n"


def test_fault_in_a_list_has_its_index(invoke: Invoke, wire: dict[str, Any]) -> None:
    shown = invoke("validate", "-", "--json", input=json.dumps([wire, {**wire, "v": "2"}]))
    assert shown.exit_code == 1
    (invalid,) = json.loads(shown.stdout)["invalid"]
    assert (invalid["place"], invalid["field"]) == ("[1]", "v")


@pytest.mark.parametrize("garbage", [b"\xff\xfe\n", b"{" * 100_000, b"[" * 100_000, b"null\n", b"\x00"])
def test_malformed_data_is_one_fault(invoke: Invoke, garbage: bytes) -> None:
    shown = invoke("validate", "-", input=garbage)
    assert shown.exit_code == 1
    assert shown.stdout.startswith("-:1: ")
    assert shown.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\n\nasync def neuron(input, context):\n    return {'n': 1}\n",
        "a,b\n1,2\n3,4\n",
        '{\n  "v": "1",\n  "id":\n}\n',
        '["a"\n"b"]\n',
    ],
    ids=["program", "table", "broken-document", "broken-list"],
)
def test_file_without_signals_is_one_fault(invoke: Invoke, text: str) -> None:
    shown = invoke("validate", "-", input=text)
    assert (shown.exit_code, shown.stderr) == (1, "Signals: 0, faults: 1\n")
    assert shown.stdout.startswith("-:1: $: ")
    assert shown.stdout.endswith("; no line is a JSON object: give a file that `cosmo watch --json` wrote\n")


def test_broken_first_line_does_not_hide_the_others(invoke: Invoke, answered: list[Signal]) -> None:
    shown = invoke("validate", "-", input=b"cut off}\n" + lines(answered))
    assert shown.stderr == "Signals: 3, faults: 1\n"


def test_empty_file_has_no_faults(invoke: Invoke) -> None:
    assert invoke("validate", "-", input=b"\n\n").stderr == "Signals: 0, faults: 0\n"


def test_valid_trace_passes(invoke: Invoke, answered: list[Signal]) -> None:
    assert invoke("validate", "-", "--trace", input=lines(answered)).exit_code == 0


def test_invalid_trace_names_the_signal_and_the_rule(invoke: Invoke, answered: list[Signal]) -> None:
    again = answered[0].reply(SignalType.AGENT_OUTPUT, {"output": {}})
    dump = lines([*answered, again])
    assert invoke("validate", "-", input=dump).exit_code == 0
    shown = invoke("validate", "-", "--trace", input=dump)
    assert shown.exit_code == 1
    assert shown.stdout.startswith("-:4: trace:")
    assert again.id in shown.stdout


def test_question_that_is_sent_again_is_valid(invoke: Invoke, task: Signal) -> None:
    question = task.reply(SignalType.CLARIFICATION, {"question": "Which?"})
    assert invoke("validate", "-", "--trace", input=lines([task, question, question])).exit_code == 0
    answer = task.reply(SignalType.AGENT_OUTPUT, {"output": 1})
    shown = invoke("validate", "-", "--trace", input=lines([task, answer, answer]))
    assert "trace:no-id-twice" in shown.stdout


def test_announcements_are_not_part_of_a_trace(invoke: Invoke, answered: list[Signal]) -> None:
    hello = Signal.new(SignalType.REGISTER, {"role": "neuron", "capabilities": []})
    again = Signal.new(SignalType.HEARTBEAT, {"status": "ok"})
    assert invoke("validate", "-", "--trace", input=lines([hello, *answered, again])).exit_code == 0


def test_trace_check_without_cosmo_testing_is_an_error_with_a_remedy(
    invoke: Invoke, answered: list[Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cosmo_testing.traces", None)
    shown = invoke("validate", "-", "--trace", input=lines(answered))
    assert shown.exit_code == 2
    assert "pip install ./plugins/cosmo-llm ./plugins/cosmo-testing" in shown.stderr
