"""The log at DEBUG: a line for each step of a TASK's life, without payloads."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from cosmo_core import Axon, NeuronError, RetryStrategy, Signal, SignalType
from cosmo_core.dendrite.transport.task_log import MAX_CODE
from tests.bus.common import Start, count, echo

FIELDS = ("step", "type", "task", "trace", "neuron", "code", "duration_ms")


class Log:
    """The records of the logger of TASKs."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def records(self) -> list[Any]:
        return [record for record in self._caplog.records if record.name == "cosmo_core.task"]

    @property
    def steps(self) -> list[str]:
        return [f"{record.cosmo_step} {record.cosmo_type}" for record in self.records]

    @property
    def text(self) -> str:
        return self._caplog.text


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.DEBUG, "cosmo_core")
    return Log(caplog)


async def test_each_step_of_a_task_is_one_line(start: Start, log: Log) -> None:
    await start(count, role="worker")
    orchestrator = await start()
    answer = await orchestrator.dispatch_and_wait(neuron="count", input={"to": 3})
    assert log.steps == [
        "sent TASK",
        "received TASK",
        "started TASK",
        "sent THOUGHT_DELTA",
        "received THOUGHT_DELTA",
        "finished AGENT_OUTPUT",
        "sent AGENT_OUTPUT",
        "received AGENT_OUTPUT",
    ]
    for record in log.records:
        assert record.levelno == logging.DEBUG
        assert (record.cosmo_task, record.cosmo_trace) == (answer.parent_id, answer.trace_id)
        assert record.cosmo_neuron == "count"
        assert answer.parent_id in record.getMessage()
        assert all(hasattr(record, f"cosmo_{field}") for field in FIELDS)
    (finished,) = [record for record in log.records if record.cosmo_step == "finished"]
    assert 0 <= finished.cosmo_duration_ms < 60_000
    assert finished.getMessage().endswith(" ms")


async def test_no_line_has_a_payload(start: Start, log: Log) -> None:
    async def leak(input: dict[str, Any], context: list[Any]) -> Any:
        yield "secret-delta"
        if input["n"]:
            raise NeuronError("secret-message", code="SAID")
        yield {"secret": "secret-output"}

    dendrite = await start(leak)
    for n in (0, 1):
        await dendrite.dispatch_and_wait(neuron="leak", input={"n": n, "key": "secret-input"})
    assert "SAID" in log.text
    assert "secret" not in log.text


async def test_code_of_another_process_is_one_bounded_line(start: Start, log: Log) -> None:
    async def forges(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("no", code="X\nDEBUG forged " + "y" * 1000)

    dendrite = await start(forges)
    await dendrite.dispatch_and_wait(neuron="forges", input={})
    codes = {record.cosmo_code for record in log.records} - {None}
    assert all("\n" not in code and len(code) <= 4 * MAX_CODE for code in codes)
    assert codes


async def test_stop_and_waiting_are_steps(start: Start, log: Log) -> None:
    release = asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        return {}

    dendrite = await start(Axon(neuron_id="slow", neuron_fn=slow, max_concurrency=1))
    first = await dendrite.dispatch(neuron="slow", input={})
    second = await dendrite.dispatch(neuron="slow", input={})
    second.close()
    release.set()
    await first.wait()
    assert "queued TASK" in log.steps
    assert "sent STOP" in log.steps
    (stop,) = [record for record in log.records if (record.cosmo_step, record.cosmo_type) == ("sent", "STOP")]
    assert stop.cosmo_task == second.task_id


async def test_retries_are_logged(start: Start, log: Log) -> None:
    async def fails(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("again", recoverable=True)

    dendrite = await start(fails)
    await dendrite.dispatch_and_wait(neuron="fails", input={}, retry=RetryStrategy(max_attempts=2, backoff=0))
    assert "attempt 2 of a TASK for Neuron 'fails'" in log.text


async def test_life_of_dendrites_and_neurons_is_logged(start: Start, log: Log) -> None:
    worker, other = await start(echo, role="worker"), await start()
    await worker.stop()
    await other.stop()
    assert log.text.count("runs in namespace 'test'") == 2
    assert log.text.count("has stopped") == 2
    assert "Neuron 'echo' is hosted by Dendrite" in log.text
    assert "Neuron 'echo' is no longer hosted by Dendrite" in log.text


async def test_nothing_is_logged_without_debug(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cosmo_core")
    dendrite = await start(count)
    await dendrite.dispatch_and_wait(neuron="count", input={"to": 1})
    assert not dendrite._link.is_observed()
    assert not caplog.records


async def test_signals_of_other_matters_are_not_logged(start: Start, log: Log) -> None:
    dendrite = await start()
    await dendrite.emit(Signal.new(SignalType.PLAN, {"steps": []}))
    assert log.steps == []
