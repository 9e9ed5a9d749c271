"""The state of a Context: own values, and current values of the parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from cosmo_context import Context, ContextState, FactNeuron

KEYS = st.sampled_from(["a", "b", "c", ""])
VALUES = st.none() | st.integers(0, 3) | st.text(max_size=2)


class Model:
    """The model of a `ContextState`: a chain of dicts."""

    def __init__(self, parent: Model | None) -> None:
        self.own: dict[str, Any] = {}
        self.parent = parent

    @property
    def readable(self) -> dict[str, Any]:
        inherited = self.parent.readable if self.parent else {}
        return inherited | self.own


class StateMachine(RuleBasedStateMachine):
    """Forks, writes and deletes, and compares every state with its model after each step."""

    states = Bundle("states")

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[ContextState, Model]] = []

    def _new(self, parent: tuple[ContextState, Model] | None) -> tuple[ContextState, Model]:
        state = ContextState(parent=parent[0] if parent else None)
        self.pairs.append((state, Model(parent[1] if parent else None)))
        return self.pairs[-1]

    @initialize(target=states)
    def root(self) -> tuple[ContextState, Model]:
        return self._new(None)

    @rule(target=states, parent=states)
    def fork(self, parent: tuple[ContextState, Model]) -> tuple[ContextState, Model]:
        return self._new(parent)

    @rule(pair=states, key=KEYS, value=VALUES, how=st.sampled_from(["set", "[]", "update", "keyword"]))
    def write(self, pair: tuple[ContextState, Model], key: str, value: object, how: str) -> None:
        state, model = pair
        match how:
            case "set":
                state.set(key, value)
            case "[]":
                state[key] = value
            case "update":
                state.update({key: value})
            case _:
                state.update(**{key: value})
        model.own[key] = value

    @rule(pair=states, other=states)
    def take_over(self, pair: tuple[ContextState, Model], other: tuple[ContextState, Model]) -> None:
        pair[0].update(other[0])
        pair[1].own.update(other[1].own)

    @rule(pair=states, key=KEYS, delete=st.sampled_from([ContextState.delete, ContextState.__delitem__]))
    def forget(
        self, pair: tuple[ContextState, Model], key: str, delete: Callable[[ContextState, str], None]
    ) -> None:
        state, model = pair
        if key in model.own:
            delete(state, key)
            del model.own[key]
        else:
            with pytest.raises(KeyError):
                delete(state, key)

    @rule(pair=states, key=KEYS)
    def pop(self, pair: tuple[ContextState, Model], key: str) -> None:
        state, model = pair
        if key in model.own:
            assert state.pop(key) == model.own.pop(key)
        else:
            assert state.pop(key, "default") == "default"
            with pytest.raises(KeyError):
                state.pop(key)

    @rule(pair=states)
    def clear(self, pair: tuple[ContextState, Model]) -> None:
        pair[0].clear()
        pair[1].own.clear()

    @invariant()
    def every_state_reads_as_its_model(self) -> None:
        for state, model in self.pairs:
            readable = model.readable
            assert state.to_dict() == readable
            assert list(state) == list(state.keys()) == list(readable)
            assert len(state) == len(readable)
            assert bool(state) == bool(readable)
            assert state.local_dict() == model.own
            for key in ("a", "b", "c", "", "d"):
                assert state.get(key, "default") == readable.get(key, "default")
                assert (key in state) == (key in readable)

    @invariant()
    def a_key_that_is_nowhere_is_an_error(self) -> None:
        for state, _ in self.pairs:
            assert state.get("d") is None
            with pytest.raises(KeyError, match="d"):
                state["d"]


TestStates = StateMachine.TestCase


def test_current_parent_value_is_read() -> None:
    parent = ContextState({"a": 1})
    child = ContextState(parent=parent)
    parent["a"] = 2
    assert child["a"] == 2
    assert child.parent is parent


def test_own_none_hides_the_parent_value() -> None:
    child = ContextState({"a": None}, parent=ContextState({"a": 1}))
    assert child.get("a", "default") is None
    assert child["a"] is None
    assert "a" in child


def test_values_are_not_copied() -> None:
    shared = [1]
    child = ContextState(parent=ContextState({"a": shared}))
    assert child["a"] is shared


def test_initial_values_are_copied_and_only_own_ones_of_a_state() -> None:
    values = {"a": 1}
    other = ContextState(values, parent=ContextState({"b": 2}))
    values["a"] = 3
    assert ContextState(other).to_dict() == {"a": 1}


def test_key_can_be_any_string() -> None:
    state = ContextState()
    state.update({"a": 1}, values=2, self=3, key=4)
    assert state.to_dict() == {"a": 1, "values": 2, "self": 3, "key": 4}


def test_returned_dicts_are_new() -> None:
    state = ContextState({"a": 1})
    state.to_dict()["b"] = state.local_dict()["b"] = 2
    assert list(state) == ["a"]


def test_state_can_change_while_its_keys_are_read() -> None:
    state = ContextState({"a": 1, "b": 2})
    for key in state:
        state.delete(key)
    assert len(state) == 0


def test_repr_shows_keys_without_values() -> None:
    state = ContextState({"token": "hush"}, parent=ContextState({"a": "hush"}))
    assert repr(state) == "<ContextState ['a', 'token']>"


async def test_chain_of_five_thousand_forks_needs_no_recursion() -> None:
    root = Context("root", state={"facts": ["from the root"]})
    leaf = root
    for depth in range(5_000):
        leaf = leaf.fork(f"fork {depth}")
    assert leaf.state["facts"] == ["from the root"]
    assert "nothing" not in leaf.state
    assert len(leaf.state) == 1
    root.state["facts"] = ["later"]
    assert await FactNeuron().format(leaf) == "<facts>\n  - later\n</facts>"
    assert leaf.snapshot().values == {"facts": ["later"]}
    assert repr(leaf) == "Context(task_id='fork 4999', parent='fork 4998')"
