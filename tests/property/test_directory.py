"""The directory against a model that looks at every record: what is live, and which is the least busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmo_core import Signal, SignalType
from cosmo_core.dendrite.discovery import directory as module
from cosmo_core.dendrite.discovery.directory import MISSED_HEARTBEATS, Directory
from cosmo_core.dendrite.discovery.ordering import SLACK, Expiries, Ranking
from cosmo_core.protocol.signal import Directed
from tests.counting import work_of

NAMES, HOSTS = st.sampled_from("abc"), st.sampled_from(["h1", "h2"])
WANTED = [(), ("x",), ("y",), ("x", "y"), ("x", "y", "z"), ("unknown",)]
CAPABILITIES = st.sampled_from([["x"], ["x", "y"], ["z", "y", "x", "x"], []])
LOADS = st.integers(0, 4)


@attrs.define(eq=False)
class Load:
    own: int = 0
    announced: int = 0
    others: int = 0


@attrs.define
class Pathway:
    """The part of a Pathway that a directory uses."""

    neuron: str
    settle: Callable[[], None] = lambda: None

    def when_settled(self, call: Callable[[], None]) -> None:
        self.settle = call


def announcement(type: SignalType, name: str, host: str, **content: Any) -> Signal:
    payload: dict[str, Any] = {
        SignalType.REGISTER: {"role": "neuron", "capabilities": content.get("capabilities", [])},
        SignalType.HEARTBEAT: {"status": content.get("status", "ok")},
        SignalType.DEREGISTER: {},
    }[type]
    if others := content.get("others"):
        payload["others"] = others
    meta = {"dendrite": host, "load": content.get("load", 0), "heartbeat_s": content.get("beat", 10)}
    return Signal.new(type, payload, directed=Directed(name), meta=meta)


class Model:
    """The same as a directory, by looking at everything."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records: dict[tuple[str, str], tuple[frozenset[str], int, float]] = {}
        self.draining: dict[tuple[str, str], float] = {}
        self.loads: dict[str, Load] = {}
        self.departed: list[tuple[str, str]] = []

    def hosts(self, name: str) -> list[tuple[frozenset[str], int, float]]:
        return [record for (neuron, _), record in self.records.items() if neuron == name]

    def update_load(self, name: str, change: int) -> None:
        load = self.loads.setdefault(name, Load())
        load.announced += change
        load.others = max(0, load.announced - load.own)

    def register(self, name: str, host: str, capabilities: list[str], load: int, beat: float) -> None:
        before = self.records.get((name, host))
        self.draining.pop((name, host), None)
        expires = self.now + MISSED_HEARTBEATS * beat
        self.records[name, host] = frozenset(capabilities), load, expires
        self.update_load(name, load - (before[1] if before else 0))

    def refresh(self, name: str, host: str, load: int, beat: float) -> None:
        if before := self.records.get((name, host)):
            self.register(name, host, list(before[0]), load, beat)

    def remove(self, name: str, host: str) -> None:
        if before := self.records.pop((name, host), None):
            self.update_load(name, -before[1])
            if not self.hosts(name):
                del self.loads[name]

    def drain(self, name: str, host: str, expires: float) -> None:
        self.draining[name, host] = expires
        self.remove(name, host)

    def depart(self, name: str, host: str) -> None:
        self.draining.pop((name, host), None)
        self.remove(name, host)
        self.departed.append((name, host))

    def unreachable(self, name: str) -> None:
        for (neuron, host), record in list(self.records.items()):
            if neuron == name:
                self.drain(name, host, record[2])

    def sweep(self) -> None:
        expiries = {key: record[2] for key, record in self.records.items()} | self.draining
        for key, expires in expiries.items():
            if expires <= self.now:
                self.depart(*key)

    def least_busy(self, wanted: tuple[str, ...]) -> set[str]:
        able = {
            name: (self.loads[name].own + self.loads[name].others) / len(self.hosts(name))
            for name in {name for name, _ in self.records}
            if all(record[0].issuperset(wanted) for record in self.hosts(name))
        }
        return {name for name, busyness in able.items() if busyness <= min(able.values())}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), NAMES, HOSTS, CAPABILITIES, LOADS, st.sampled_from([1, 10])),
        st.tuples(st.just("batch"), NAMES, HOSTS, CAPABILITIES, LOADS, st.sampled_from([1, 10])),
        st.tuples(st.just("refresh"), NAMES, HOSTS, LOADS, st.sampled_from([1, 10])),
        st.tuples(st.just("drain"), NAMES, HOSTS),
        st.tuples(st.just("depart"), NAMES, HOSTS),
        st.tuples(st.just("unreachable"), NAMES),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 3.0, 29.0])),
        st.tuples(st.just("dispatch"), st.sampled_from(WANTED)),
        st.tuples(st.just("settle"), st.integers(0, 9)),
    ),
    min_size=16,
    max_size=40,
)


