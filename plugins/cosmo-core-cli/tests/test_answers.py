"""The text of answers and Signals, and the replies to questions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from cosmo_core import Directed, Signal, SignalType
from cosmo_core_cli.answers import AnswerPrinter, as_text
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.responding import Decision, json_answer, json_decision, typed_decision
from cosmo_core_cli.watch import SignalFilter, summary

HINT = "`cosmo answer` answers it, and `cosmo dispatch --interactive` asks you at once"

Signals = list[tuple[SignalType, dict[str, Any]]]


@pytest.mark.parametrize(
    ("signals", "out"),
    [
        ([(SignalType.AGENT_OUTPUT, {"output": {"response": "hi"}})], "hi\n"),
        ([(SignalType.AGENT_OUTPUT, {"output": {"n": [1, "é"]}})], '{"n":[1,"é"]}\n'),
        ([(SignalType.AGENT_OUTPUT, {"output": None})], "null\n"),
        ([(SignalType.FINAL, {"result": "done"})], "done\n"),
        (
            [
                (SignalType.AGENT_OUTPUT, {"output": "done"}),
                (SignalType.FINAL, {"result": "done"}),
            ],
            "done\n",
        ),
        (
            [
                (SignalType.THOUGHT_DELTA, {"delta": "he", "seq": 0}),
                (SignalType.TOOL_CALL, {"tool": "t", "args": {}}),
                (SignalType.THOUGHT_DELTA, {"delta": "y", "seq": 1}),
                (SignalType.AGENT_OUTPUT, {"output": {"response": "hey"}}),
            ],
            "hey\n",
        ),
        (
            [
                (SignalType.THOUGHT_DELTA, {"delta": "hmm\n", "seq": 0}),
                (SignalType.AGENT_OUTPUT, {"output": {"response": "hey"}}),
            ],
            "hmm\nhey\n",
        ),
        ([(SignalType.AGENT_OUTPUT, {"output": {"response": "\x1b[2J"}})], "\\x1b[2J\n"),
    ],
)
def test_text_of_an_answer_is_printed_once(
    task: Signal, signals: Signals, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = AnswerPrinter()
    for type, payload in signals:
        answer.show(task.reply(type, payload))
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize(
    ("type", "payload", "err"),
    [
        (
            SignalType.ERROR,
            {"code": "COLD", "message": "not\nwarm", "recoverable": True},
            "COLD: not warm; trying again may help",
        ),
        (SignalType.ERROR, {"code": "COLD", "message": "no", "recoverable": False}, "COLD: no"),
        (
            SignalType.CLARIFICATION,
            {"question": "Which?", "context": ["a"]},
            'the Neuron asks: Which? (context: ["a"]); ' + HINT,
        ),
        (
            SignalType.PERMISSION,
            {"action": "pay", "scope": 4, "reason": "rent"},
            "the Neuron asks: may it pay? (scope: 4; reason: rent); " + HINT,
        ),
    ],
)
def test_errors_and_questions_go_to_stderr_after_streamed_text(
    task: Signal,
    type: SignalType,
    payload: dict[str, Any],
    err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = AnswerPrinter()
    answer.show(task.reply(SignalType.THOUGHT_DELTA, {"delta": "he", "seq": 0}))
    answer.show(task.reply(type, payload))
    assert capsys.readouterr() == ("he\n", f"cosmo: {err}\n")


def test_interrupted_line_is_ended(task: Signal, capsys: pytest.CaptureFixture[str]) -> None:
    for deltas, out in [(["he"], "he\n"), (["he\n"], "he\n"), ([], "")]:
        with suppress(TimeoutError), AnswerPrinter() as printer:
            for delta in deltas:
                printer.show(task.reply(SignalType.THOUGHT_DELTA, {"delta": delta, "seq": 0}))
            raise TimeoutError
        assert capsys.readouterr().out == out


def test_closed_pipe_gets_no_line_break(task: Signal, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(BrokenPipeError), AnswerPrinter() as printer:
        printer.show(task.reply(SignalType.THOUGHT_DELTA, {"delta": "he", "seq": 0}))
        raise BrokenPipeError
    assert capsys.readouterr().out == "he"


def test_question_that_is_asked_here_is_not_printed_as_well(
    task: Signal, capsys: pytest.CaptureFixture[str]
) -> None:
    AnswerPrinter(interactive=True).show(task.reply(SignalType.CLARIFICATION, {"question": "Which?"}))
    assert capsys.readouterr() == ("", "")


def test_text_output_is_printed_as_it_is() -> None:
    assert as_text("hello") == "hello"


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("y", Decision(True)),
        ("YES it is cheap ", Decision(True, "it is cheap")),
        ("n", Decision(False)),
        ("no  way", Decision(False, "way")),
        ("", None),
        ("maybe", None),
    ],
)
def test_typed_decision_is_parsed(typed: str, decision: Decision | None) -> None:
    assert typed_decision(typed) == decision


@pytest.mark.parametrize(
    ("written", "decision"),
    [
        ("true", Decision(True)),
        ('{"granted": false}', Decision(False)),
        ('{"granted": true, "reason": null}', Decision(True)),
        ('{"granted": false, "reason": "no"}', Decision(False, "no")),
    ],
)
def test_json_decision_is_parsed(written: str, decision: Decision) -> None:
    assert json_decision(written) == decision


@pytest.mark.parametrize("written", ["", "1", '"yes"', '{"granted": 1}', '{"granted": true, "ttl": 1}', "{"])
def test_invalid_json_decision_is_rejected(written: str) -> None:
    with pytest.raises(UserError):
        json_decision(written)


@pytest.mark.parametrize("written", ["Monday", "[" * 100_000])
def test_answer_of_a_program_that_is_not_json_is_rejected(written: str) -> None:
    with pytest.raises(UserError, match="an answer is not JSON"):
        json_answer(written)


# --- watched Signals ---------------------------------------------------------------------------------


def test_signal_is_summarised_on_one_line(task: Signal) -> None:
    delta = task.reply(
        SignalType.THOUGHT_DELTA, {"delta": "a\n\x9b" + "b" * 100, "seq": 0}, directed=Directed(id="greeter")
    )
    short, full = summary(delta, full=False), summary(delta, full=True)
    assert short.split()[1:4] == ["THOUGHT_DELTA", "greeter", f"…{delta.trace_id[-8:]}"]
    assert short.endswith("…")
    assert len(short) < len(full)
    assert full.isprintable()
    assert "b" * 100 in full


def test_filter_selects_matching_signals(task: Signal) -> None:
    directed = task.reply(SignalType.ERROR, {"code": "X", "message": "m", "recoverable": False})
    named = task.reply(SignalType.AGENT_OUTPUT, {"output": 1}, directed=Directed(id="greeter"))
    for wanted, selected in [
        (SignalFilter(frozenset(), None, None), [task, directed, named]),
        (SignalFilter(frozenset({"TASK", "ERROR"}), None, None), [task, directed]),
        (SignalFilter(frozenset(), "greeter", None), [named]),
        (SignalFilter(frozenset(), None, task.trace_id), [task, directed, named]),
        (SignalFilter(frozenset(), None, Signal.new(SignalType.DISCOVER, {}).trace_id), []),
    ]:
        assert [each for each in (task, directed, named) if wanted.matches(each)] == selected


def test_arrivals_are_left_out_of_a_quiet_watch() -> None:
    discover = Signal.new(SignalType.DISCOVER, {})
    registration = {"role": "neuron", "capabilities": []}
    joins = Signal.new(SignalType.REGISTER, registration)
    shown = [joins, Signal.new(SignalType.HEARTBEAT, {"status": "ok"})]
    left_out = [discover, discover.reply(SignalType.REGISTER, registration)]
    quiet, loud = (SignalFilter(frozenset(), None, None, quiet) for quiet in (True, False))
    assert [each for each in (*shown, *left_out) if quiet.matches(each)] == shown
    assert all(loud.matches(each) for each in (*shown, *left_out))


@pytest.mark.parametrize(
    ("neurons", "shown"), [(["a", "b"], "a,b"), (None, "-"), ("a", "-"), ([1, "a"], "a"), ([], "-")]
)
def test_work_heartbeat_names_its_neurons(neurons: Any, shown: str) -> None:
    beat = Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta={"neurons": neurons})
    assert summary(beat, full=False).split()[2] == shown
    assert SignalFilter(frozenset(), "a", None).matches(beat) is ("a" in shown.split(","))
