"""Properties of every budgeted prompt, for all Neurons, tokenizers and limits."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import (
    REQUIRED,
    Budget,
    BudgetExceededError,
    Context,
    DynamicVariableRegistry,
    PromptBuilder,
    Rendered,
)
from cosmo_context.budget import CountTokens, approximate_tokens
from cosmo_context.neuron import Fits

Make = Callable[..., Any]


@attrs.frozen
class Plan:
    """The plan of a Neuron: its text, its importance, and how it shortens its fragment."""

    says: str
    importance: float
    priority: int
    manner: str


def _scattered(text: str) -> int:
    # Far from additive: a longer text can have fewer tokens.
    return zlib.crc32(text.encode()) % 60


TOKENIZERS: dict[str, CountTokens] = {
    "characters": len,
    "approximate": approximate_tokens,
    "words": lambda text: len(text.split()),
    "with an overhead": lambda text: len(text) + 7,
    "square": lambda text: len(text) ** 2 // 8,
    "scattered": _scattered,
}
MANNERS = ("not at all", "honestly", "lies", "longer", "to one character")

tokenizers = st.sampled_from(sorted(TOKENIZERS)).map(TOKENIZERS.__getitem__)
importances = st.sampled_from([0.0, 1.0, 1.0, 2.5, 10.0])
says = st.text("ab ${v}é", max_size=30)
rigid = st.builds(Plan, says, importances, st.integers(0, 3), st.just("not at all"))
plans = st.builds(
    Plan, says, st.one_of(importances, st.just(REQUIRED)), st.integers(0, 3), st.sampled_from(MANNERS)
)


def shortening(plan: Plan) -> Callable[[Fits], Any]:
    async def shorten(fits: Fits) -> str:
        if plan.manner == "honestly":
            return next(
                (plan.says[:end] for end in range(len(plan.says), 0, -1) if fits(plan.says[:end])), ""
            )
        return {
            "not at all": "",
            "lies": plan.says,
            "longer": plan.says * 2,
            "to one character": plan.says[:1],
        }[plan.manner]

    return shorten


def builder_of(scripted: Make, wanted: list[Plan], **settings: Any) -> PromptBuilder:
    builder = PromptBuilder(Context("t", state={"v": "some value"}), **settings)
    for place, plan in enumerate(wanted):
        builder.add_neuron(
            scripted(
                f"n{place}",
                plan.says,
                priority=plan.priority,
                importance=plan.importance,
                shorten=shortening(plan),
            )
        )
    return builder


async def rendered_or_none(builder: PromptBuilder) -> Rendered | None:
    try:
        return await builder.render()
    except BudgetExceededError:
        return None


@given(
    wanted=st.lists(plans, max_size=6),
    count=tokenizers,
    limit=st.integers(1, 80),
    settings=st.sampled_from(
        [
            {},
            {"separator": ""},
            {"layout": "cache"},
            {"escape_tags": True},
            {"variables": DynamicVariableRegistry()},
            {"variables": DynamicVariableRegistry(), "resolve_in_data": True},
        ]
    ),
)
async def test_prompt_is_within_its_budget_and_every_change_is_reported(
    scripted: Make, wanted: list[Plan], count: CountTokens, limit: int, settings: dict[str, Any]
) -> None:
    builder = builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit), **settings)
    rendered = await rendered_or_none(builder)
    if rendered is None:
        return
    assert count(rendered.text) == rendered.tokens <= limit
    whole = await builder_of(scripted, wanted, **settings).render()
    for fragment, before in zip(rendered.fragments, whole.fragments, strict=True):
        assert fragment.neuron == before.neuron
        changed = fragment.text != before.text
        assert changed == (fragment.status in {"shortened", "dropped"})
        assert changed == (fragment.reason is not None)
        assert (fragment.status == "dropped") <= (fragment.text == "")


@given(wanted=st.lists(plans, max_size=6), count=tokenizers, limit=st.integers(1, 80))
async def test_required_fragments_are_unchanged_or_named_in_the_error(
    scripted: Make, wanted: list[Plan], count: CountTokens, limit: int
) -> None:
    builder = builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit))
    required = {f"n{place}" for place, plan in enumerate(wanted) if plan.importance == REQUIRED and plan.says}
    rendered = await rendered_or_none(builder)
    if rendered is not None:
        assert {item.neuron for item in rendered.fragments if item.status == "kept"} >= required
        return
    with pytest.raises(BudgetExceededError) as caught:
        await builder.build()
    assert caught.value.tokens > caught.value.limit == limit
    assert all(name in str(caught.value) for name in required)
    # Only required fragments exceed the budget, except with a tokenizer that counts an empty prompt.
    assert required or count("") > limit


@given(wanted=st.lists(plans, max_size=6), count=tokenizers, limit=st.integers(1, 80))
async def test_no_fragment_is_dropped_before_a_less_important_one(
    scripted: Make, wanted: list[Plan], count: CountTokens, limit: int
) -> None:
    rendered = await rendered_or_none(builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit)))
    if rendered is None:
        return
    worth = {f"n{place}": plan.importance for place, plan in enumerate(wanted)}
    dropped = [worth[item.neuron] for item in rendered.fragments if item.status == "dropped"]
    present = [worth[item.neuron] for item in rendered.fragments if item.text]
    assert max(dropped, default=-math.inf) <= min(present, default=math.inf)


@given(
    wanted=st.lists(rigid, max_size=6), count=tokenizers, limit=st.integers(1, 80), more=st.integers(0, 80)
)
async def test_larger_budget_keeps_all_fragments_of_a_smaller_one(
    scripted: Make, wanted: list[Plan], count: CountTokens, limit: int, more: int
) -> None:
    smaller = await rendered_or_none(builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit)))
    larger = await rendered_or_none(
        builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit + more))
    )
    if smaller is None:
        return
    assert larger is not None
    assert {item.neuron for item in smaller.fragments if item.text} <= {
        item.neuron for item in larger.fragments if item.text
    }


@given(
    wanted=st.lists(rigid, max_size=6), count=tokenizers, limit=st.integers(1, 80), reserve=st.integers(0, 80)
)
async def test_reserve_equals_a_smaller_budget(
    scripted: Make, wanted: list[Plan], count: CountTokens, limit: int, reserve: int
) -> None:
    reserved = Budget(limit + reserve, reserve=reserve)
    one = await rendered_or_none(builder_of(scripted, wanted, count_tokens=count, budget=reserved))
    other = await rendered_or_none(builder_of(scripted, wanted, count_tokens=count, budget=Budget(limit)))
    assert (one and one.text) == (other and other.text)


@given(wanted=st.lists(plans, max_size=6))
async def test_large_budget_does_not_change_the_prompt(scripted: Make, wanted: list[Plan]) -> None:
    whole = await builder_of(scripted, wanted).build()
    assert await builder_of(scripted, wanted, budget=Budget(10_000)).build() == whole
