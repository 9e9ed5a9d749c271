from __future__ import annotations

import attrs
import pytest
from cosmo_core import MalformedSignalError, Signal, SignalType, encode
from cosmo_core.plugins import Dropped
from cosmo_testing.strategies import json_values
from hypothesis import given, settings

from cosmo_hook_redact import KEYS, REDACTED, cosmo_signal_middleware, redacting

SECRET = "correct horse battery staple"


async def sent(signal: Signal, *keys: str) -> Signal:
    """Return the Signal that the middleware forwards."""
    last: list[Signal] = []

    async def forward(signal: Signal) -> Signal | Dropped:
        last.append(signal)
        return signal

    assert await redacting(frozenset(keys))(signal, forward) is last[0]
    return last[0]


# On a busy machine an example may take long; that is not a failure.
@settings(deadline=None)
@given(json_values(), json_values())
async def test_secret_is_redacted_at_any_depth(input: object, trail: object) -> None:
    def planted(value: object) -> object:
        if isinstance(value, list):
            return [planted(inner) for inner in value]
        if isinstance(value, dict):
            return {**{key: planted(inner) for key, inner in value.items()}, "password": SECRET}
        return value

    signal = Signal.new(
        SignalType.TASK,
        {"input": {"in": planted(input), "password": [SECRET]}},
        meta={"trail": planted(trail), "password": SECRET},
    )
    before = encode(signal)
    redacted = await sent(signal, "password")
    assert SECRET.encode() not in encode(redacted)
    assert redacted.payload["input"]["password"] == REDACTED
    assert encode(signal) == before


async def test_values_of_dataclasses_are_redacted() -> None:
    @attrs.frozen
    class Login:
        user: str
        password: str

    signal = Signal.new(SignalType.AGENT_OUTPUT, {"output": {"login": Login("me", SECRET)}})
    redacted = await sent(signal, "password")
    assert redacted.payload["output"] == {"login": {"user": "me", "password": REDACTED}}


async def test_only_the_values_change() -> None:
    signal = Signal.new(SignalType.TASK, {"input": {"a": [1, {"b": None}]}}, meta={"reply_to": "x"})
    assert await sent(signal, "password") == signal


async def test_redacting_a_key_of_the_protocol_raises() -> None:
    with pytest.raises(MalformedSignalError, match="input"):
        await sent(Signal.new(SignalType.TASK, {"input": {}}), "input")


def test_no_middleware_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS, " , ")
    assert cosmo_signal_middleware("outbound") is None
    monkeypatch.setenv(KEYS, "password")
    assert cosmo_signal_middleware("inbound") is None
    assert cosmo_signal_middleware("outbound") is not None
