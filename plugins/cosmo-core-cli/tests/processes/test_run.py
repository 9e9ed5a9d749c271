"""`cosmo run`: hosting, draining, and starting again."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import Running, Start

ONE = "async def answerer(input, context):\n    return {'response': 'one'}\n"
OTHER = "async def answerer(input, context):\n    return {'response': 'another'}\n"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_ending_drains_and_who_waits_gets_the_answer(cosmo: Start, end: signal.Signals) -> None:
    hosting = cosmo("run", "workers:worker")
    assert hosting.line().startswith("hosting worker in own-")
    asked = cosmo("dispatch", "--neuron", "worker", "")
    assert asked.line() == "begun"
    assert hosting.end(end) == (0, [], ["leaving; what runs may finish within 5 s"])
    assert asked.end() == (0, ["done"], [])


def test_what_does_not_finish_in_its_grace_is_answered(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:never", "--grace", "0.1")
    hosting.line()
    asked = cosmo("dispatch", "--neuron", "never", "")
    assert asked.line() == "begun"
    assert hosting.end(signal.SIGTERM)[0] == 0
    status, _, (complaint,) = asked.end()
    assert status == 1
    assert complaint.startswith("cosmo: CANCELLED: ")


def test_programs_read_who_is_hosted(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:everybody", "workers.py:greeter", "--json")
    status, lines, (complaint,) = hosting.end()
    assert (status, lines) == (2, [])
    assert "two Axons are called 'greeter'" in complaint
    hosting = cosmo("run", "workers:everybody", "--engram", "sqlite://,notes", "--json")
    said = [json.loads(hosting.line()) for _ in range(9)]
    assert said[0] == {"neuron": "chatter", "capabilities": ["chat", "small-talk"]}
    assert said[-1] == {"engram": "notes", "kind": "context"}
    hosting.end(signal.SIGTERM)


def test_a_bus_that_the_first_process_carries_needs_no_hub(cosmo: Start, tmp_path: Path) -> None:
    url = f"zmq+ipc://{tmp_path}/bus?hub=auto"
    hosting = cosmo("run", "workers:greeter", COSMO_SYNAPSE=url)
    assert hosting.line().endswith(f" at {url}")
    asked = cosmo("dispatch", "--neuron", "greeter", "Ann", COSMO_SYNAPSE=url)
    assert asked.end() == (0, ["Hello, Ann!"], [])
    assert hosting.end(signal.SIGTERM)[0] == 0


def test_a_changed_file_is_hosted_anew(cosmo: Start, tmp_path: Path) -> None:
    file = tmp_path / "answers.py"
    file.write_text(ONE)
    hosting = cosmo("run", "--reload", "answers:answerer")
    assert _answer(cosmo, hosting) == "one"

    file.write_text(OTHER)
    _changed(hosting)
    assert _answer(cosmo, hosting) == "another"

    file.write_text("x = (\n")
    _changed(hosting)
    assert "answers.py:1: SyntaxError" in hosting.complaint()
    assert hosting.complaint().startswith("cosmo: it ended with status 2; a change starts it again")

    file.write_text(ONE)
    _changed(hosting)
    assert _answer(cosmo, hosting) == "one"
    assert hosting.end(signal.SIGINT) == (0, [], ["leaving; what runs may finish within 5 s"])


def _changed(hosting: Running) -> None:
    """Return when a change was seen; a process that runs then says that it leaves."""
    while (said := hosting.complaint()) != "answers.py changed: starting again":
        assert said.startswith("leaving; ")


def _answer(cosmo: Start, hosting: Running) -> str:
    assert hosting.line().startswith("hosting answerer ")
    status, (answer,), _ = cosmo("dispatch", "--neuron", "answerer", "").end()
    assert status == 0
    return answer


def test_a_module_that_does_not_import_says_where_and_why(cosmo: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import asyncio\nraise RuntimeError('no model')\n")
    status, lines, (complaint,) = cosmo("run", "broken:axon").end()
    assert (status, lines) == (2, [])
    assert complaint.startswith("cosmo: module 'broken' does not import: ")
    assert "broken.py:2: RuntimeError: no model" in complaint


def test_what_fails_in_a_neuron_is_told_where_it_runs(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:fails")
    hosting.line()
    assert cosmo("dispatch", "--neuron", "fails", "").end()[0] == 1
    _, _, complaints = hosting.end(signal.SIGTERM)
    assert "ValueError: told to nobody" in complaints
