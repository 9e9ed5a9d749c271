"""`cosmo dispatch` to Neurons in another process."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import Start


def test_text_input_is_a_prompt(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "greeter", "Ann")
    assert asked.end() == (0, ["Hello, Ann!"], [])


def test_json_input_goes_to_a_neuron_with_the_capabilities(cosmo: Start, populated: str) -> None:
    wanted = ("--capability", "chat", "--capability", "small-talk")
    asked = cosmo("dispatch", "--namespace", populated, *wanted, "--input", '{"prompt": "Bob"}')
    assert asked.end() == (0, ["Hello, Bob!"], [])


def test_input_is_read_from_stdin(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "-", "--namespace", populated, "--neuron", "greeter")
    asked.write('{"prompt": "Cleo"}')
    assert asked.end() == (0, ["Hello, Cleo!"], [])


def test_streamed_text_is_printed_before_the_answer_ends(cosmo: Start, populated: str) -> None:
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "counter", "")
    assert asked.line() == "one"
    assert cosmo("dispatch", "--namespace", populated, "--neuron", "release", "").end()[0] == 0
    assert asked.end() == (0, ["two"], [])


def test_json_output_has_one_signal_per_line(cosmo: Start, populated: str) -> None:
    trace = "trc_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    given = ("--finalize", "--trace", trace, "--json")
    status, lines, errors = cosmo(
        "dispatch", "--namespace", populated, "--neuron", "worker", "", *given
    ).end()
    signals = [json.loads(line) for line in lines]
    assert (status, errors) == (0, [])
    assert [each["type"] for each in signals] == ["THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"]
    assert {each["trace_id"] for each in signals} == {trace}
    assert signals[-1]["payload"]["result"] == {"response": "started\ndone"}


def test_error_sets_the_status_and_prints_the_code(cosmo: Start, populated: str) -> None:
    status, lines, (error,) = cosmo("dispatch", "--namespace", populated, "--neuron", "fails", "").end()
    assert (status, lines) == (1, [])
    assert error.startswith("cosmo: NEURON_ERROR: ValueError; ")
    assert "only in the log" not in error


def test_question_sets_the_status_and_is_printed(cosmo: Start, populated: str) -> None:
    status, lines, (error,) = cosmo("dispatch", "--namespace", populated, "--neuron", "booker", "").end()
    assert (status, lines) == (3, [])
    assert 'Which day? (context: ["Monday","Tuesday"])' in error


def test_timeout_stops_the_neuron(cosmo: Start, populated: str) -> None:
    watching = cosmo("watch", "--namespace", populated, "--neuron", "never", "--type", "STOP", "--count", "1")
    assert watching.error_line().startswith("watching namespace populated at zmq://")
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "never", "", "--timeout", "0.5")
    status, lines, (error,) = asked.end()
    assert (status, lines) == (124, ["started"])
    assert "did not answer within 0.5 s and was told to stop; raise --timeout to wait longer" in error
    assert "the caller timed out" in watching.line()


def test_timeout_of_a_streamed_line_is_reported_on_a_line_of_its_own(cosmo: Start, populated: str) -> None:
    given = ("--namespace", populated, "--neuron", "mumbles", "")
    status, lines, (error,) = cosmo("dispatch", *given, "--timeout", "0.5").end()
    assert (status, lines) == (124, ["no line break"])
    assert error.startswith("cosmo: Neuron 'mumbles' did not answer within 0.5 s")


def test_ctrl_c_stops_the_neuron(cosmo: Start, populated: str) -> None:
    watching = cosmo("watch", "--namespace", populated, "--neuron", "never", "--type", "STOP", "--count", "1")
    watching.error_line()
    asked = cosmo("dispatch", "--namespace", populated, "--neuron", "never", "")
    assert asked.line() == "started"
    assert asked.end(signal.SIGINT) == (130, [], ["cosmo: interrupted"])
    assert "the caller was interrupted" in watching.line()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(("--neuron", "unknown"), "no live Neuron 'unknown'"), (("--capability", "fly"), "Neuron with 'fly'")],
)
def test_unknown_neuron_error_lists_known_neurons(
    cosmo: Start, populated: str, wanted: tuple[str, str], said: str
) -> None:
    status, lines, (error,) = cosmo("dispatch", "hi", "--namespace", populated, *wanted).end()
    assert (status, lines) == (2, [])
    assert said in error
    assert "known: " in error
    assert "--namespace" in error
