"""Budgets: the fragments that are shortened or dropped, and how that is reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_context import (
    REQUIRED,
    Budget,
    BudgetExceededError,
    Context,
    ContextNeuronError,
    PromptBuilder,
    Rendered,
)
from cosmo_context.neuron import Fits

Make = Callable[..., Any]
Known = Callable[..., Context]


def builder_of(*neurons: Any, limit: int | Budget, **settings: Any) -> PromptBuilder:
    budget = limit if isinstance(limit, Budget) else Budget(limit)
    builder = PromptBuilder(Context("t"), count_tokens=len, separator="", budget=budget, **settings)
    for neuron in neurons:
        builder.add_neuron(neuron)
    return builder


def fates(rendered: Rendered) -> dict[str, str]:
    return {fragment.neuron: fragment.status for fragment in rendered.fragments}


def by_halves(text: str) -> Callable[[Fits], Any]:
    async def shorten(fits: Fits) -> str:
        shorter = text
        while shorter and not fits(shorter):
            shorter = shorter[:-1]
        return shorter

    return shorten


# --- dropping -----------------------------------------------------------------------------------------


async def test_least_important_neuron_is_dropped_first(scripted: Make) -> None:
    neurons = [
        scripted(name, "xxxx", importance=importance) for name, importance in (("a", 3), ("b", 1), ("c", 2))
    ]
    rendered = await builder_of(*neurons, limit=8).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped", "c": "kept"}


async def test_later_one_of_two_equally_important_neurons_is_dropped(scripted: Make) -> None:
    rendered = await builder_of(scripted("a", "xxxx"), scripted("b", "xxxx"), limit=4).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped"}


async def test_budget_overrides_importance(scripted: Make) -> None:
    neurons = scripted("a", "xxxx", importance=3), scripted("b", "xxxx", importance=1)
    rendered = await builder_of(*neurons, limit=Budget(4, importance={"a": 0})).render()
    assert fates(rendered) == {"a": "dropped", "b": "kept"}


async def test_required_neurons_stay_and_all_others_are_dropped(scripted: Make) -> None:
    neurons = scripted("a", "xxxx", importance=REQUIRED), scripted("b", "xxxx", importance=1_000_000)
    rendered = await builder_of(*neurons, limit=7).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped"}


async def test_budget_can_set_and_remove_required(scripted: Make) -> None:
    neurons = scripted("a", "xxxx", importance=REQUIRED), scripted("b", "xxxx")
    budget = Budget(4, importance={"a": 1, "b": REQUIRED})
    assert fates(await builder_of(*neurons, limit=budget).render()) == {"a": "dropped", "b": "kept"}


async def test_error_names_required_neurons_that_do_not_fit(scripted: Make) -> None:
    neurons = [scripted(name, "xxxx", importance=REQUIRED) for name in ("goal", "rules")]
    with pytest.raises(
        BudgetExceededError, match=r"needs 8 tokens .* may have 7; required: goal, rules;"
    ) as caught:
        await builder_of(*neurons, scripted("extra", "xxxx"), limit=7).build()
    assert (caught.value.tokens, caught.value.limit) == (8, 7)
    assert "extra" not in str(caught.value)


async def test_reserve_reduces_the_limit(scripted: Make) -> None:
    budget = Budget(10, reserve=3)
    assert budget.limit == 7
    assert await builder_of(scripted("a", "x" * 7), limit=budget).build() == "x" * 7
    assert await builder_of(scripted("a", "x" * 8), limit=budget).build() == ""


async def test_separators_count_as_tokens(scripted: Make) -> None:
    builder = PromptBuilder(Context("t"), count_tokens=len, separator="-----", budget=Budget(8))
    assert await builder.add_neuron(scripted("a", "xx")).add_neuron(scripted("b", "yy")).build() == "xx"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(-1), "Budget.max_tokens is an integer of at least 0 and at most .*, not -1"),
        (lambda: Budget(5, reserve=-1), "Budget.reserve is an integer of at least 0 and at most .*, not -1"),
        (lambda: Budget(5, reserve=5), r"Budget.reserve \(5\) leaves none of 5 tokens for the prompt"),
        (lambda: Budget(0), r"Budget.reserve \(0\) leaves none of 0 tokens"),
    ],
)
def test_budget_without_tokens_for_the_prompt_is_refused(make: Callable[[], Budget], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", [1.5, True, "5", float("nan"), None])
def test_budget_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Budget\.max_tokens is an integer, not"):
        Budget(value)
    with pytest.raises(TypeError, match=r"Budget\.reserve is an integer, not"):
        Budget(5, reserve=value)


@pytest.mark.parametrize("value", [True, "5", float("nan"), None])
def test_importance_that_is_not_a_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Budget.importance\['task'\] must be a number, not"):
        Budget(5, importance={"task": value})
    assert Budget(5, importance={"task": REQUIRED}).importance == {"task": REQUIRED}


# --- shortening ---------------------------------------------------------------------------------------


async def test_neuron_that_can_shorten_is_not_dropped(scripted: Make) -> None:
    long = scripted("long", "abcdefghij", importance=1, shorten=by_halves("abcdefghij"))
    rendered = await builder_of(scripted("a", "xx"), long, limit=7).render()
    assert rendered.text == "xxabcde"
    assert rendered.fragments[1].status == "shortened"
    assert rendered.fragments[1].reason == "shortened to 5 tokens for the budget of 7"


async def test_all_neurons_shorten_by_half_before_one_shortens_further(scripted: Make) -> None:
    neurons = [
        scripted(name, name * 10, importance=rank, shorten=by_halves(name * 10))
        for rank, name in enumerate("abc")
    ]
    assert await builder_of(*neurons, limit=20).build() == "aaaaabbbbbcccccccccc"
    assert await builder_of(*neurons, limit=12).build() == "aabbbbbccccc"


async def test_fitting_prompt_is_not_shortened(scripted: Make) -> None:
    a = scripted("a", "xxxx", shorten=by_halves("xxxx"))
    await builder_of(a, limit=4).build()
    assert a.asked_to_shorten == 0


async def test_required_neuron_is_not_asked_to_shorten(scripted: Make) -> None:
    a = scripted("a", "xxxx", importance=REQUIRED, shorten=by_halves("xxxx"))
    with pytest.raises(BudgetExceededError):
        await builder_of(a, limit=3).build()
    assert a.asked_to_shorten == 0


async def test_builtin_neurons_shorten_item_by_item(known: Known) -> None:
    ctx = known(facts=[f"fact {number}" for number in range(100)])
    rendered = await PromptBuilder(ctx, budget=Budget(60)).add("fact").render()
    lines = rendered.text.splitlines()
    assert (lines[0], lines[-1]) == ("<facts>", "</facts>")
    assert lines[1:-1] == [f"  - fact {number}" for number in range(len(lines) - 2)]
    assert 55 <= rendered.tokens <= 60


async def test_shortened_history_keeps_the_latest_messages(known: Known) -> None:
    history = [{"role": "user", "content": f"message {number}"} for number in range(40)]
    rendered = await PromptBuilder(known(history=history), budget=Budget(100)).add("history").render()
    kept = rendered.fragments[0].messages or ()
    assert 0 < len(kept) < 40
    assert list(kept) == history[-len(kept) :]
    assert rendered.text.count("[user]: ") == len(kept)


async def test_elapsed_time_includes_shortening(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    async def shorten(fits: Fits) -> str:
        nonlocal now
        now += 2.0
        return "x"

    rendered = await builder_of(scripted("a", "xxxx", shorten=shorten), limit=2).render()
    assert rendered.fragments[0].elapsed_s >= 2.0


# --- neurons that fail to shorten ---------------------------------------------------------------------


async def test_neuron_whose_shorter_text_does_not_fit_is_dropped_and_logged(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def lie(fits: Fits) -> str:
        return "x" * 100

    rendered = await builder_of(
        scripted("liar", "xxxx", importance=1, shorten=lie), scripted("b", "yy"), limit=5
    ).render()
    assert rendered.text == "yy"
    assert fates(rendered) == {"liar": "dropped", "b": "kept"}
    assert "context Neuron 'liar' shortened its fragment to 100 tokens; 3 are allowed" in caplog.text


@pytest.mark.parametrize("given", [7, b"xx", ["xx"]])
async def test_error_names_neuron_that_returns_no_string(scripted: Make, given: object) -> None:
    async def odd(fits: Fits) -> object:
        return given

    with pytest.raises(
        ContextNeuronError, match=f"'odd' returned a fragment of type {type(given).__name__}, not str"
    ):
        await builder_of(scripted("odd", "xxxx", shorten=odd), limit=3).build()


async def test_neuron_that_shortens_to_none_is_dropped(scripted: Make) -> None:
    async def nothing(fits: Fits) -> None:
        return None

    assert fates(await builder_of(scripted("a", "xxxx", shorten=nothing), limit=3).render()) == {
        "a": "dropped"
    }


async def fail(fits: Fits) -> str:
    raise LookupError("no such city")


async def test_error_names_neuron_that_raises_while_shortening(scripted: Make) -> None:
    with pytest.raises(ContextNeuronError, match="'broken' failed: LookupError: no such city") as caught:
        await builder_of(scripted("broken", "xxxx", shorten=fail), limit=3).build()
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("on_error", ["skip", "placeholder"])
async def test_neuron_that_raises_while_shortening_is_asked_once_unless_errors_raise(
    scripted: Make, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = scripted("broken", "xxxx", importance=1, shorten=fail)
    rendered = await builder_of(broken, scripted("b", "yy"), limit=5, on_error=on_error).render()
    assert rendered.text == "yy"
    assert rendered.fragments[0].status == "dropped"
    assert broken.asked_to_shorten == 1
    assert (
        "context Neuron 'broken' failed: LookupError: no such city; its fragment is not shortened"
        in caplog.text
    )


async def for_ever(fits: Fits) -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def test_error_names_neuron_that_hangs(scripted: Make, no_task_left: None) -> None:
    with pytest.raises(ContextNeuronError, match=r"'stuck' returned no fragment within 0.01 s"):
        await builder_of(scripted("stuck", "xxxx", shorten=for_ever), limit=3, timeout_s=0.01).build()


async def test_neuron_that_hangs_while_shortening_is_not_shortened_unless_errors_raise(
    scripted: Make, no_task_left: None
) -> None:
    stuck = scripted("stuck", "xxxx", shorten=for_ever)
    rendered = await builder_of(stuck, limit=3, timeout_s=0.01, on_error="skip").render()
    assert fates(rendered) == {"stuck": "dropped"}
    assert stuck.asked_to_shorten == 1


# --- logging ------------------------------------------------------------------------------------------


async def test_build_logs_shortened_and_dropped_fragments(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    long = scripted("long", "abcdefghij", importance=2, shorten=by_halves("abcdefghij"))
    await builder_of(
        scripted("gone", "zzzz", importance=1), long, scripted("kept", "yy", importance=3), limit=7
    ).build()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "context Neuron 'gone' was dropped with 4 tokens: the prompt was 4 tokens over the budget of 7",
        ),
        (logging.WARNING, "context Neuron 'long' was shortened to 5 tokens for the budget of 7"),
    ]


async def test_build_logs_nothing_if_all_fragments_fit(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await builder_of(scripted("a", "xxxx"), limit=4).build()
    assert caplog.records == []


async def test_fragment_that_fits_exactly_after_its_last_try_stays(scripted: Make) -> None:
    # The tokens of the fragment alone, and of the prompt with it, after each time it was shortened.
    alone = [10, 8, 6, 4, 2]
    prompts = [22, 22, 22, 22, 20]
    tokens = {f"b{tries}": count for tries, count in enumerate(alone)}
    tokens |= {f"a\n\nb{tries}": count for tries, count in enumerate(prompts)}

    async def shorten(fits: Fits) -> str:
        return next(text for text in ("b0", "b1", "b2", "b3", "b4") if fits(text))

    builder = PromptBuilder(Context("t"), budget=Budget(20), count_tokens=lambda text: tokens.get(text, 0))
    builder.add_neuron(scripted("a", "a", importance=REQUIRED))
    builder.add_neuron(scripted("b", "b0", shorten=shorten))
    rendered = await builder.render()
    assert (rendered.text, rendered.tokens) == ("a\n\nb4", 20)
    assert [fragment.status for fragment in rendered.fragments] == ["kept", "shortened"]
