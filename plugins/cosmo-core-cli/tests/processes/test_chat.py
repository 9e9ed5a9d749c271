"""`cosmo chat`: a conversation, and how it is interrupted and left."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.processes.conftest import Running, Start


def started(cosmo: Start, populated: str, *arguments: str) -> Running:
    talk = cosmo("chat", "--namespace", populated, *arguments)
    assert talk.error_line().startswith(f"talking with {arguments[0]}; ")
    return talk


def test_neuron_gets_the_whole_conversation(cosmo: Start, populated: str) -> None:
    talk = started(cosmo, populated, "talks", "--system", "Be brief.")
    talk.write("one")
    assert talk.line() == "2: Be brief. / one"
    talk.write("")
    talk.write("two")
    assert talk.line() == "4: Be brief. / one / 2: Be brief. / one / two"
    assert talk.end() == (0, [], ["> > > > "])


def test_prompt_option_sends_each_text_alone(cosmo: Start, populated: str) -> None:
    talk = started(cosmo, populated, "greeter", "--prompt")
    for name in ("Ann", "Bob"):
        talk.write(name)
        assert talk.line() == f"Hello, {name}!"
    assert talk.end()[0] == 0


def test_ctrl_c_stops_an_answer_and_then_leaves(cosmo: Start, populated: str) -> None:
    watching = cosmo("watch", "--namespace", populated, "--neuron", "never", "--type", "STOP", "--count", "1")
    watching.error_line()
    talk = started(cosmo, populated, "never")
    talk.write("hi")
    assert talk.line() == "started"
    talk.process.send_signal(signal.SIGINT)
    assert talk.error_line() == "> stopped"
    assert "the caller was interrupted" in watching.line()
    assert talk.end(signal.SIGINT)[0] == 0


def test_failed_answer_is_reported_and_leaves_no_message(cosmo: Start, populated: str) -> None:
    talk = started(cosmo, populated, "fails")
    talk.write("hi")
    assert "NEURON_ERROR" in talk.error_line()
    talk.write("again")
    assert "NEURON_ERROR" in talk.error_line()
    assert talk.end()[0] == 0


def test_questions_are_answered_inline(cosmo: Start, populated: str) -> None:
    talk = started(cosmo, populated, "booker")
    talk.write("book it")
    assert talk.error_line().startswith("> booker asks: Which day?")
    talk.write("Monday")
    assert talk.error_line().startswith("> booker asks: may it pay?")
    talk.write("y")
    assert talk.line() == '{"day":"Monday","paid":true,"why":null}'
    assert talk.end()[0] == 0


def test_error_at_a_question_has_a_line_of_its_own(cosmo: Start, populated: str) -> None:
    talk = started(cosmo, populated, "booker")
    talk.write("book it")
    assert talk.error_line().startswith("> booker asks: Which day?")
    talk.process.send_signal(signal.SIGINT)
    assert talk.error_line() == "> "
    assert talk.error_line() == "stopped"
    talk.write("book it")
    assert talk.error_line().startswith("> booker asks: Which day?")
    status, _, errors = talk.end()
    assert status == 2
    assert errors[0] == "> "
    assert errors[1].startswith("cosmo: stdin ended before the answer to: Which day?")


def test_unknown_neuron_is_an_error_that_lists_the_known_ones(cosmo: Start, populated: str) -> None:
    status, lines, (error,) = cosmo("chat", "--namespace", populated, "unknown").end()
    assert (status, lines) == (2, [])
    assert error.startswith("cosmo: no live Neuron 'unknown'")
    assert "talks" in error
