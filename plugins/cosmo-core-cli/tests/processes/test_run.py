"""`cosmo run`: hosting, draining and restarting."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import Running, Start

MANY = """
from cosmo_core import Axon

async def echo(input, context):
    return input

axons = [Axon(neuron_id=f"n{{n}}", neuron_fn=echo) for n in range({count})]
"""
ASKS = """
from cosmo_core import neuron

@neuron
async def delegates(input, context, *, ask):
    return await ask("greeter", input)

@neuron(id="plain")
async def function(input, context):
    return input
"""
ONE = "async def answerer(input, context):\n    return {'response': 'one'}\n"
OTHER = "async def answerer(input, context):\n    return {'response': 'another'}\n"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_shutdown_drains_running_tasks(cosmo: Start, end: signal.Signals) -> None:
    hosting = cosmo("run", "workers:worker")
    assert hosting.line().startswith("hosting worker in own-")
    asked = cosmo("dispatch", "--neuron", "worker", "")
    assert asked.line() == "started"
    assert hosting.end(end) == (0, [], ["shutting down; running TASKs may finish within 5 s"])
    assert asked.end() == (0, ["done"], [])


def test_task_beyond_the_grace_period_gets_an_error(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:never", "--grace", "0.1")
    hosting.line()
    asked = cosmo("dispatch", "--neuron", "never", "")
    assert asked.line() == "started"
    assert hosting.end(signal.SIGTERM)[0] == 0
    status, _, (error,) = asked.end()
    assert status == 1
    assert error.startswith("cosmo: CANCELLED: ")


def test_json_output_lists_hosted_components(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:everything", "workers.py:greeter", "--json")
    status, lines, (error,) = hosting.end()
    assert (status, lines) == (2, [])
    assert "two Axons have the id 'greeter'" in error
    hosting = cosmo("run", "workers:everything", "--engram", "sqlite://,notes", "--json")
    hosted = [json.loads(hosting.line()) for _ in range(11)]
    assert hosted[0] == {"neuron": "chatter", "capabilities": ["chat", "small-talk"]}
    assert hosted[-1] == {"engram": "notes", "kind": "context"}
    hosting.end(signal.SIGTERM)


def test_embedded_hub_needs_no_separate_process(cosmo: Start, tmp_path: Path) -> None:
    url = f"zmq+ipc://{tmp_path}/bus?hub=auto"
    hosting = cosmo("run", "workers:greeter", COSMO_SYNAPSE=url)
    assert hosting.line().endswith(f" at {url}")
    asked = cosmo("dispatch", "--neuron", "greeter", "Ann", COSMO_SYNAPSE=url)
    assert asked.end() == (0, ["Hello, Ann!"], [])
    assert hosting.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("lost", [signal.SIGKILL, signal.SIGSTOP], ids=lambda lost: lost.name)
@pytest.mark.parametrize("count", [1, 100])
def test_shutdown_ends_in_time_without_its_hub(
    cosmo: Start, tmp_path: Path, lost: signal.Signals, count: int
) -> None:
    (tmp_path / "many.py").write_text(MANY.format(count=count))
    hub = cosmo("hub", "zmq://127.0.0.1:0")
    hosting = cosmo("run", "many:axons", "--grace", "1", COSMO_SYNAPSE=hub.line().removeprefix("hub at "))
    for _ in range(count):
        assert hosting.line().startswith("hosting n")
    hub.process.send_signal(lost)
    began = time.monotonic()
    hosting.process.send_signal(signal.SIGTERM)
    assert hosting.process.wait(60) == 0
    # The grace period and a second, and the end of the interpreter on a busy machine.
    assert time.monotonic() - began < 2 + 4


def test_changed_file_restarts_the_process(cosmo: Start, tmp_path: Path) -> None:
    file = tmp_path / "answers.py"
    file.write_text(ONE)
    hosting = cosmo("run", "--reload", "answers:answerer")
    assert _answer(cosmo, hosting) == "one"

    file.write_text(OTHER)
    _changed(hosting)
    assert _answer(cosmo, hosting) == "another"

    file.write_text("x = (\n")
    _changed(hosting)
    assert "answers.py:1: SyntaxError" in hosting.error_line()
    assert hosting.error_line().startswith("cosmo: the process ended with status 2; a change restarts it")

    file.write_text(ONE)
    _changed(hosting)
    assert _answer(cosmo, hosting) == "one"
    assert hosting.end(signal.SIGINT) == (0, [], ["shutting down; running TASKs may finish within 5 s"])


def _changed(hosting: Running) -> None:
    """Wait for the restart; a running process first prints that it shuts down."""
    while (line := hosting.error_line()) != "answers.py changed: restarting":
        assert line.startswith("shutting down; ")


def _answer(cosmo: Start, hosting: Running) -> str:
    assert hosting.line().startswith("hosting answerer ")
    status, (answer,), _ = cosmo("dispatch", "--neuron", "answerer", "").end()
    assert status == 0
    return answer


def test_neuron_that_asks_others_is_hosted_by_an_orchestrator(cosmo: Start, tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(ASKS)
    cosmo("run", "workers:greeter").line()
    hosting = cosmo("run", "asks:delegates", "asks:function")
    assert hosting.error_line() == (
        "the role of this host is orchestrator, since delegates may send TASKs to others"
    )
    assert [hosting.line().split()[1] for _ in range(2)] == ["delegates", "plain"]
    asked = cosmo("dispatch", "--neuron", "delegates", "Ann")
    assert asked.end() == (0, ["Hello, Ann!"], [])
    assert hosting.end(signal.SIGTERM)[0] == 0


def test_import_error_names_the_place_and_the_cause(cosmo: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import asyncio\nraise RuntimeError('no model')\n")
    status, lines, (error,) = cosmo("run", "broken:axon").end()
    assert (status, lines) == (2, [])
    assert error.startswith("cosmo: module 'broken' cannot be imported: ")
    assert "broken.py:2: RuntimeError: no model" in error


def test_neuron_that_ignores_its_cancellation_does_not_keep_the_process(cosmo: Start) -> None:
    hosting = cosmo("run", "workers:stubborn", "--grace", "0.1")
    hosting.line()
    asking = cosmo("dispatch", "--neuron", "stubborn", "")
    assert asking.line() == "started"
    status, _, errors = hosting.end(signal.SIGTERM)
    assert status == 0
    assert "cosmo: tasks that ignore their cancellation are abandoned: 1" in errors
    assert asking.end()[0] == 1


def test_traceback_of_a_neuron_is_in_the_log_of_its_process(cosmo: Start) -> None:
    hosting = cosmo("run", "-v", "workers:fails")
    hosting.line()
    assert cosmo("dispatch", "--neuron", "fails", "").end()[0] == 1
    _, _, errors = hosting.end(signal.SIGTERM)
    assert "ValueError: only in the log\\x1b[2J" in errors
    steps = [
        step for step in ("received TASK", "started TASK", "finished ERROR") if step in "\n".join(errors)
    ]
    assert steps == ["received TASK", "started TASK", "finished ERROR"]
