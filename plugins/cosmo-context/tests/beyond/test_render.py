"""`render()`: the prompt with every fragment's Neuron, span, tokens, time and fate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import (
    Budget,
    Context,
    ContextConfig,
    DynamicVariableRegistry,
    Neuron,
    PromptBuilder,
    Rendered,
)

Make = Callable[..., Neuron]
Nine = Callable[..., PromptBuilder]
Known = Callable[..., Context]

SETTINGS: list[dict[str, Any]] = [
    {},
    {"layout": "cache"},
    {"separator": ""},
    {"separator": " --- "},
    {"escape_tags": True},
    {"resolve_in_data": True},
    {"resolve_in_data": True, "escape_tags": True},
    {"budget": Budget(80)},
    {"budget": Budget(90, importance={"task": 5}), "resolve_in_data": True},
]
texts = st.text(st.sampled_from("ab${}name. \n<>/facts[]:ü\ufdd0"), max_size=40)


def spans_are_right(rendered: Rendered) -> None:
    last = 0
    for fragment in rendered.fragments:
        assert rendered.text[fragment.start : fragment.end] == fragment.text
        if fragment.text:
            assert last <= fragment.start
            last = fragment.end
        else:
            assert fragment.start == fragment.end
    assert last == len(rendered.text)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@given(text=texts, value=texts)
async def test_a_span_is_where_the_fragment_is(
    settings: dict[str, Any], nine: Nine, known: Known, text: str, value: str
) -> None:
    ctx = known(text, name=value)
    rendered = await nine(ctx, variables=DynamicVariableRegistry(), **settings).render()
    spans_are_right(rendered)
    assert [fragment.text for fragment in rendered.fragments if fragment.text] == (
        [fragment.text for fragment in rendered.fragments if fragment.status in {"kept", "shortened"}]
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_the_fragments_make_up_the_prompt(settings: dict[str, Any], nine: Nine, known: Known) -> None:
    ctx = known("a ${name} b", name="a rather long value")
    rendered = await nine(ctx, variables=DynamicVariableRegistry(), **settings).render()
    separator = settings.get("separator", "\n\n")
    assert separator.join(fragment.text for fragment in rendered.fragments if fragment.text) == rendered.text
    assert (
        rendered.text
        == str(rendered)
        == await nine(ctx, variables=DynamicVariableRegistry(), **settings).build()
    )


@pytest.mark.parametrize("value", ["", "x", "a value far longer than its name"])
async def test_spans_move_with_what_variables_stand_for(told: Make, value: str) -> None:
    builder = PromptBuilder(
        Context("t", state={"name": value}), variables=DynamicVariableRegistry(), resolve_in_data=True
    )
    for name in "abc":
        builder.add_neuron(told(name, f"{name}: ${{name}}, ${{nobody}}, ${{name}}."))
    rendered = await builder.render()
    assert [fragment.text for fragment in rendered.fragments] == [
        f"{name}: {value}, ${{nobody}}, {value}." for name in "abc"
    ]
    spans_are_right(rendered)


async def test_a_fragment_is_told_with_its_neuron_and_its_place(told: Make) -> None:
    late, early = told("late", "Later.", priority=7), told("early", "Earlier.", priority=-1)
    rendered = await PromptBuilder(Context("t")).add_neuron(late).add_neuron(early).render()
    facts = [
        (item.neuron, item.priority, item.stability, item.start, item.end) for item in rendered.fragments
    ]
    assert facts == [
        ("early", -1, early.stability, 0, 8),
        ("late", 7, late.stability, 10, 16),
    ]


async def test_one_that_has_nothing_to_say_is_told_of_as_empty(told: Make) -> None:
    builder = PromptBuilder(Context("t"))
    for name, says in (("first", ""), ("second", "Something."), ("third", "")):
        builder.add_neuron(told(name, says))
    rendered = await builder.render()
    assert [(item.status, item.start, item.end, item.tokens) for item in rendered.fragments] == [
        ("empty", 0, 0, 0),
        ("kept", 0, 10, 3),
        ("empty", 10, 10, 0),
    ]
    assert [item.reason for item in rendered.fragments] == [None, None, None]


async def test_a_fragment_that_a_variable_empties_is_empty(told: Make) -> None:
    builder = PromptBuilder(Context("t", state={"name": ""}), variables=DynamicVariableRegistry())
    rendered = await builder.add_neuron(told("gone", "${name}")).add_neuron(told("here", "x")).render()
    assert rendered.text == "x"
    assert [item.status for item in rendered.fragments] == ["empty", "kept"]


@pytest.mark.parametrize(("on_error", "text"), [("skip", ""), ("placeholder", "[broken is not available]")])
async def test_one_that_failed_is_told_of_with_the_reason(told: Make, on_error: Any, text: str) -> None:
    async def fail(ctx: Context) -> str:
        raise LookupError("no such city")

    builder = PromptBuilder(Context("t"), on_error=on_error)
    rendered = await builder.add_neuron(told("broken", fail)).add_neuron(told("fine", "x")).render()
    broken = rendered.fragments[0]
    assert (broken.status, broken.text) == ("failed", text)
    assert broken.reason == "context Neuron 'broken' failed: LookupError: no such city"
    spans_are_right(rendered)


async def test_a_placeholder_that_does_not_fit_says_why_it_was_needed_and_why_it_is_gone(told: Make) -> None:
    async def fail(ctx: Context) -> str:
        raise LookupError("no such city")

    broken = told("broken", fail)
    builder = PromptBuilder(Context("t"), on_error="placeholder", budget=Budget(3))
    rendered = await builder.add_neuron(broken).render()
    assert rendered.text == ""
    assert rendered.fragments[0].status == "dropped"
    reason = str(rendered.fragments[0].reason)
    assert reason.startswith("context Neuron 'broken' failed: LookupError: no such city; dropped: ")
    assert broken.asked_to_shorten == 0  # type: ignore[attr-defined]


async def test_tokens_are_counted_by_the_counter_given(told: Make) -> None:
    builder = PromptBuilder(Context("t"), count_tokens=len)
    rendered = await builder.add_neuron(told("a", "four")).add_neuron(told("b", "seven77")).render()
    assert [item.tokens for item in rendered.fragments] == [4, 7]
    assert (rendered.tokens, rendered.limit) == (13, None)


async def test_the_time_is_the_neurons_own(told: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    async def slow(ctx: Context) -> str:
        nonlocal now
        now += 2.5
        return "At last."

    rendered = (
        await PromptBuilder(Context("t")).add_neuron(told("slow", slow)).add_neuron(told("b", "x")).render()
    )
    assert [item.elapsed_s for item in rendered.fragments] == [2.5, 0.0]


async def test_explain_has_a_line_for_every_neuron(told: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    builder = PromptBuilder(Context("t"), budget=Budget(5))
    builder.add_neuron(told("kept", "A short one.")).add_neuron(told("silent", ""))
    builder.add_neuron(told("long", "x" * 400, importance=1))
    why = "dropped: its 100 tokens are among the 99 too many for the budget of 5"
    assert (await builder.render()).explain().splitlines() == [
        "kept: kept, 0-12, 3 tokens, 0.0 ms",
        "silent: empty, 12-12, 0 tokens, 0.0 ms",
        f"long: dropped, 12-12, 0 tokens, 0.0 ms: {why}",
    ]


@pytest.mark.parametrize(("size", "over"), [(8, False), (9, True)])
async def test_it_says_when_a_prompt_comes_near_its_budget(told: Make, size: int, over: bool) -> None:
    builder = PromptBuilder(Context("t"), budget=Budget(10), count_tokens=len)
    assert (await builder.add_neuron(told("a", "x" * size)).render()).over_trigger is over


async def test_the_share_of_the_budget_is_the_contexts(told: Make) -> None:
    ctx = Context("t", config=ContextConfig(token_budget_trigger=0.2))
    builder = PromptBuilder(ctx, budget=Budget(10), count_tokens=len)
    assert (await builder.add_neuron(told("a", "xxx")).render()).over_trigger


async def test_a_prompt_that_lost_something_is_over_its_trigger_however_short_it_is_now(told: Make) -> None:
    builder = PromptBuilder(Context("t"), budget=Budget(10), count_tokens=len)
    rendered = await builder.add_neuron(told("a", "x" * 11)).render()
    assert (rendered.text, rendered.over_trigger) == ("", True)


async def test_without_a_budget_nothing_is_over_it(told: Make) -> None:
    assert not (await PromptBuilder(Context("t")).add_neuron(told("a", "x" * 10_000)).render()).over_trigger


async def test_an_empty_prompt_has_no_fragments() -> None:
    rendered = await PromptBuilder(Context("t")).render()
    assert (rendered.text, rendered.fragments, rendered.tokens, rendered.explain()) == ("", (), 0, "")


async def test_the_repr_tells_no_text_of_the_prompt(told: Make) -> None:
    assert "hunter2" not in repr(await PromptBuilder(Context("t")).add_neuron(told("a", "hunter2")).render())


async def test_a_placeholder_over_two_fragments_leaves_each_its_part(told: Make) -> None:
    ctx = Context("t", state={"a | b": "v"})
    builder = PromptBuilder(ctx, variables=DynamicVariableRegistry(), resolve_in_data=True, separator=" | ")
    rendered = await builder.add_neuron(told("one", "x ${a")).add_neuron(told("two", "b} yyy")).render()
    assert rendered.text == "x v yyy"
    assert [fragment.text for fragment in rendered.fragments] == ["x v", " yyy"]
