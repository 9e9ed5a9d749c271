"""`cosmo dispatch` to Neurons that another process hosts."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import Start


def test_text_is_a_prompt_and_the_answer_is_text(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "greeter", "Ann")
    assert asked.end() == (0, ["Hello, Ann!"], [])


def test_json_is_the_input_and_capabilities_find_the_neuron(cosmo: Start, populated: str) -> None:
    wanted = ("--capability", "chat", "--capability", "small-talk")
    asked = cosmo("dispatch", "--namespace", populated, *wanted, "--input", '{"prompt": "Bob"}')
    assert asked.end() == (0, ["Hello, Bob!"], [])


def test_input_comes_from_stdin(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "-", "--namespace", populated, "--neuron", "greeter")
    asked.write('{"prompt": "Cleo"}')
    assert asked.end() == (0, ["Hello, Cleo!"], [])


def test_what_is_streamed_is_printed_before_the_neuron_is_done(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "counter", "")
    assert asked.line() == "one"
    assert cosmo("dispatch", "--namespace", populated, "--neuron", "release", "").end()[0] == 0
    assert asked.end() == (0, ["two"], [])


def test_programs_get_every_signal_on_a_line(cosmo: Start, populated: str) -> None:
    trace = "trc_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    given = ("--finalize", "--trace", trace, "--json")
    status, lines, complaints = cosmo(
        "dispatch", "--namespace", populated, "--neuron", "worker", "", *given
    ).end()
    signals = [json.loads(line) for line in lines]
    assert (status, complaints) == (0, [])
    assert [each["type"] for each in signals] == ["THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"]
    assert {each["trace_id"] for each in signals} == {trace}
    assert signals[-1]["payload"]["result"] == {"response": "begun\ndone"}


def test_an_error_has_its_status_and_its_code(cosmo: Start, populated: str) -> None:
    status, lines, (complaint,) = cosmo("dispatch", "--namespace", populated, "--neuron", "fails", "").end()
    assert (status, lines) == (1, [])
    assert complaint.startswith("cosmo: NEURON_ERROR: ValueError; ")
    assert "told to nobody" not in complaint


def test_being_asked_back_has_its_status_and_says_what_is_asked(cosmo: Start, populated: str) -> None:
    status, lines, (complaint,) = cosmo("dispatch", "--namespace", populated, "--neuron", "booker", "").end()
    assert (status, lines) == (3, [])
    assert 'Which day? (context: ["Monday","Tuesday"])' in complaint


def test_when_the_time_is_up_the_neuron_is_stopped(cosmo: Start, populated: str) -> None:
    watching = cosmo("watch", "--namespace", populated, "--neuron", "never", "--type", "STOP", "--count", "1")
    assert watching.complaint().startswith("watching namespace populated at zmq://")
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "never", "", "--timeout", "0.5")
    status, lines, (complaint,) = asked.end()
    assert (status, lines) == (124, ["begun"])
    assert "did not answer within 0.5 s, and was told to stop; --timeout gives it longer" in complaint
    assert "the caller's time is up" in watching.line()


def test_ctrl_c_stops_the_neuron(cosmo: Start, populated: str) -> None:
    watching = cosmo("watch", "--namespace", populated, "--neuron", "never", "--type", "STOP", "--count", "1")
    watching.complaint()
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "never", "")
    assert asked.line() == "begun"
    assert asked.end(signal.SIGINT) == (130, [], ["cosmo: interrupted"])
    assert "the caller was interrupted" in watching.line()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(("--neuron", "nobody"), "no live Neuron 'nobody'"), (("--capability", "fly"), "Neuron with 'fly'")],
)
def test_no_such_neuron_says_who_is_there(
    cosmo: Start, populated: str, wanted: tuple[str, str], said: str
) -> None:
    status, lines, (complaint,) = cosmo("dispatch", "hi", "--namespace", populated, *wanted).end()
    assert (status, lines) == (2, [])
    assert said in complaint
    assert "known: " in complaint
    assert "--namespace" in complaint
