"""The Context: forks, merges and snapshots."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Checkpoint, Context, ContextConfig, ContextError, ContextState, make_config
from cosmo_context.context import MAX_CHECKPOINTS
from cosmo_core import CosmoError


def clock() -> datetime:
    return datetime(2025, 1, 15, tzinfo=UTC)


# --- making one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", ["", None])
def test_empty_task_id_is_an_error(task_id: Any) -> None:
    with pytest.raises(ContextError, match=r"^task_id is required and must be non-empty$") as caught:
        Context(task_id)
    assert isinstance(caught.value, CosmoError)
    with pytest.raises(ContextError):
        Context("t").fork(task_id)


def test_context_has_defaults() -> None:
    ctx = Context("t")
    assert (ctx.task_id, ctx.parent, ctx.config, ctx.checkpoints) == ("t", None, ContextConfig(), ())
    assert len(ctx.state) == 0
    assert ctx.clock().tzinfo is UTC
    assert repr(ctx) == "Context(task_id='t')"


@pytest.mark.parametrize("attribute", ["task_id", "config", "parent", "state", "clock", "checkpoints"])
def test_attributes_are_read_only(attribute: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Context("t"), attribute, None)


def test_given_state_is_used_without_the_parents_values() -> None:
    state = ContextState({"a": 1})
    ctx = Context("t", parent=Context("p", state={"b": 2}), state=state)
    assert ctx.state is state
    assert ctx.state.to_dict() == {"a": 1}


def test_given_empty_state_is_used() -> None:
    state = ContextState()
    assert Context("t", state=state).state is state


def test_first_values_override_those_of_the_parent() -> None:
    ctx = Context("t", parent=Context("p", state={"a": 1, "b": 2}), state={"a": 3})
    assert ctx.state.to_dict() == {"a": 3, "b": 2}


# --- fork and merge -----------------------------------------------------------------------------------


def test_fork_reads_current_parent_values_and_writes_its_own() -> None:
    parent = Context("p", state={"a": 1})
    child = parent.fork("c")
    parent.state["b"] = 2
    child.state["a"] = 3
    assert child.state.to_dict() == {"a": 3, "b": 2}
    assert parent.state.to_dict() == {"a": 1, "b": 2}
    assert child.parent is parent
    assert repr(child) == "Context(task_id='c', parent='p')"


def test_fork_inherits_config_and_clock() -> None:
    parent = Context("p", config=make_config("pilot"), clock=clock)
    child = parent.fork("c").fork("d")
    assert child.config is parent.config
    assert child.clock is clock


def test_child_can_have_its_own_config_and_clock() -> None:
    child = Context(
        "c", parent=Context("p", config=make_config("pilot")), config=ContextConfig(), clock=clock
    )
    assert child.config == ContextConfig()
    assert child.clock is clock


def test_merge_copies_only_own_values_of_the_child() -> None:
    parent = Context("p", state={"kept": 1, "changed": 1, "deleted": 1})
    child = parent.fork("c")
    child.state.update({"changed": 2, "new": None})
    child.state["deleted"] = 2
    child.state.delete("deleted")
    parent.state["kept"] = 9
    parent.merge(child)
    assert parent.state.local_dict() == {"kept": 9, "changed": 2, "deleted": 1, "new": None}
    assert child.state.local_dict() == {"changed": 2, "new": None}


def test_merge_does_not_change_the_grandparent() -> None:
    root = Context("r", state={"a": 1, "b": 1})
    parent = root.fork("p")
    child = parent.fork("c")
    child.state["a"] = 2
    parent.merge(child)
    assert root.state.local_dict() == {"a": 1, "b": 1}
    assert parent.state.local_dict() == {"a": 2}


def test_second_merge_changes_nothing() -> None:
    parent = Context("p")
    child = parent.fork("c")
    child.state["a"] = 1
    parent.merge(child)
    once = parent.state.to_dict()
    parent.merge(child)
    assert parent.state.to_dict() == once == {"a": 1}


def test_merge_refuses_a_context_that_is_not_a_child() -> None:
    parent = Context("p")
    child = parent.fork("c")
    strangers = [parent, child.fork("grandchild"), Context("x"), Context("p").fork("c")]
    strangers[1].state["a"] = strangers[3].state["a"] = 1
    for stranger in strangers:
        with pytest.raises(ContextError, match=f"^Context '{stranger.task_id}' is not a child of 'p'$"):
            parent.merge(stranger)
    assert len(parent.state) == 0


# --- snapshots ----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=3), st.dictionaries(st.text(), JSON, max_size=3))
def test_restore_returns_all_readable_values(inherited: dict[str, Any], own: dict[str, Any]) -> None:
    ctx = Context("t", parent=Context("p", state=inherited), state=own)
    restored = Context.restore(ctx.snapshot())
    assert restored.state.local_dict() == ctx.state.to_dict() == inherited | own
    assert (restored.task_id, restored.parent, restored.checkpoints) == ("t", None, ())


def test_later_changes_do_not_affect_a_snapshot() -> None:
    ctx = Context("t", state={"todos": [{"item": "a", "done": False}]})
    checkpoint = ctx.snapshot()
    ctx.state["todos"][0]["done"] = True
    ctx.state["todos"].append({"item": "b"})
    ctx.state["more"] = 1
    assert checkpoint.values == {"todos": [{"item": "a", "done": False}]}


def test_snapshot_can_be_restored_twice() -> None:
    checkpoint = Context("t", state={"todos": [{"item": "a"}]}).snapshot()
    first = Context.restore(checkpoint)
    first.state["todos"][0]["item"] = "changed"
    first.state["more"] = 1
    assert Context.restore(checkpoint).state.to_dict() == {"todos": [{"item": "a"}]}


def test_shared_objects_stay_shared_in_a_snapshot() -> None:
    shared: list[int] = []
    restored = Context.restore(Context("t", state={"a": shared, "b": [shared]}).snapshot())
    restored.state["a"].append(1)
    assert restored.state["b"] == [[1]]
    assert shared == []


def test_restore_makes_a_new_context() -> None:
    ctx = Context("t", state={"a": 1}, config=make_config("pilot"))
    checkpoint = ctx.snapshot()
    ctx.state["a"] = 2
    assert ctx.restore(checkpoint).state["a"] == 1
    assert ctx.state["a"] == 2
    assert Context.restore(checkpoint).config == ContextConfig()
    assert Context.restore(checkpoint, config=ctx.config).config is ctx.config


def test_snapshots_are_numbered_and_have_metadata() -> None:
    ctx = Context("t")
    metadata = {"why": "before the tool"}
    first, second = ctx.snapshot(metadata=metadata), ctx.snapshot()
    metadata["why"] = "changed"
    assert [(c.task_id, c.version, c.metadata) for c in (first, second)] == [
        ("t", 1, {"why": "before the tool"}),
        ("t", 2, {}),
    ]
    assert ctx.checkpoints == (first, second)
    assert ctx.fork("c").snapshot().version == 1


def test_only_the_latest_snapshots_are_kept() -> None:
    ctx = Context("t")
    for number in range(MAX_CHECKPOINTS + 3):
        ctx.state["number"] = number
        ctx.snapshot()
    assert len(ctx.checkpoints) == MAX_CHECKPOINTS == 64
    assert [c.version for c in ctx.checkpoints] == list(range(4, MAX_CHECKPOINTS + 4))
    assert ctx.checkpoints[-1].values == {"number": MAX_CHECKPOINTS + 2}


def test_value_that_cannot_be_copied_is_an_error_that_names_its_key() -> None:
    ctx = Context("t", state={"fine": 1, "guard": [threading.Lock()]})
    with pytest.raises(
        ContextError, match=r"^Context 't' cannot be copied: state key 'guard' holds a list$"
    ) as e:
        ctx.snapshot()
    assert isinstance(e.value.__cause__, TypeError)
    assert ctx.checkpoints == ()
    ctx.state.delete("guard")
    assert ctx.snapshot().version == 1


def test_checkpoint_repr_shows_no_values_and_is_immutable() -> None:
    checkpoint = Context("t", state={"token": "hush"}).snapshot()
    assert "hush" not in repr(checkpoint)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        checkpoint.version = 7  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [None, {}, "hush", Context("t")])
def test_restore_refuses_other_objects(wrong: Any) -> None:
    with pytest.raises(ContextError, match=f"^expected a Checkpoint, not {type(wrong).__name__}$"):
        Context.restore(wrong)


def test_checkpoint_can_be_constructed() -> None:
    restored = Context.restore(Checkpoint(task_id="t", version=1, values={"a": 1}))
    assert (restored.task_id, restored.state.to_dict()) == ("t", {"a": 1})
