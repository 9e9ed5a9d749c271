"""Retries of TASKs by a `RetryStrategy`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import (
    NeuronError,
    NoRouteError,
    PathwayClosedError,
    RetryStrategy,
    Signal,
    SignalType,
    current_task,
)
from cosmo_core.contracts.options import is_transient, jittered
from tests.bus.common import Start


class Flaky:
    """A Neuron that fails as listed before it answers, and records the trace id of each attempt."""

    __name__ = "flaky"

    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.traces: list[str] = []
        self.started = asyncio.Event()
        self.stopped = asyncio.Semaphore(0)

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        task = current_task()
        assert task is not None
        self.traces.append(task.trace_id)
        self.started.set()
        failure = self.failures.pop(0) if self.failures else "none"
        if failure == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.release()
        if failure != "none":
            raise NeuronError("no", code="X", recoverable=failure == "recoverable")
        return {"attempts": len(self.traces)}


QUICK = RetryStrategy(max_attempts=3, timeout_s=5, backoff=0)


async def test_retry_repeats_recoverable_error_on_same_trace(start: Start) -> None:
    flaky = Flaky("recoverable", "recoverable")
    dendrite = await start(flaky)
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=QUICK)
    assert answer.payload["output"] == {"attempts": 3}
    assert flaky.traces == [answer.trace_id] * 3


async def test_retry_uses_new_trace_per_attempt_when_configured(start: Start) -> None:
    flaky = Flaky("recoverable", "recoverable")
    dendrite = await start(flaky)
    retry = RetryStrategy(timeout_s=5, backoff=0, new_trace=True)
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=retry)
    assert len(set(flaky.traces)) == 3
    assert flaky.traces[-1] == answer.trace_id


async def test_retry_returns_last_answer_when_attempts_are_exhausted(start: Start) -> None:
    flaky = Flaky(*["recoverable"] * 5)
    dendrite = await start(flaky)
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=QUICK)
    assert (answer.type, len(flaky.traces)) == (SignalType.ERROR, 3)


async def test_retry_skips_unrecoverable_errors(start: Start) -> None:
    flaky = Flaky("final")
    dendrite = await start(flaky)
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=QUICK)
    assert (answer.type, len(flaky.traces)) == (SignalType.ERROR, 1)
    with pytest.raises(NoRouteError):
        await dendrite.dispatch_and_wait(neuron="unknown", input={}, retry=QUICK)


@pytest.mark.clause("P-5.16")
async def test_retry_stops_timed_out_attempt_before_next(start: Start) -> None:
    flaky = Flaky("hang", "hang")
    dendrite = await start(flaky)
    retry = RetryStrategy(max_attempts=3, timeout_s=0.2, backoff=0)
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=retry)
    assert answer.payload["output"] == {"attempts": 3}
    async with asyncio.timeout(5):
        await flaky.stopped.acquire()
        await flaky.stopped.acquire()


async def test_retry_raises_last_timeout(start: Start) -> None:
    flaky = Flaky("hang", "hang")
    dendrite = await start(flaky)
    with pytest.raises(TimeoutError, match="'flaky'"):
        await dendrite.dispatch_and_wait(
            neuron="flaky", input={}, retry=RetryStrategy(max_attempts=2, timeout_s=0.2, backoff=0)
        )
    assert len(flaky.traces) == 2


async def test_retry_uses_custom_predicate_and_backoff(start: Start) -> None:
    flaky = Flaky("final", "final")
    dendrite = await start(flaky)
    waited: list[int] = []

    def backoff(attempt: int) -> float:
        waited.append(attempt)
        return 0

    retry = RetryStrategy(
        timeout_s=5,
        backoff=backoff,
        retry_on=lambda outcome: isinstance(outcome, Signal) and outcome.type is SignalType.ERROR,
    )
    answer = await dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=retry)
    assert answer.payload["output"] == {"attempts": 3}
    assert waited == [1, 2]


async def test_retry_stops_when_caller_is_cancelled(start: Start) -> None:
    flaky = Flaky("hang", "hang")
    dendrite = await start(flaky)
    caller = asyncio.create_task(dendrite.dispatch_and_wait(neuron="flaky", input={}, retry=QUICK))
    async with asyncio.timeout(5):
        await flaky.started.wait()
        caller.cancel()
        await asyncio.wait([caller])
    assert caller.cancelled()
    assert len(flaky.traces) == 1


@given(st.integers(1, 1000))
def test_default_backoff_grows_up_to_limit(attempt: int) -> None:
    assert 0 <= jittered(attempt) <= min(10.0, 0.1 * 2 ** (attempt - 1))


def test_is_transient_accepts_transient_errors_only() -> None:
    assert is_transient(TimeoutError())
    assert is_transient(PathwayClosedError("x"))
    assert not is_transient(ValueError())


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"timeout_s": 0}, {"timeout_s": -1}])
def test_retry_strategy_rejects_values_below_one_attempt(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        RetryStrategy(**options)
