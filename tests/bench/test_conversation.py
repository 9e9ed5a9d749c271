"""The conversation that measures prompt layouts, and the shares of both layouts."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean

import pytest

from tests.bench.conversation import NINE, Layout, conversation, prompts, shared_share


async def test_cache_layout_shares_nine_tenths_with_previous_prompt() -> None:
    assert await shared_share("cache") >= 0.9


async def test_default_layout_shares_about_four_per_cent() -> None:
    assert 0.02 <= await shared_share("priority") <= 0.05


async def test_prompts_have_size_that_layouts_were_designed_for() -> None:
    rendered = await prompts("cache")
    assert len(rendered) == 60
    assert 26_000 <= mean(len(prompt.text) for prompt in rendered) <= 28_000


async def test_every_prompt_has_text_of_all_nine_neurons() -> None:
    for rendered in await prompts("cache"):
        assert {fragment.neuron for fragment in rendered.fragments if fragment.text} == set(NINE)


async def test_conversation_is_deterministic() -> None:
    once, again = await prompts("priority", 12), await prompts("priority", 12)
    assert [prompt.text for prompt in once] == [prompt.text for prompt in again]


@pytest.mark.parametrize("layout", ["priority", "cache"])
async def test_shared_share_equals_diff_of_prompts(layout: Layout) -> None:
    rendered = await prompts(layout)
    shared = total = 0.0
    for before, after in pairwise(rendered):
        divergence = after.diff(before)
        assert divergence is not None
        size = len(after.text.encode())
        shared += divergence.shared * size
        total += size
    assert shared / total == pytest.approx(await shared_share(layout), abs=1e-9)


async def test_cache_layout_diverges_only_at_history_and_workspace() -> None:
    rendered = await prompts("cache")
    diverging = []
    for before, after in pairwise(rendered):
        divergence = after.diff(before)
        assert divergence is not None
        diverging.append(divergence.neuron)
    # Two artifacts were added; in all other turns the prompts diverge in the history.
    assert diverging.count("workspace") == 2
    assert set(diverging) == {"workspace", "history"}


def test_conversation_is_one_context_that_grows_by_two_messages_per_turn() -> None:
    sizes = [(id(ctx), len(ctx.state["history"])) for ctx in conversation(5)]
    assert sizes == [(sizes[0][0], 2 * turn + 1) for turn in range(5)]
