"""`PromptBuilder.render`: the Neuron, position, tokens, time and status of each fragment."""

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
async def test_span_is_the_position_of_the_fragment(
    settings: dict[str, Any], nine: Nine, known: Known, text: str, value: str
) -> None:
    ctx = known(text, name=value)
    rendered = await nine(ctx, variables=DynamicVariableRegistry(), **settings).render()
    spans_are_right(rendered)
    assert [fragment.text for fragment in rendered.fragments if fragment.text] == (
        [fragment.text for fragment in rendered.fragments if fragment.status in {"kept", "shortened"}]
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_fragments_and_separators_form_the_prompt(
    settings: dict[str, Any], nine: Nine, known: Known
) -> None:
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
async def test_spans_are_shifted_by_resolved_variables(scripted: Make, value: str) -> None:
    builder = PromptBuilder(
        Context("t", state={"name": value}), variables=DynamicVariableRegistry(), resolve_in_data=True
    )
    for name in "abc":
        builder.add_neuron(scripted(name, f"{name}: ${{name}}, ${{unknown}}, ${{name}}."))
    rendered = await builder.render()
    assert [fragment.text for fragment in rendered.fragments] == [
        f"{name}: {value}, ${{unknown}}, {value}." for name in "abc"
    ]
    spans_are_right(rendered)


async def test_fragment_has_neuron_priority_and_stability(scripted: Make) -> None:
    late, early = scripted("late", "Later.", priority=7), scripted("early", "Earlier.", priority=-1)
    rendered = await PromptBuilder(Context("t")).add_neuron(late).add_neuron(early).render()
    facts = [
        (item.neuron, item.priority, item.stability, item.start, item.end) for item in rendered.fragments
    ]
    assert facts == [
        ("early", -1, early.stability, 0, 8),
        ("late", 7, late.stability, 10, 16),
    ]


async def test_neuron_without_text_is_reported_as_empty(scripted: Make) -> None:
    builder = PromptBuilder(Context("t"))
    for name, says in (("first", ""), ("second", "Something."), ("third", "")):
        builder.add_neuron(scripted(name, says))
    rendered = await builder.render()
    assert [(item.status, item.start, item.end, item.tokens) for item in rendered.fragments] == [
        ("empty", 0, 0, 0),
        ("kept", 0, 10, 3),
        ("empty", 10, 10, 0),
    ]
    assert [item.reason for item in rendered.fragments] == [None, None, None]


async def test_fragment_of_an_empty_variable_is_empty(scripted: Make) -> None:
    builder = PromptBuilder(Context("t", state={"name": ""}), variables=DynamicVariableRegistry())
    rendered = (
        await builder.add_neuron(scripted("gone", "${name}")).add_neuron(scripted("here", "x")).render()
    )
    assert rendered.text == "x"
    assert [item.status for item in rendered.fragments] == ["empty", "kept"]


@pytest.mark.parametrize(("on_error", "text"), [("skip", ""), ("placeholder", "[broken is not available]")])
async def test_failed_neuron_is_reported_with_the_reason(scripted: Make, on_error: Any, text: str) -> None:
    async def fail(ctx: Context) -> str:
        raise LookupError("no such city")

    builder = PromptBuilder(Context("t"), on_error=on_error)
    rendered = await builder.add_neuron(scripted("broken", fail)).add_neuron(scripted("fine", "x")).render()
    broken = rendered.fragments[0]
    assert (broken.status, broken.text) == ("failed", text)
    assert broken.reason == "context Neuron 'broken' failed: LookupError: no such city"
    spans_are_right(rendered)


async def test_dropped_placeholder_has_both_reasons(scripted: Make) -> None:
    async def fail(ctx: Context) -> str:
        raise LookupError("no such city")

    broken = scripted("broken", fail)
    builder = PromptBuilder(Context("t"), on_error="placeholder", budget=Budget(3))
    rendered = await builder.add_neuron(broken).render()
    assert rendered.text == ""
    assert rendered.fragments[0].status == "dropped"
    reason = str(rendered.fragments[0].reason)
    assert reason.startswith("context Neuron 'broken' failed: LookupError: no such city; dropped with ")
    assert broken.asked_to_shorten == 0  # type: ignore[attr-defined]


async def test_given_counter_counts_the_tokens(scripted: Make) -> None:
    builder = PromptBuilder(Context("t"), count_tokens=len)
    rendered = await builder.add_neuron(scripted("a", "four")).add_neuron(scripted("b", "seven77")).render()
    assert [item.tokens for item in rendered.fragments] == [4, 7]
    assert (rendered.tokens, rendered.limit) == (13, None)


async def test_elapsed_time_is_measured_per_neuron(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    async def slow(ctx: Context) -> str:
        nonlocal now
        now += 2.5
        return "At last."

    rendered = (
        await PromptBuilder(Context("t"))
        .add_neuron(scripted("slow", slow))
        .add_neuron(scripted("b", "x"))
        .render()
    )
    assert [item.elapsed_s for item in rendered.fragments] == [2.5, 0.0]


async def test_explain_has_one_line_per_neuron(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    builder = PromptBuilder(Context("t"), budget=Budget(5))
    builder.add_neuron(scripted("kept", "A short one.")).add_neuron(scripted("silent", ""))
    builder.add_neuron(scripted("long", "x" * 400, importance=1))
    why = "dropped with 100 tokens: the prompt was 99 tokens over the budget of 5"
    assert (await builder.render()).explain().splitlines() == [
        "kept: kept, 0-12, 3 tokens, 0.0 ms",
        "silent: empty, 12-12, 0 tokens, 0.0 ms",
        f"long: dropped, 12-12, 0 tokens, 0.0 ms: {why}",
    ]


@pytest.mark.parametrize(("size", "over"), [(8, False), (9, True)])
async def test_over_trigger_is_set_near_the_budget(scripted: Make, size: int, over: bool) -> None:
    builder = PromptBuilder(Context("t"), budget=Budget(10), count_tokens=len)
    assert (await builder.add_neuron(scripted("a", "x" * size)).render()).over_trigger is over


async def test_trigger_comes_from_the_context(scripted: Make) -> None:
    ctx = Context("t", config=ContextConfig(token_budget_trigger=0.2))
    builder = PromptBuilder(ctx, budget=Budget(10), count_tokens=len)
    assert (await builder.add_neuron(scripted("a", "xxx")).render()).over_trigger


async def test_shortened_prompt_is_over_its_trigger(scripted: Make) -> None:
    builder = PromptBuilder(Context("t"), budget=Budget(10), count_tokens=len)
    rendered = await builder.add_neuron(scripted("a", "x" * 11)).render()
    assert (rendered.text, rendered.over_trigger) == ("", True)


async def test_prompt_without_a_budget_is_not_over_its_trigger(scripted: Make) -> None:
    assert not (
        await PromptBuilder(Context("t")).add_neuron(scripted("a", "x" * 10_000)).render()
    ).over_trigger


async def test_prompt_without_neurons_has_no_fragments() -> None:
    rendered = await PromptBuilder(Context("t")).render()
    assert (rendered.text, rendered.fragments, rendered.tokens, rendered.explain()) == ("", (), 0, "")


async def test_repr_shows_no_text_of_the_prompt(scripted: Make) -> None:
    assert "hunter2" not in repr(
        await PromptBuilder(Context("t")).add_neuron(scripted("a", "hunter2")).render()
    )


async def test_variable_across_two_fragments_belongs_to_both(scripted: Make) -> None:
    ctx = Context("t", state={"a | b": "v"})
    registry = DynamicVariableRegistry()
    builder = PromptBuilder(ctx, variables=registry, resolve_in_data=True, escape_tags=False, separator=" | ")
    rendered = (
        await builder.add_neuron(scripted("one", "x ${a")).add_neuron(scripted("two", "b} yyy")).render()
    )
    assert rendered.text == "x v yyy"
    assert [fragment.text for fragment in rendered.fragments] == ["x v", " yyy"]
