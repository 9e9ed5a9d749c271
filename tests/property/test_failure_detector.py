"""The failure detector against a plain one, which looks at every open TASK at every tick."""

from __future__ import annotations

import math
import weakref
from typing import Any, cast
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cosmo_core import Signal, SignalType
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.dendrite.reliability import failure_detector
from cosmo_core.dendrite.reliability.failure_detector import MAX_SILENT_INTERVALS, TICK_S, FailureDetector
from cosmo_core.dendrite.transport.link import Link
from tests.counting import work_of

PULSES: list[float | None] = [None, 0.1, 1.0, 3.0]
NEURONS = ["a", "b", "c"]


def event_id(number: int) -> str:
    return f"evt_{number:026d}"


def trace_id(number: int) -> str:
    return f"trc_{number:026d}"


class Registry(PathwayRegistry):
    """A registry that lists the TASKs that are stopped."""

    def __init__(self) -> None:
        super().__init__(cast("Link", None))
        self.stopped: list[str] = []

    def stop_task(self, pathway: Pathway, reason: str) -> None:
        self.stopped.append(pathway.task_id)


class Pulses:
    """A directory of Neurons with the intervals of their work heartbeats."""

    def __init__(self) -> None:
        self.of: dict[str, float | None] = dict.fromkeys(NEURONS, 1.0)

    def pulse_s(self, neuron: str) -> float | None:
        return self.of[neuron]


class PlainDetector:
    """Looks at every open TASK at every tick."""

    def __init__(self, pulses: Pulses) -> None:
        self._pulses = pulses
        self._tick = 0
        self._last: dict[str, tuple[int, int | None]] = {}

    def receive(self, tasks: list[str]) -> None:
        for task_id in tasks:
            if task_id in self._last:
                self._last[task_id] = (self._tick, self._last[task_id][1])

    def check(self, pathways: list[Pathway]) -> set[str]:
        self._tick += 1
        before, self._last = self._last, {}
        lost = set()
        for pathway in pathways:
            if pathway.answer is not None or not pathway.neuron:
                continue
            last = before.get(pathway.task_id)
            if last is None:
                pulse_s = self._pulses.pulse_s(pathway.neuron)
                limit = None if pulse_s is None else math.ceil(MAX_SILENT_INTERVALS * pulse_s / TICK_S)
                last = (self._tick - 1, limit)
            if last[1] is not None and self._tick - last[0] >= last[1]:
                lost.add(pathway.task_id)
            else:
                self._last[pathway.task_id] = last
        return lost


def heartbeat(tasks: list[Any]) -> Signal:
    return Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta={"tasks": tasks})


def detector_of(registry: Registry, pulses: Pulses) -> FailureDetector:
    return FailureDetector(registry, cast("Directory", pulses), lambda signal, why: None)


class DetectorMachine(RuleBasedStateMachine):
    """Opens, answers, moves and drops TASKs, and compares those that are lost at each tick."""

    def __init__(self) -> None:
        super().__init__()
        # Checks in steps of a few TASKs.
        self.small_steps = patch.multiple(failure_detector, MAX_CHECKED=3, MAX_ENDED=1, MAX_TICKS=4)
        self.small_steps.start()
        self.registry, self.pulses = Registry(), Pulses()
        self.detector, self.model = detector_of(self.registry, self.pulses), PlainDetector(self.pulses)
        self.pathways: list[Pathway] = []
        self.refs: list[weakref.ref[Pathway]] = []
        self.made = 0

    def new_id(self) -> str:
        self.made += 1
        return event_id(self.made)

    def pick(self, number: int) -> Pathway:
        return self.pathways[number % len(self.pathways)]

    @rule(
        trace=st.sampled_from(["", trace_id(1_000_000), trace_id(1_000_001)]),
        neuron=st.sampled_from(["", *NEURONS]),
    )
    def open(self, trace: str, neuron: str) -> None:
        task_id = self.new_id()
        pathway = Pathway(self.registry, trace or trace_id(self.made), task_id, neuron)
        self.registry.add(pathway)
        self.pathways.append(pathway)
        self.refs.append(weakref.ref(pathway))

    @precondition(lambda self: self.pathways)
    @rule(number=st.integers(0, 99))
    def answer(self, number: int) -> None:
        self.pick(number).answer = SignalType.AGENT_OUTPUT

    @precondition(lambda self: self.pathways)
    @rule(number=st.integers(0, 99), collected=st.booleans())
    def end(self, number: int, collected: bool) -> None:
        pathway = self.pick(number)
        self.pathways.remove(pathway)
        if not collected:
            pathway.end()

    @precondition(lambda self: self.pathways)
    @rule(number=st.integers(0, 99), neuron=st.sampled_from(NEURONS))
    def change_task(self, number: int, neuron: str) -> None:
        pathway = self.pick(number)
        if not pathway.closed:
            pathway.neuron = neuron
            self.registry.change_task(pathway, self.new_id())

    @rule(neuron=st.sampled_from(NEURONS), pulse_s=st.sampled_from(PULSES))
    def change_pulse(self, neuron: str, pulse_s: float | None) -> None:
        self.pulses.of[neuron] = pulse_s

    @rule(every=st.integers(1, 4))
    def beat(self, every: int) -> None:
        tasks = [pathway.task_id for pathway in self.pathways[::every]]
        self.model.receive(tasks)
        self.detector.receive(heartbeat([*tasks, 7, None, ["evt_1"]]))

    @rule(ticks=st.integers(1, 8))
    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            open_now = [pathway for ref in self.refs if (pathway := ref()) is not None and not pathway.closed]
            assert sorted(map(id, self.registry.pathways())) == sorted(map(id, open_now))
            expected = self.model.check(open_now)
            del open_now
            self.registry.stopped.clear()
            steps = sum(1 for _ in self.detector.check())
            assert sorted(self.registry.stopped) == sorted(expected)
            assert steps >= len(expected) - 1

    @invariant()
    def it_holds_no_pathway(self) -> None:
        assert sum(ref() is not None for ref in self.refs) == len(self.pathways)

    def teardown(self) -> None:
        try:
            self.end_all()
        finally:
            self.small_steps.stop()

    def end_all(self) -> None:
        for pathway in self.pathways:
            pathway.end()
        self.registry.stopped.clear()
        for _ in range(2 * failure_detector.MAX_TICKS):
            list(self.detector.check())
        assert self.registry.stopped == []
        assert (self.detector._last_heartbeats, self.detector._due) == ({}, {})
        assert self.registry._open == self.registry._joined == {}


