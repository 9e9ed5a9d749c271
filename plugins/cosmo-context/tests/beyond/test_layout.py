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


async def test_cache_layout_orders_by_stability_then_priority(nine: Nine, known: Known) -> None:
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


async def test_default_layout_orders_by_priority(nine: Nine, known: Known) -> None:
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
async def test_equal_neurons_keep_the_order_of_adding(
    scripted: Make, wanted: list[tuple[Stability, float]], layout: Any
) -> None:
    builder = PromptBuilder(Context("t"), layout=layout)
    for place, (stability, priority) in enumerate(wanted):
        builder.add_neuron(scripted(f"n{place}", "x", stability=stability, priority=priority))
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
async def test_history_is_the_latest_messages_within_the_window(count: int, rounds: int, step: int) -> None:
    history = history_of(count)
    kept = await shown(history, rounds, step=step)
    assert kept == history[count - len(kept) :]
    assert min(count, 1) <= len(kept) <= 2 * rounds


@given(rounds=st.integers(1, 30), step=st.integers(1, 50))
async def test_history_window_moves_once_per_step(rounds: int, step: int) -> None:
    window = 2 * rounds
    starts = [
        count - len(await shown(history_of(count), rounds, step=step)) for count in range(1, 3 * window + 1)
    ]
    assert starts == sorted(starts)
    moves = len(set(starts)) - 1
    # The step is limited to the window, and a window starts with a message of the user, here every second
    # one.
    assert moves <= -(-2 * window // min(step, window))


async def test_history_window_slides_in_the_default_layout(known: Known) -> None:
    ctx = known(history=history_of(45))
    rendered = await PromptBuilder(ctx).add("history").render()
    assert list(rendered.fragments[0].messages or ()) == history_of(45)[5:]


async def test_option_of_add_overrides_the_layout(known: Known) -> None:
    ctx = known(history=history_of(41))
    by_one = await PromptBuilder(ctx, layout="cache").add("history", step=1).render()
    by_twenty = await PromptBuilder(ctx, layout="cache").add("history").render()
    assert [len(rendered.fragments[0].messages or ()) for rendered in (by_one, by_twenty)] == [40, 21]


async def test_truncated_history_does_not_start_with_a_tool_result() -> None:
    history = history_of(47, first="assistant")
    assert await shown(history, 20) == history[20:]
    history[20] = {"role": "tool", "content": "42"}
    assert await shown(history, 20) == history[21:]


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match='layout must be "priority" or "cache", not \'random\''):
        PromptBuilder(Context("t"), layout="random")  # type: ignore[arg-type]
