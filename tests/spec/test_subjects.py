"""A Signal on a subject of another type is counted and has no other effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Signal, SignalType, encode
from cosmo_core.protocol.signal import address
from cosmo_core.protocol.subjects import Subjects

Start = Callable[..., Awaitable[Dendrite]]

SUBJECTS = Subjects("test")


async def cook(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    return {"dish": "soup"}


@pytest.mark.clause("P-3.3", "P-1.10")
@pytest.mark.parametrize(
    ("subject", "type", "payload"),
    [
        (SUBJECTS.broadcast(SignalType.STOP), SignalType.HEARTBEAT, {"status": "ok"}),
        (SUBJECTS.neuron(SignalType.TASK, "cook"), SignalType.HEARTBEAT, {"status": "ok"}),
        (SUBJECTS.broadcast(SignalType.REGISTER), SignalType.TASK, {"input": {}}),
        (SUBJECTS.broadcast(SignalType.TASK), SignalType.STOP, {"rollback": False}),
        (SUBJECTS.broadcast(SignalType.TASK_OFFER), SignalType.TASK, {"input": {}}),
    ],
)
async def test_signal_on_a_subject_of_another_type_is_malformed(
    start: Start, synapse: Any, subject: str, type: SignalType, payload: dict[str, Any]
) -> None:
    dendrite = await start(cook)
    stray = Signal.new(type, payload, directed=address("cook"), meta={"dendrite": "stranger"})
    await synapse.publish(subject, encode(stray))
    assert dendrite.counters["malformed"] == 1
    assert [record.neuron_id for record in dendrite.find_neurons()] == ["cook"]
    answer = await dendrite.dispatch_and_wait(neuron="cook", input={}, trace_id=stray.trace_id)
    assert answer.payload["output"] == {"dish": "soup"}


def test_patterns_of_several_types_have_no_expected_type() -> None:
    assert SUBJECTS.type_of(SUBJECTS.broadcast(SignalType.BID)) is SignalType.BID
    assert SUBJECTS.type_of(SUBJECTS.addressed_pattern(SignalType.BID)) is SignalType.BID
    assert SUBJECTS.type_of(SUBJECTS.inbox_pattern("me")) is None
    assert SUBJECTS.type_of(SUBJECTS.namespace_pattern()) is None