TestDetector = DetectorMachine.TestCase


# --- its work ---------------------------------------------------------------------------------------------


def open_all(registry: Registry, count: int, first: int = 0, trace: str | None = None) -> list[Pathway]:
    """Open Pathways to a Neuron, each on a trace of its own unless there is one for all."""
    found = []
    for number in range(first, first + count):
        pathway = Pathway(registry, trace or trace_id(number), event_id(number), "a")
        registry.add(pathway)
        found.append(pathway)
    return found


def work_of_a_tick(others: int) -> tuple[int, int, int]:
    """Return the calls of a tick without a new TASK, of one with five, and how many it looked at."""
    registry, pulses = Registry(), Pulses()
    detector = detector_of(registry, pulses)
    pulses.of["a"] = 86_400.0

    old = open_all(registry, others)
    list(detector.check())
    idle = work_of(lambda: list(detector.check()))
    new = open_all(registry, 5, others)
    busy = work_of(lambda: list(detector.check()))
    newer = open_all(registry, 5, others + 5)
    found = len(registry.opened())
    assert len(registry.pathways()) == len(old + new + newer)
    return idle, busy, found


def test_work_of_a_tick_does_not_grow_with_the_open_tasks() -> None:
    assert work_of_a_tick(10) == work_of_a_tick(10_000)


def test_a_check_of_thousands_of_tasks_is_in_steps() -> None:
    registry, pulses = Registry(), Pulses()
    detector = detector_of(registry, pulses)
    pathways = open_all(registry, 3_000)
    assert len(list(detector.check())) == 3_000 // failure_detector.MAX_CHECKED
    for _ in range(3):
        list(detector.check())
    detector.receive(heartbeat([pathway.task_id for pathway in pathways[1_000:]]))
    list(detector.check())
    before = 0
    for _ in detector.check():
        assert len(registry.stopped) - before <= failure_detector.MAX_ENDED
        before = len(registry.stopped)
    assert registry.stopped == [pathway.task_id for pathway in pathways[:1_000]]
    assert all(pathway.closed for pathway in pathways[:1_000])


def test_pathways_of_one_trace_are_opened_once() -> None:
    registry = Registry()
    kept = open_all(registry, 100, trace=trace_id(0))
    assert {ref() for ref in registry.opened()} == set(kept)
    [later] = open_all(registry, 1, 100, trace=trace_id(0))
    kept.pop().end()
    assert [ref() for ref in registry.opened()] == [later]
    assert registry.opened() == []


def test_a_pathway_that_is_collected_meanwhile_does_not_break_the_list() -> None:
    registry = Registry()
    pathways = open_all(registry, 10)
    refs = registry.opened()
    pathways.clear()
    assert [ref() for ref in refs] == [None] * 10
    assert registry.opened() == []
    assert registry._open == {}
