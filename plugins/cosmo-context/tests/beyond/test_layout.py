"""The cache layout: the most stable fragments first, and a history that moves in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, ContextConfig, PromptBuilder, Rendered, Stability

Make = Callable[..., Any]
Nine = Callable[..., PromptBuilder]
Known = Callable[..., Context]


def order(rendered: Rendered) -> list[str]:
    return [fragment.neuron for fragment in rendered.fragments]


async def test_the_nine_by_stability_and_then_by_priority(nine: Nine, known: Known) -> None:
    assert order(await nine(known(), layout="cache").render()) == [
        "skill",
        "knowledge",
        "workspace",
        "history",
        "task",
        "todo",
        "fact",
        "entity",
        "system",
    ]


async def test_the_nine_by_priority_by_default(nine: Nine, known: Known) -> None:
    by_default = order(await nine(known()).render())
    assert by_default == order(await nine(known(), layout="priority").render())
    assert by_default == [
        "task",
        "todo",
        "history",
        "knowledge",
        "workspace",
        "skill",
        "fact",
        "entity",
        "system",
    ]


@given(
    wanted=st.lists(st.tuples(st.sampled_from(Stability), st.sampled_from([-1, 0, 0.5, 2])), max_size=8),
    layout=st.sampled_from(["priority", "cache"]),
)
async def test_equals_stay_as_they_were_added(
    told: Make, wanted: list[tuple[Stability, float]], layout: Any
) -> None:
    builder = PromptBuilder(Context("t"), layout=layout)
    for place, (stability, priority) in enumerate(wanted):
        builder.add_neuron(told(f"n{place}", "x", stability=stability, priority=priority))
    rendered = await builder.render()
    keys = [
        (fragment.stability if layout == "cache" else 0, fragment.priority, int(fragment.neuron[1:]))
        for fragment in rendered.fragments
    ]
    assert keys == sorted(keys)
    assert len(keys) == len(wanted)


def history_of(count: int, *, first: str = "user") -> list[dict[str, Any]]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[number % 2], "content": f"message {number}"} for number in range(count)]


async def shown(history: list[dict[str, Any]], rounds: int, **options: Any) -> list[dict[str, Any]]:
    ctx = Context("t", state={"history": history}, config=ContextConfig(history_rounds=rounds))
    rendered = await PromptBuilder(ctx, layout="cache").add("history", **options).render()
    return [dict(message) for message in rendered.fragments[0].messages or ()]


@given(count=st.integers(0, 130), rounds=st.integers(1, 30), step=st.integers(1, 50))
async def test_a_history_is_its_latest_messages_never_more_than_its_window(
    count: int, rounds: int, step: int
) -> None:
    history = history_of(count)
    kept = await shown(history, rounds, step=step)
    assert kept == history[count - len(kept) :]
    assert min(count, 1) <= len(kept) <= 2 * rounds


@given(rounds=st.integers(1, 30), step=st.integers(1, 50))
async def test_its_beginning_moves_only_once_in_a_step(rounds: int, step: int) -> None:
    window = 2 * rounds
    starts = [
        count - len(await shown(history_of(count), rounds, step=step)) for count in range(1, 3 * window + 1)
    ]
    assert starts == sorted(starts)
    moves = len(set(starts)) - 1
    # A window cannot move by more than itself, and begins with a user's message: every second one here.
    assert moves <= -(-2 * window // min(step, window))


async def test_without_the_layout_it_slides(known: Known) -> None:
    ctx = known(history=history_of(45))
    rendered = await PromptBuilder(ctx).add("history").render()
    assert list(rendered.fragments[0].messages or ()) == history_of(45)[5:]


async def test_an_option_given_to_add_goes_before_the_layouts(known: Known) -> None:
    ctx = known(history=history_of(41))
    by_one = await PromptBuilder(ctx, layout="cache").add("history", step=1).render()
    by_twenty = await PromptBuilder(ctx, layout="cache").add("history").render()
    assert [len(rendered.fragments[0].messages or ()) for rendered in (by_one, by_twenty)] == [40, 21]


async def test_a_history_that_was_cut_begins_with_no_result_of_a_tool() -> None:
    history = history_of(47, first="assistant")
    assert await shown(history, 20) == history[20:]
    history[20] = {"role": "tool", "content": "42"}
    assert await shown(history, 20) == history[21:]


def test_no_other_layout_is_known() -> None:
    with pytest.raises(ValueError, match='layout is "priority" or "cache", not \'random\''):
        PromptBuilder(Context("t"), layout="random")  # type: ignore[arg-type]
