"""The subject table against a simple model: a list and a recursive match."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cosmo_core import SynapseError
from cosmo_core.routing import MAX_CACHED_ROUTES, MAX_SUBJECT, Route, SubjectTable
from cosmo_core.routing.table import MAX_COMPARED
from tests.counting import work_of

TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    tokens = draw(st.lists(TOKENS | st.just("*"), min_size=0, max_size=3))
    last = draw(st.just(">") | TOKENS | st.just("*"))
    return ".".join([*tokens, last])


def matches(pattern: list[str], subject: list[str]) -> bool:
    if pattern == [">"]:
        return len(subject) > 0
    if not pattern or not subject:
        return not pattern and not subject
    return pattern[0] in {"*", subject[0]} and matches(pattern[1:], subject[1:])


class RoutingMachine(RuleBasedStateMachine):
    """Adds and removes subscriptions, and compares the routes with the model."""

    added = Bundle("added")

    def __init__(self) -> None:
        super().__init__()
        self.table: SubjectTable[object] = SubjectTable()
        self.model: list[tuple[str, object, str | None]] = []
        self.made = 0

    @rule(target=added, pattern=patterns(), group=st.none() | st.sampled_from(["g", "h"]))
    def add(self, pattern: str, group: str | None) -> tuple[str, object, str | None]:
        self.made += 1
        entry = (pattern, f"target {self.made}", group)
        self.table.add(pattern, entry[1], group)
        self.model.append(entry)
        return entry

    @rule(entry=consumes(added))
    def remove(self, entry: tuple[str, object, str | None]) -> None:
        self.table.remove(*entry)
        self.model.remove(entry)

    @rule(subject=SUBJECTS)
    def route(self, subject: str) -> None:
        self.check(subject, self.table.route(subject))

    @invariant()
    def cached_routes_are_those_of_a_fresh_look(self) -> None:
        cached = self.table.cached
        for subject, route in cached.items():
            self.check(subject, route)
        assert self.table._cached_targets == sum(len(route.targets) for route in cached.values())
        assert sorted(chain.from_iterable(self.table._by_last.values())) == sorted(cached)
        assert all(self.table._by_last.values())

    def check(self, subject: str, route: Route[object]) -> None:
        expected = [entry for entry in self.model if matches(entry[0].split("."), subject.split("."))]
        singles = Counter(target for _, target, group in expected if group is None)
        assert Counter(route.targets) == singles
        groups: dict[str, set[object]] = {}
        for _, target, group in expected:
            if group is not None:
                groups.setdefault(group, set()).add(target)
        assert Counter(frozenset(group.members) for group in route.groups) == Counter(
            map(frozenset, groups.values())
        )
        assert sum(len(group.members) for group in route.groups) == sum(map(len, groups.values()))
        for name in ("g", "h"):
            found = self.table.group(subject, name)
            assert (set() if found is None else set(found.members)) == groups.get(name, set())
            assert found is next((each for each in route.groups if each.name == name), None)

    @invariant()
    def an_empty_table_has_no_nodes(self) -> None:
        if not self.model:
            assert not self.table._root.children


TestRouting = RoutingMachine.TestCase


@pytest.mark.clause("P-3.6")
@given(st.integers(1, 5), st.integers(1, 40))
def test_the_members_of_a_queue_group_take_turns(members: int, frames: int) -> None:
    table: SubjectTable[int] = SubjectTable()
    for member in range(members):
        table.add("work", member, "group")
    picked = Counter(table.route("work").groups[0].pick() for _ in range(frames))
    assert max(picked.values()) - min(picked[member] for member in range(members)) <= 1


@pytest.mark.clause("P-3.2")
@given(st.text(alphabet=st.sampled_from("ab.*> \n\0\u0430"), max_size=8))
def test_a_subject_consists_of_names(subject: str) -> None:
    table: SubjectTable[int] = SubjectTable()
    table.add(">", 1)
    if all(set(token) <= {"a", "b"} and token for token in subject.split(".")):
        assert table.route(subject).targets == (1,)
    else:
        with pytest.raises(SynapseError, match="is not a valid subject"):
            table.route(subject)


@pytest.mark.clause("P-3.2")
@pytest.mark.parametrize("pattern", ["", ".", "a.", "a..b", "a.>.b", "a*", "a b", "a.>>", "\n", "ä"])
def test_a_malformed_pattern_is_rejected(pattern: str) -> None:
    with pytest.raises(SynapseError, match="is not a valid pattern"):
        SubjectTable[int]().add(pattern, 1)


@pytest.mark.clause("P-3.2")
def test_a_subject_or_a_pattern_longer_than_the_limit_is_rejected() -> None:
    table: SubjectTable[int] = SubjectTable()
    longest = "a." * 255 + "ab"
    assert len(longest) == MAX_SUBJECT
    table.add(longest, 1)
    assert table.route(longest).targets == (1,)
    for reject in (table.route, lambda pattern: table.add(pattern, 1)):
        with pytest.raises(SynapseError, match="513 characters"):
            reject(longest + "c")


@pytest.mark.clause("P-3.1")
def test_a_malformed_queue_group_is_rejected() -> None:
    with pytest.raises(SynapseError, match="queue group"):
        SubjectTable[int]().add("a", 1, "no good")


def test_the_route_cache_is_bounded() -> None:
    table: SubjectTable[int] = SubjectTable()
    table.add("inbox.>", 1)
    for number in range(MAX_CACHED_ROUTES + 10):
        assert table.route(f"inbox.n{number}").targets == (1,)
    assert len(table.cached) <= MAX_CACHED_ROUTES


# --- the work of a change -----------------------------------------------------------------------------------


def work_beside(others: int, pattern: str, subject: str) -> list[int]:
    """Return the work of adding, using and removing a target beside others whose routes are cached."""
    table: SubjectTable[int] = SubjectTable()
    for number in range(others):
        table.add(f"ns.*.inbox.n{number}", number, f"n{number}")
        table.add(f"ns.TASK.neuron.n{number}", number, f"n{number}")
        table.route(f"ns.TASK.neuron.n{number}")
        table.route(f"ns.OUTPUT.inbox.n{number}")
    before = dict(table.cached)
    table.route(subject)
    work = []
    for group in ("warm", "group", None):
        for step in (table.add, table.remove):
            work.append(work_of(partial(step, pattern, 1, group)))
            work.append(work_of(partial(table.route, subject)))
    del table.cached[subject]
    assert table.cached.keys() == before.keys()
    assert all(route is before[each] for each, route in table.cached.items())
    return work[4:]


@pytest.mark.parametrize("pattern", ["ns.*.inbox.mine", "ns.OUTPUT.inbox.mine"])
def test_a_change_costs_the_same_beside_thousands_of_others_and_keeps_their_routes(pattern: str) -> None:
    few, many = (work_beside(others, pattern, "ns.OUTPUT.inbox.mine") for others in (10, 4000))
    assert few == many


@pytest.mark.parametrize("others", [MAX_COMPARED - 1, MAX_COMPARED + 1, 5 * MAX_COMPARED])
def test_a_pattern_is_compared_with_a_limited_number_of_routes(others: int) -> None:
    table: SubjectTable[int] = SubjectTable()
    table.add("*.same", 1)
    for number in range(others):
        assert table.route(f"n{number}.same").targets == (1,)
    assert work_of(partial(table.add, "n7.*.same", 2)) <= 20 * MAX_COMPARED
    assert (len(table.cached) == others) == (others <= MAX_COMPARED)
    table.add("*.same", 3)
    assert table.route("n7.same").targets == (1, 3)


def test_groups_of_different_patterns_are_merged_while_a_route_has_them() -> None:
    table: SubjectTable[int] = SubjectTable()
    table.add("w.>", 1, "g")
    table.add("w.a.*", 2, "g")
    table.add("*.a.b", 3, "g")
    merged = table.route("w.a.b").groups[0]
    assert table.route("w.a.c").groups[0] is not merged
    assert sorted(merged.pick() for _ in range(6)) == [1, 1, 2, 2, 3, 3]
    table.add("other", 4)
    assert table.route("w.a.b").groups[0] is merged
    table.remove("*.a.b", 3, "g")
    assert sorted(table.route("w.a.b").groups[0].members) == [1, 2]
    assert table.route("w.a.b").groups[0] is table.route("w.a.c").groups[0]
    del merged
    table.remove("w.>", 1, "g")
    assert [table.route("w.a.b").groups[0].size, len(table._merged)] == [1, 0]
