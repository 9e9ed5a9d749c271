"""`cosmo answer`: a person or a program answers the questions of Neurons."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.processes.conftest import Running, Start


def started(cosmo: Start, *arguments: str) -> Running:
    hosting = cosmo("run", "workers:booker")
    hosting.line()
    asking = cosmo("answer", *arguments)
    assert asking.error_line().startswith("waiting for questions in namespace own-")
    return asking


def test_person_answers_at_a_terminal(cosmo: Start) -> None:
    asking = started(cosmo, "--once")
    assert cosmo("dispatch", "--neuron", "booker", "").end()[0] == 3
    assert asking.error_line() == 'booker asks: Which day? (context: ["Monday","Tuesday"])'
    asking.write("Monday")
    assert asking.error_line() == '> booker asks: may it pay? (scope: {"euros":40})'
    asking.write("maybe")
    assert asking.error_line() == '[y/n, and why] > booker asks: may it pay? (scope: {"euros":40})'
    asking.write("y it rains")
    assert asking.line() == '{"day":"Monday","paid":true,"why":"it rains"}'
    assert asking.end()[0] == 0


def test_program_answers_in_json(cosmo: Start) -> None:
    asking = started(cosmo, "--json", "--neuron", "booker")
    for day in ("Monday", "Tuesday"):
        cosmo("dispatch", "--neuron", "booker", "").end()
        question = json.loads(asking.line())
        assert (question["type"], question["payload"]["question"]) == ("CLARIFICATION", "Which day?")
        asking.write(json.dumps(day))
        assert json.loads(asking.line())["payload"]["action"] == "pay"
        asking.write('{"granted": false, "reason": "no money"}')
        answer = json.loads(asking.line())
        assert answer["type"] == "AGENT_OUTPUT"
        assert answer["payload"]["output"] == {"day": day, "paid": False, "why": "no money"}
        assert answer["trace_id"] == question["trace_id"]
    assert asking.end(signal.SIGINT)[0] == 130


def test_question_that_waits_already_is_answered(cosmo: Start) -> None:
    cosmo("run", "workers:booker").line()
    assert cosmo("dispatch", "--neuron", "booker", "").end()[0] == 3
    asking = cosmo("answer", "--once")
    asking.error_line()
    line = asking.error_line()
    assert line.startswith("booker asked at ")
    assert line.endswith(' UTC: Which day? (context: ["Monday","Tuesday"])')
    asking.write("Monday")
    assert asking.error_line().startswith("> booker asks: may it pay?")
    asking.write("n")
    assert asking.line() == '{"day":"Monday","paid":false,"why":null}'
    assert asking.end()[0] == 0


def test_dispatch_answers_questions_inline(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "--namespace", populated, "--interactive", "--neuron", "booker", "")
    assert asked.error_line() == 'booker asks: Which day? (context: ["Monday","Tuesday"])'
    asked.write("Monday")
    assert asked.error_line() == '> booker asks: may it pay? (scope: {"euros":40})'
    asked.write("yes")
    assert asked.line() == '{"day":"Monday","paid":true,"why":null}'
    assert asked.end()[0] == 0


def test_program_answers_questions_inline_in_json(cosmo: Start, populated: str) -> None:
    given = ("--interactive", "--json", "--neuron", "booker", "")
    asked = cosmo("dispatch", "--namespace", populated, *given)
    types = []
    for reply in ('"Monday"', "true"):
        types.append(json.loads(asked.line())["type"])
        asked.write(reply)
    status, lines, errors = asked.end()
    types += [json.loads(line)["type"] for line in lines]
    assert (status, types, errors) == (0, ["CLARIFICATION", "PERMISSION", "AGENT_OUTPUT"], [])


def test_end_of_stdin_is_an_error(cosmo: Start) -> None:
    asking = started(cosmo)
    cosmo("dispatch", "--neuron", "booker", "").end()
    asking.error_line()
    status, lines, errors = asking.end()
    assert (status, lines) == (2, [])
    assert errors[-1].endswith(
        'cosmo: stdin ended before the answer to: Which day? (context: ["Monday","Tuesday"])'
    )


def test_ctrl_c_ends_a_pending_read(cosmo: Start) -> None:
    asking = started(cosmo)
    cosmo("dispatch", "--neuron", "booker", "").end()
    asking.error_line()
    asking.process.send_signal(signal.SIGINT)
    assert asking.process.wait(30) == 130


def test_missing_neuron_is_reported_and_the_next_question_is_answered(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:booker")
    hosting.line()
    asking = cosmo("answer")
    asking.error_line()
    cosmo("dispatch", "--neuron", "booker", "").end()
    asking.error_line()
    hosting.end(signal.SIGTERM)
    asking.write("Monday")
    assert "was not answered: no live Neuron 'booker'" in asking.error_line()
    cosmo("run", "workers:booker").line()
    cosmo("dispatch", "--neuron", "booker", "").end()
    assert asking.error_line().startswith("booker asks: ")
