from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cosmo_core import NeuronError

import cosmo_hook_retry
from cosmo_hook_retry import ATTEMPTS, cosmo_neuron_wrappers, retrying


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After which attempts was waited; it takes no time here."""
    waits: list[int] = []

    def no_time(attempt: int) -> float:
        waits.append(attempt)
        return 0

    monkeypatch.setattr(cosmo_hook_retry, "jittered", no_time)
    return waits


class Flaky:
    """Fails so many times, each time after it has used up its input."""

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


MAY_PASS = [ConnectionResetError(), TimeoutError(), NeuronError("busy", recoverable=True)]


@pytest.mark.parametrize("error", MAY_PASS, ids=repr)
async def test_what_may_pass_is_tried_again(error: Exception, waits: list[int]) -> None:
    flaky = Flaky(2, error)
    neuron = retrying(3)(flaky)
    assert await neuron({"text": "hello"}, ["c"]) == {"text": "hello", "context": ["c"]}
    assert flaky.calls == 3
    assert waits == [1, 2]


@pytest.mark.parametrize("attempts", [2, 3, 5])
async def test_the_last_failure_is_the_neurons_own(attempts: int, waits: list[int]) -> None:
    error = ConnectionError("for good")
    flaky = Flaky(attempts, error)
    with pytest.raises(ConnectionError) as caught:
        await retrying(attempts)(flaky)({"text": ""}, [])
    assert caught.value is error
    assert flaky.calls == attempts
    assert len(waits) == attempts - 1


@pytest.mark.parametrize("error", [NeuronError("never"), ValueError("a bug")], ids=repr)
async def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        await retrying(3)(flaky)({"text": ""}, [])
    assert flaky.calls == 1


async def test_a_plain_function_is_tried_again_too() -> None:
    calls: list[int] = []

    def plain(input: dict[str, Any], context: list[Any]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise TimeoutError
        return {"calls": len(calls)}

    assert await retrying(3)(plain)({}, []) == {"calls": 2}


def test_a_stream_is_left_as_it_is() -> None:
    async def words(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        yield "word"

    assert retrying(3)(words) is words


@pytest.mark.parametrize("text", ["0", "-1", "often", "", "1.5"])
def test_a_senseless_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPTS, text)
    with pytest.raises(ValueError, match=ATTEMPTS):
        cosmo_neuron_wrappers()


def test_one_attempt_needs_no_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPTS, "1")
    assert cosmo_neuron_wrappers() is None
    monkeypatch.delenv(ATTEMPTS)
    assert cosmo_neuron_wrappers() is not None
