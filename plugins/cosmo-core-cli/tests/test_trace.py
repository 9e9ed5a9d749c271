"""The tree of a trace, from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Invoke

from cosmo_core import Directed, Signal, SignalType, encode
from cosmo_core_cli import trace as module
from cosmo_core_cli.trace import Trace

TREE = """\
{id}
└── TASK planner  +0.000 s, took 2.000 s  {{"input":{{}}}}
    ├── TASK writer  +0.500 s, took 1.000 s  {{"input":{{}}}}
    │   ├── THOUGHT_DELTA (3) writer  +0.700 s, for 0.200 s  {{"delta":"0","seq":0}}
    │   └── AGENT_OUTPUT writer  +1.500 s  {{"output":1}}
    ├── TASK slow  +0.600 s, no answer yet  {{"input":{{}}}}
    └── AGENT_OUTPUT planner  +2.000 s  {{"output":2}}
"""


def at(signal: Signal, seconds: float) -> Signal:
    return signal.replace(ts=f"2026-01-01T00:00:{seconds:06.3f}Z")


def directed(name: str) -> Directed:
    return Directed(id=name)


@pytest.fixture
def signals() -> list[Signal]:
    """A trace in which a planner asks a writer, and another Neuron that does not answer."""
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=directed("planner"))
    inner = task.reply(SignalType.TASK, {"input": {}}, directed=directed("writer"))
    slow = task.reply(SignalType.TASK, {"input": {}}, directed=directed("slow"))
    deltas = [inner.reply(SignalType.THOUGHT_DELTA, {"delta": str(n), "seq": n}) for n in range(3)]
    return [
        at(task, 1.0),
        at(inner, 1.5),
        at(slow, 1.6),
        *(at(delta, 1.7 + n / 10) for n, delta in enumerate(deltas)),
        at(inner.reply(SignalType.AGENT_OUTPUT, {"output": 1}), 2.5),
        at(task.reply(SignalType.AGENT_OUTPUT, {"output": 2}), 3.0),
    ]


@pytest.fixture
def dump(tmp_path: Path, signals: list[Signal], task: Signal) -> Path:
    """A file of JSON lines with that trace, in another order, an announcement and a part of another trace."""
    announcement = Signal.new(SignalType.REGISTER, {"role": "neuron", "capabilities": []})
    file = tmp_path / "dump.jsonl"
    lines = [announcement, *reversed(signals), task, signals[0]]
    file.write_bytes(b"".join(encode(signal) + b"\n" for signal in lines) + b"{}\n")
    return file


@pytest.mark.parametrize("given", ["whole", "ending", "lower"])
def test_tree_shows_causes_and_times(invoke: Invoke, dump: Path, signals: list[Signal], given: str) -> None:
    id = signals[0].trace_id
    shown = invoke(
        "trace", {"whole": id, "ending": id[-8:], "lower": id[-8:].lower()}[given], "--from", str(dump)
    )
    assert shown.exit_code == 0
    assert shown.stderr == (
        f"cosmo: lines of {dump} that are not Signals are left out: 1; `cosmo validate` shows why\n"
    )
    assert shown.stdout == TREE.format(id=id)


def test_lines_of_stdin_that_are_not_signals_are_counted(invoke: Invoke, task: Signal) -> None:
    lines = encode(task) + b"\n[]\n" + encode(task)[:40]
    shown = invoke("trace", task.trace_id, "--from", "-", input=lines)
    assert shown.stderr.startswith("cosmo: lines of stdin that are not Signals are left out: 2; ")
    assert shown.stdout.count("TASK") == 1


def test_tree_in_json(invoke: Invoke, dump: Path, signals: list[Signal]) -> None:
    shown = json.loads(invoke("trace", signals[0].trace_id, "--from", str(dump), "--json").stdout)
    (task,) = shown["signals"]
    assert (shown["trace_id"], shown["dropped"]) == (signals[0].trace_id, 0)
    assert (task["id"], task["took_s"], task["payload"]) == (signals[0].id, 2.0, {"input": {}})
    assert [(each["type"], each["at_s"], each["took_s"], each["count"]) for each in task["children"]] == [
        ("TASK", 0.5, 1.0, 1),
        ("TASK", 0.6, None, 1),
        ("AGENT_OUTPUT", 2.0, None, 1),
    ]
    assert task["children"][0]["children"][0]["count"] == 3


def test_trace_that_is_not_in_the_file_names_those_that_are(
    invoke: Invoke, dump: Path, signals: list[Signal], task: Signal
) -> None:
    shown = invoke("trace", "AAAAAAAA", "--from", str(dump))
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "no Signal of a trace that ends in AAAAAAAA" in shown.stderr
    assert shown.stderr.endswith(f"in it: {signals[0].trace_id}, {task.trace_id}\n")


@pytest.mark.parametrize(
    "id", ["", "trc", "12345", "trc_1", "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "ILOVEU", "1" * 27]
)
def test_malformed_id_is_refused(invoke: Invoke, dump: Path, id: str) -> None:
    shown = invoke("trace", "--from", str(dump), "--", id)
    assert shown.exit_code == 2
    assert "neither a trace id nor" in shown.stderr


def test_trace_without_a_file_needs_a_bus(invoke: Invoke) -> None:
    shown = invoke("trace", "AAAAAAAA")
    assert shown.exit_code == 2
    assert "Give --synapse URL" in shown.stderr


def test_deep_trace_is_shown(invoke: Invoke, tmp_path: Path, task: Signal) -> None:
    file = tmp_path / "deep.jsonl"
    signals = [task]
    for _ in range(1_050):
        signals.append(signals[-1].reply(SignalType.TASK, {"input": {}}))
    file.write_bytes(b"".join(encode(signal) + b"\n" for signal in signals))
    shown = invoke("trace", task.trace_id, "--from", str(file))
    assert (shown.exit_code, shown.stdout.count("TASK")) == (0, 1_051)


def test_signals_beyond_the_limit_are_counted(
    task: Signal, signals: list[Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SIGNALS", 3)
    shown = Trace(signals[0].trace_id)
    assert not shown.add(task)
    for signal in (*signals, signals[0]):
        assert shown.add(signal)
    assert shown.dropped == len(signals) - 3
    assert f"and {shown.dropped} further Signals" in str(module.tree(shown).label)
