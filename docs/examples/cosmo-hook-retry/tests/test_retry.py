from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cosmo_core import NeuronError

import cosmo_hook_retry
from cosmo_hook_retry import ATTEMPTS, cosmo_neuron_wrappers, retrying


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The attempts that were followed by a wait; the wait takes no time."""
    waits: list[int] = []

    def no_time(attempt: int) -> float:
        waits.append(attempt)
        return 0

    monkeypatch.setattr(cosmo_hook_retry, "jittered", no_time)
    return waits


class Flaky:
    """A Neuron that fails a number of times, each time after it changed its input."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.calls += 1
        answer = {"text": input.pop("text"), "context": context}
        if self.calls <= self.failures:
            raise self.error
        return answer


TEMPORARY = [ConnectionResetError(), TimeoutError(), NeuronError("busy", recoverable=True)]


@pytest.mark.parametrize("error", TEMPORARY, ids=repr)
async def test_temporary_failure_is_retried(error: Exception, waits: list[int]) -> None:
    flaky = Flaky(2, error)
    neuron = retrying(3)(flaky)
    assert await neuron({"text": "hello"}, ["c"]) == {"text": "hello", "context": ["c"]}
    assert flaky.calls == 3
    assert waits == [1, 2]


@pytest.mark.parametrize("attempts", [2, 3, 5])
async def test_last_failure_is_raised_unchanged(attempts: int, waits: list[int]) -> None:
    error = ConnectionError("for good")
    flaky = Flaky(attempts, error)
    with pytest.raises(ConnectionError) as caught:
        await retrying(attempts)(flaky)({"text": ""}, [])
    assert caught.value is error
    assert flaky.calls == attempts
    assert len(waits) == attempts - 1


@pytest.mark.parametrize("error", [NeuronError("never"), ValueError("a bug")], ids=repr)
async def test_permanent_failure_is_not_retried(error: Exception) -> None:
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        await retrying(3)(flaky)({"text": ""}, [])
    assert flaky.calls == 1


async def test_plain_function_is_retried() -> None:
    calls: list[int] = []

    def plain(input: dict[str, Any], context: list[Any]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise TimeoutError
        return {"calls": len(calls)}

    assert await retrying(3)(plain)({}, []) == {"calls": 2}


def test_streaming_neuron_is_not_wrapped() -> None:
    async def words(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        yield "word"

    assert retrying(3)(words) is words


@pytest.mark.parametrize("text", ["0", "-1", "often", "", "1.5"])
def test_invalid_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPTS, text)
    with pytest.raises(ValueError, match=ATTEMPTS):
        cosmo_neuron_wrappers()


def test_no_wrapper_for_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPTS, "1")
    assert cosmo_neuron_wrappers() is None
    monkeypatch.delenv(ATTEMPTS)
    assert cosmo_neuron_wrappers() is not None
