from __future__ import annotations

import gc
from typing import cast

import pytest
from cosmo_core import Dendrite, Signal, SignalType
from cosmo_core.plugins import SignalEvent

import cosmo_hook_count
from cosmo_hook_count import cosmo_signal_observers, counts


class Stub:
    """Stands for a Dendrite, which the plugin uses only as a key."""


@pytest.fixture
def dendrite() -> Dendrite:
    return cast("Dendrite", Stub())


def test_signals_are_counted_by_event_and_type(dendrite: Dendrite) -> None:
    assert counts(dendrite) == {}
    observe = cosmo_signal_observers(dendrite)
    task = Signal.new(SignalType.TASK, {"input": {}})
    for _ in range(2):
        observe(SignalEvent("sent", task))
    observe(SignalEvent("received", task.reply(SignalType.AGENT_OUTPUT, {"output": 1})))
    observe(SignalEvent("malformed", reason="garbage"))
    assert counts(dendrite) == {
        ("sent", "TASK"): 2,
        ("received", "AGENT_OUTPUT"): 1,
        ("malformed", ""): 1,
    }


def test_each_dendrite_has_its_own_count(dendrite: Dendrite) -> None:
    other = cast("Dendrite", Stub())
    for one in (dendrite, other):
        cosmo_signal_observers(one)
    cosmo_signal_observers(dendrite)(SignalEvent("malformed"))
    assert (counts(dendrite), counts(other)) == ({("malformed", ""): 1}, {})


def test_count_is_removed_with_its_dendrite() -> None:
    gone = cast("Dendrite", Stub())
    cosmo_signal_observers(gone)
    before = len(cosmo_hook_count._counters)
    del gone
    gc.collect()
    assert len(cosmo_hook_count._counters) == before - 1