class Checked:
    """A directory and its model, which take the same steps."""

    def __init__(self) -> None:
        self.model = Model()
        self.departed: list[tuple[str, str]] = []
        self.directory = Directory(
            lambda: self.model.now, 10, departed=lambda *key: self.departed.append(key)
        )
        self.pathways: list[tuple[Pathway, Load]] = []

    def step(self, kind: str, *arguments: Any) -> None:
        getattr(self, kind)(*arguments)
        self.model.sweep()

    def register(self, name: str, host: str, capabilities: list[str], load: int, beat: float) -> None:
        self.model.register(name, host, capabilities, load, beat)
        signal = announcement(
            SignalType.REGISTER, name, host, capabilities=capabilities, load=load, beat=beat
        )
        self.directory.receive(signal)

    def batch(self, name: str, host: str, capabilities: list[str], load: int, beat: float) -> None:
        self.model.register("e", host, [], 0, beat)
        self.model.register(name, host, capabilities, load, beat)
        others = [{"id": name, "capabilities": capabilities, "load": load}]
        self.directory.receive(announcement(SignalType.REGISTER, "e", host, others=others, beat=beat))

    def refresh(self, name: str, host: str, load: int, beat: float) -> None:
        self.model.refresh(name, host, load, beat)
        self.directory.receive(announcement(SignalType.HEARTBEAT, name, host, load=load, beat=beat))

    def drain(self, name: str, host: str) -> None:
        self.model.drain(name, host, self.model.now + MISSED_HEARTBEATS * 10)
        self.directory.receive(announcement(SignalType.HEARTBEAT, name, host, status="draining"))

    def depart(self, name: str, host: str) -> None:
        self.model.depart(name, host)
        self.directory.receive(announcement(SignalType.DEREGISTER, name, host))

    def unreachable(self, name: str) -> None:
        self.model.unreachable(name)
        self.directory.mark_unreachable(name)

    def wait(self, seconds: float) -> None:
        self.model.now += seconds
        self.directory.sweep()

    def dispatch(self, wanted: tuple[str, ...]) -> None:
        self.model.sweep()
        found = self.directory.find(None, wanted)
        if found is not None:
            assert found in self.model.least_busy(wanted)
            pathway = Pathway(found)
            self.directory.count_dispatch(pathway)  # type: ignore[arg-type]
            load = self.model.loads[found]
            load.own += 1
            self.pathways.append((pathway, load))

    def settle(self, index: int) -> None:
        if self.pathways:
            pathway, load = self.pathways.pop(index % len(self.pathways))
            pathway.settle()
            load.own -= 1

    def check(self) -> None:
        records = [
            (record.neuron_id, record.dendrite, frozenset(record.capabilities), record.load, record.expires)
            for record in self.directory.records()
        ]
        assert records == sorted((*key, *record) for key, record in self.model.records.items())
        for capability in "xyz":
            having = [(record[0], record[1]) for record in records if capability in record[2]]
            found = self.directory.records(capability)
            assert [(record.neuron_id, record.dendrite) for record in found] == having
        assert self.directory.dendrites() == {host for _, host in [*self.model.records, *self.model.draining]}
        assert sorted(self.departed) == sorted(self.model.departed)
        for name in {key[0] for key in self.model.records}:
            common = frozenset.intersection(*(record[0] for record in self.model.hosts(name)))
            for wanted in WANTED:
                assert self.directory.find(name, wanted) == (name if common.issuperset(wanted) else None)
        for wanted in WANTED:
            best = self.model.least_busy(wanted)
            # Each of the equally busy ones once, whatever was asked for before.
            taken = [self.directory.find(None, wanted) for _ in range(len(best) or 1)]
            assert sorted(filter(None, taken)) == sorted(best)
        ranked = sum(map(len, self.directory._rankings.values()))
        assert ranked == self.directory._ranked
        assert ranked == sum(len(neuron.rankings) for neuron in self.directory._neurons.values())


