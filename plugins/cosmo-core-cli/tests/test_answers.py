"""What people see of an answer, and how they reply."""

from __future__ import annotations

from typing import Any

import pytest

from cosmo_core import Directed, Signal, SignalType
from cosmo_core_cli.answers import AnswerText, as_text
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.replies import Decision, json_answer, json_decision, typed_decision
from cosmo_core_cli.watch import Wanted, line

Said = list[tuple[SignalType, dict[str, Any]]]


@pytest.mark.parametrize(
    ("said", "out"),
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
def test_people_see_the_text_of_an_answer_once(
    task: Signal, said: Said, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = AnswerText()
    for type, payload in said:
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
            'asked back: Which? (context: ["a"]); `cosmo ask`, started before, answers that',
        ),
        (
            SignalType.PERMISSION,
            {"action": "pay", "scope": 4, "reason": "rent"},
            "asked back: may it pay? (scope: 4; reason: rent); `cosmo ask`, started before, answers that",
        ),
    ],
)
def test_what_is_no_answer_goes_to_stderr_after_what_was_streamed(
    task: Signal,
    type: SignalType,
    payload: dict[str, Any],
    err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = AnswerText()
    answer.show(task.reply(SignalType.THOUGHT_DELTA, {"delta": "he", "seq": 0}))
    answer.show(task.reply(type, payload))
    assert capsys.readouterr() == ("he\n", f"cosmo: {err}\n")


def test_an_output_that_is_text_is_that_text() -> None:
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
def test_a_decision_is_typed(typed: str, decision: Decision | None) -> None:
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
def test_a_program_writes_a_decision(written: str, decision: Decision) -> None:
    assert json_decision(written) == decision


@pytest.mark.parametrize("written", ["", "1", '"yes"', '{"granted": 1}', '{"granted": true, "ttl": 1}', "{"])
def test_what_is_no_decision_is_a_mistake(written: str) -> None:
    with pytest.raises(Mistake):
        json_decision(written)


@pytest.mark.parametrize("written", ["Monday", "[" * 100_000])
def test_an_answer_of_a_program_is_json(written: str) -> None:
    with pytest.raises(Mistake, match="an answer is not JSON"):
        json_answer(written)


# --- what passes ------------------------------------------------------------------------------------


def test_a_signal_is_one_line(task: Signal) -> None:
    delta = task.reply(
        SignalType.THOUGHT_DELTA, {"delta": "a\n\x9b" + "b" * 100, "seq": 0}, directed=Directed(id="greeter")
    )
    short, whole = line(delta, whole=False), line(delta, whole=True)
    assert short.split()[1:4] == ["THOUGHT_DELTA", "greeter", f"…{delta.trace_id[-8:]}"]
    assert short.endswith("…")
    assert len(short) < len(whole)
    assert whole.isprintable()
    assert "b" * 100 in whole


def test_filters_admit_what_they_say(task: Signal) -> None:
    directed = task.reply(SignalType.ERROR, {"code": "X", "message": "m", "recoverable": False})
    named = task.reply(SignalType.AGENT_OUTPUT, {"output": 1}, directed=Directed(id="greeter"))
    for wanted, admitted in [
        (Wanted(frozenset(), None, None), [task, directed, named]),
        (Wanted(frozenset({"TASK", "ERROR"}), None, None), [task, directed]),
        (Wanted(frozenset(), "greeter", None), [named]),
        (Wanted(frozenset(), None, task.trace_id), [task, directed, named]),
        (Wanted(frozenset(), None, Signal.new(SignalType.DISCOVER, {}).trace_id), []),
    ]:
        assert [each for each in (task, directed, named) if wanted.admits(each)] == admitted
