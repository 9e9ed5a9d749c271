"""PromptBuilder: the order of fragments, empty fragments, and adding Neurons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import (
    Context,
    ContextNeuronError,
    FactNeuron,
    Neuron,
    PromptBuilder,
    PromptBuilderError,
    RegistryError,
    StateNeuron,
)
from cosmo_core import CosmoError

MakeFixed = Callable[..., Any]


class Placed(Neuron):
    """Returns its own name after one loop iteration."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        await asyncio.sleep(0)
        return self.name


class PlacedAtOnce(StateNeuron):
    """Returns its own name without waiting."""

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return self.name


@pytest.fixture
def builder() -> PromptBuilder:
    return PromptBuilder(Context("t"))


# --- order --------------------------------------------------------------------------------------------

PRIORITIES = st.one_of(
    st.integers(-3, 3), st.integers(), st.floats(allow_nan=False), st.sampled_from([0.5, -0.0, 0.0])
)


@given(st.lists(st.tuples(PRIORITIES, st.sampled_from([Placed, PlacedAtOnce])), max_size=12))
async def test_neurons_are_ordered_by_priority_and_stably(
    entries: list[tuple[float, type[Placed | PlacedAtOnce]]],
) -> None:
    builder = PromptBuilder(Context("t"), separator="|")
    for place, (priority, kind) in enumerate(entries):
        builder.add_neuron(kind(str(place), priority=priority))
    built = await builder.build()
    told = [int(place) for place in built.split("|")] if built else []
    assert sorted(told) == list(range(len(entries)))
    for earlier, later in pairwise(told):
        assert (entries[earlier][0], earlier) < (entries[later][0], later)


async def test_neuron_can_be_added_twice(builder: PromptBuilder, fixed: MakeFixed) -> None:
    again = fixed("again")
    builder.add_neuron(again).add_neuron(fixed("first", priority=1)).add_neuron(again)
    assert await builder.build() == "first\n\nagain\n\nagain"
    assert len(builder) == 3


async def test_option_named_priority_does_not_change_the_order(
    builder: PromptBuilder, fixed: MakeFixed
) -> None:
    builder.add_neuron(fixed("a", priority=1), priority=9).add_neuron(fixed("b", priority=2), priority=0)
    assert await builder.build() == "a\n\nb"


# --- empty fragments and separators -------------------------------------------------------------------


async def test_builder_without_neurons_returns_an_empty_prompt(builder: PromptBuilder) -> None:
    assert await builder.build() == ""


@pytest.mark.parametrize("nothing", ["", None])
async def test_empty_fragment_adds_no_separator(
    builder: PromptBuilder, fixed: MakeFixed, nothing: str | None
) -> None:
    for fragment in (nothing, "a", nothing, nothing, "b", nothing):
        builder.add_neuron(fixed(fragment))
    assert await builder.build() == "a\n\nb"


async def test_empty_fragments_make_an_empty_prompt(builder: PromptBuilder, fixed: MakeFixed) -> None:
    assert await builder.add_neuron(fixed("")).add_neuron(fixed(None)).build() == ""


async def test_white_space_is_a_fragment(builder: PromptBuilder, fixed: MakeFixed) -> None:
    for fragment in (" ", "a\n", "\n\t"):
        builder.add_neuron(fixed(fragment))
    assert await builder.build() == " \n\na\n\n\n\n\t"


@pytest.mark.parametrize("separator", ["", "\n", "\n---\n", "$&", "\\1", "${x}"])
async def test_separator_is_only_between_fragments(fixed: MakeFixed, separator: str) -> None:
    builder = PromptBuilder(Context("t"), separator=separator)
    for fragment in ("a", "", "b", "c"):
        builder.add_neuron(fixed(fragment))
    assert await builder.build() == f"a{separator}b{separator}c"


# --- adding -------------------------------------------------------------------------------------------


async def test_options_are_passed_to_format(builder: PromptBuilder, fixed: MakeFixed) -> None:
    neuron = fixed("a")
    await builder.add_neuron(neuron, limit=3, name="x").add_neuron(neuron).build()
    assert neuron.options == [{"limit": 3, "name": "x"}, {}]


async def test_options_can_have_any_name_that_format_accepts(
    builder: PromptBuilder, fixed: MakeFixed
) -> None:
    neuron = fixed("a")
    await builder.add_neuron(neuron, neuron="n", neuron_name="x").build()
    assert neuron.options == [{"neuron": "n", "neuron_name": "x"}]


async def test_unknown_option_is_an_error_that_names_the_neuron(
    builder: PromptBuilder, fixed: MakeFixed
) -> None:
    builder.add_neuron(fixed("a", "greedy"), ctx=1)
    with pytest.raises(ContextNeuronError, match=r"'greedy' failed: TypeError: .* multiple values") as caught:
        await builder.build()
    assert isinstance(caught.value.__cause__, TypeError)


def test_add_can_be_chained(builder: PromptBuilder) -> None:
    assert builder.add("task") is builder
    assert builder.add_neuron(FactNeuron()) is builder
    assert builder.clear() is builder


def test_unknown_name_is_an_error_at_once(builder: PromptBuilder) -> None:
    builder.add("task")
    with pytest.raises(PromptBuilderError) as caught:
        builder.add("wether")
    assert str(caught.value).startswith("Neuron 'wether' not found in neuron_registry: ")
    nine = ("entity", "fact", "history", "knowledge", "skill", "system", "task", "todo", "workspace")
    assert all(f"{name} (cosmo-context" in str(caught.value) for name in nine)
    assert isinstance(caught.value.__cause__, RegistryError)
    assert isinstance(caught.value, CosmoError)
    assert len(builder) == 1


@pytest.mark.parametrize("wrong", ["task", None, FactNeuron, lambda ctx: "a"])
def test_add_neuron_refuses_other_objects(builder: PromptBuilder, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a cosmo_context\.Neuron, not "):
        builder.add_neuron(wrong)
    assert len(builder) == 0


# --- building again -----------------------------------------------------------------------------------


async def test_builder_can_build_again() -> None:
    ctx = Context("t", state={"facts": ["a"]})
    builder = PromptBuilder(ctx).add("fact")
    assert await builder.build() == await builder.build() == "<facts>\n  - a\n</facts>"
    ctx.state["facts"] = ["b"]
    assert await builder.build() == "<facts>\n  - b\n</facts>"


async def test_clear_removes_all_neurons(builder: PromptBuilder, fixed: MakeFixed) -> None:
    builder.add_neuron(fixed("a")).clear().add_neuron(fixed("b"))
    assert len(builder) == 1
    assert await builder.build() == "b"


async def test_builds_can_overlap(builder: PromptBuilder) -> None:
    for name in "abc":
        builder.add_neuron(Placed(name))
    assert await asyncio.gather(*(builder.build() for _ in range(3))) == ["a\n\nb\n\nc"] * 3


def test_repr_names_neurons_in_the_order_of_adding(builder: PromptBuilder) -> None:
    assert repr(builder) == "PromptBuilder(neurons=[])"
    builder.add("system").add("task").add_neuron(FactNeuron("mine"))
    assert repr(builder) == "PromptBuilder(neurons=['system', 'task', 'mine'])"


def test_builder_has_its_context() -> None:
    ctx = Context("t")
    assert PromptBuilder(ctx).ctx is ctx