@pytest.mark.clause("P-5.2", "P-4.19")
@given(steps=STEPS, kept=st.sampled_from([1, 3, 1_000]))
@settings(deadline=None)
def test_directory_is_as_one_that_looks_at_all_records(steps: list[tuple[Any, ...]], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_RANKINGS", kept)
        patch.setattr(module, "MAX_RANKED", 3 * kept)
        checked = Checked()
        for count, step in enumerate(steps):
            checked.step(*step)
            assert len(checked.directory._rankings) <= kept
            if count % 4 == 0:
                # It also asks for every order, which the next steps have to keep up to date.
                checked.check()
        checked.check()


# --- counted work -----------------------------------------------------------------------------------


def filled(count: int) -> Directory:
    """Return a directory of many Neurons with capability ``x``, half of them with ``y`` as well."""
    directory = Directory(lambda: 0.0, 10)
    for number in range(0, count, 10):
        others = [
            {"id": f"n{each}", "capabilities": ["x", "y"][: each % 2 + 1], "load": each % 3}
            for each in range(number + 1, number + 10)
        ]
        register = announcement(SignalType.REGISTER, f"n{number}", "h", capabilities=["x"], others=others)
        directory.receive(register)
    for wanted in (["x"], ["x", "y"], []):
        directory.find(None, wanted)
    return directory


def test_work_of_a_directory_does_not_grow_with_the_number_of_neurons() -> None:
    def work(directory: Directory) -> list[int]:
        same = announcement(SignalType.HEARTBEAT, "n3", "h", load=2)
        changed = [announcement(SignalType.HEARTBEAT, "n3", "h", load=load) for load in (3, 4, 5)]
        joins = announcement(SignalType.REGISTER, "new", "h", capabilities=["x"])
        leaves = announcement(SignalType.DEREGISTER, "new", "h")
        steps: list[Callable[[], object]] = [
            lambda: directory.receive(same),
            lambda: directory.receive(same),
            *(lambda signal=signal: directory.receive(signal) for signal in changed),
            lambda: directory.find(None, ["x"]),
            lambda: directory.find(None, ["y", "x"]),
            lambda: directory.find("n3", ["x"]),
            lambda: directory.find(None, []),
            lambda: directory.count_dispatch(Pathway("n4")),  # type: ignore[arg-type]
            directory.sweep,
            directory.dendrites,
            lambda: directory.receive(joins),
            lambda: directory.receive(leaves),
            lambda: directory.records("unknown"),
        ]
        return [work_of(step) for step in steps]

    few, many = work(filled(10)), work(filled(10_000))
    assert many == few
    assert max(many) < 250


def test_a_replica_that_joins_or_leaves_costs_the_same_beside_many() -> None:
    def work(directory: Directory) -> list[int]:
        joins = announcement(SignalType.REGISTER, "n0", "new", capabilities=["x"])
        leaves = announcement(SignalType.DEREGISTER, "n0", "new")
        return [work_of(lambda signal=signal: directory.receive(signal)) for signal in (joins, leaves)]  # type: ignore[misc]

    def replicas(count: int) -> Directory:
        directory = Directory(lambda: 0.0, 10)
        for number in range(count):
            directory.receive(announcement(SignalType.REGISTER, "n0", f"h{number}", capabilities=["x"]))
        directory.find(None, ["x"])
        return directory

    assert work(replicas(10)) == work(replicas(2_000))


def test_a_sweep_looks_at_a_slice_of_the_records_and_no_expired_neuron_is_found() -> None:
    now = 0.0
    departed: list[str] = []
    directory = Directory(lambda: now, 10, departed=lambda neuron, host: departed.append(neuron))
    for number in range(1_000):
        directory.receive(announcement(SignalType.REGISTER, f"n{number}", "h", capabilities=["x"]))
    now = 20.0
    directory.receive(announcement(SignalType.HEARTBEAT, "n999", "h"))
    now = 30.0
    assert directory.sweep()
    assert len(departed) == module.SWEEP_SLICE
    assert [directory.find(None, ["x"]) for _ in range(3)] == ["n999"] * 3
    assert directory.find("n998", ["x"]) is None
    assert [record.neuron_id for record in directory.records()] == ["n999"]
    assert len(departed) == 999
    assert not directory.sweep()


# --- bounds -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1_000_000)), max_size=400))
def test_ranking_keeps_few_outdated_buckets(moves: list[tuple[str, int]]) -> None:
    ranking = Ranking()
    busyness: dict[str, float] = {}
    for neuron, load in moves:
        if neuron in busyness:
            ranking.remove(neuron, busyness[neuron])
        ranking.add(neuron, load)
        busyness[neuron] = load
        least = ranking.next_turn()
        assert least is not None
        assert busyness[least] == min(busyness.values())
        assert len(ranking._heap) == len(ranking._buckets) <= 2 * len(ranking) + SLACK + 1
    assert sorted(ranking) == sorted(busyness)


def test_loads_that_only_grow_leave_few_outdated_buckets() -> None:
    ranking = Ranking()
    ranking.add("idle", 0)
    for load in range(1, 10_000):
        ranking.add("busy", load)
        ranking.remove("busy", load)
        assert len(ranking._buckets) <= 2 + SLACK + 1


def test_expiries_that_come_ever_sooner_leave_few_outdated_entries() -> None:
    expiries = Expiries()
    for number in range(10_000):
        expiries.add(("a", "h"), 10_000 - number)
        expiries.add((f"n{number}", "h"), 5.0)
        expiries.discard((f"n{number}", "h"))
        assert len(expiries._heap) <= 2 + SLACK + 1
    assert expiries.pop(0.5) is None
    assert expiries.pop(1.0) == ("a", "h")
    assert expiries.pop(1e9) is None


def test_orders_that_were_not_asked_for_lately_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RANKINGS", 4)
    monkeypatch.setattr(module, "MAX_RANKED", 25)
    directory = filled(10)
    for number in range(100):
        assert directory.find(None, ["x", f"unknown{number}"]) is None
    assert len(directory._rankings) == 4
    assert set().union(*directory._wanted.values()) == set(directory._rankings)
    for wanted in ([], ["x"], ["y"], ["x", "y"]):
        assert directory.find(None, wanted) is not None
    assert [*map(set, directory._rankings)] == [{"x"}, {"y"}, {"x", "y"}]
    # Neurons that join count as well.
    for number in range(10, 18):
        directory.receive(announcement(SignalType.REGISTER, f"n{number}", "h", capabilities=["x", "y"]))
        assert directory._ranked <= 25
    assert [*map(set, directory._rankings)] == [{"x", "y"}]
    assert len(directory._rankings[frozenset("xy")]) == 13
