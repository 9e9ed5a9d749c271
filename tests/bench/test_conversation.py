"""The conversation by which the layouts are measured is what it says it is, and both measure as promised."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean

import pytest

from tests.bench.conversation import NINE, Layout, conversation, prompts, shared_share


async def test_the_cache_layout_shares_nine_tenths_of_every_prompt_with_the_one_before() -> None:
    assert await shared_share("cache") >= 0.9


async def test_the_default_order_shares_some_four_per_cent() -> None:
    assert 0.02 <= await shared_share("priority") <= 0.05


async def test_the_prompts_are_of_the_size_that_the_layouts_were_designed_on() -> None:
    rendered = await prompts("cache")
    assert len(rendered) == 60
    assert 26_000 <= mean(len(prompt.text) for prompt in rendered) <= 28_000


async def test_all_nine_take_part_in_every_turn() -> None:
    for rendered in await prompts("cache"):
        assert {fragment.neuron for fragment in rendered.fragments if fragment.text} == set(NINE)


async def test_it_is_the_same_conversation_every_time() -> None:
    once, again = await prompts("priority", 12), await prompts("priority", 12)
    assert [prompt.text for prompt in once] == [prompt.text for prompt in again]


@pytest.mark.parametrize("layout", ["priority", "cache"])
async def test_what_a_prompt_shares_is_what_its_diff_tells(layout: Layout) -> None:
    rendered = await prompts(layout)
    shared = total = 0.0
    for before, after in pairwise(rendered):
        divergence = after.diff(before)
        assert divergence is not None
        size = len(after.text.encode())
        shared += divergence.shared * size
        total += size
    assert shared / total == pytest.approx(await shared_share(layout), abs=1e-9)


async def test_the_cache_layout_parts_where_the_conversation_goes_on_or_something_new_is_known() -> None:
    rendered = await prompts("cache")
    culprits = []
    for before, after in pairwise(rendered):
        divergence = after.diff(before)
        assert divergence is not None
        culprits.append(divergence.neuron)
    # Two artifacts came on the way; all other turns, only the history grew or moved on by a step.
    assert culprits.count("workspace") == 2
    assert set(culprits) == {"workspace", "history"}


def test_a_conversation_is_one_context_that_grows_by_two_messages_a_turn() -> None:
    sizes = [(id(ctx), len(ctx.state["history"])) for ctx in conversation(5)]
    assert sizes == [(sizes[0][0], 2 * turn + 1) for turn in range(5)]
