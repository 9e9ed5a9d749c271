"""The budget: who is shortened, who goes, and how that is told."""

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


# --- who goes -------------------------------------------------------------------------------------------


async def test_the_least_important_goes_first_wherever_it_stands(told: Make) -> None:
    neurons = [
        told(name, "xxxx", importance=importance) for name, importance in (("a", 3), ("b", 1), ("c", 2))
    ]
    rendered = await builder_of(*neurons, limit=8).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped", "c": "kept"}


async def test_of_two_equally_important_the_later_one_goes(told: Make) -> None:
    rendered = await builder_of(told("a", "xxxx"), told("b", "xxxx"), limit=4).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped"}


async def test_importance_can_be_set_for_one_prompt(told: Make) -> None:
    neurons = told("a", "xxxx", importance=3), told("b", "xxxx", importance=1)
    rendered = await builder_of(*neurons, limit=Budget(4, importance={"a": 0})).render()
    assert fates(rendered) == {"a": "dropped", "b": "kept"}


async def test_what_is_required_stays_and_what_is_not_goes(told: Make) -> None:
    neurons = told("a", "xxxx", importance=REQUIRED), told("b", "xxxx", importance=1_000_000)
    rendered = await builder_of(*neurons, limit=7).render()
    assert fates(rendered) == {"a": "kept", "b": "dropped"}


async def test_required_can_be_set_and_taken_back_for_one_prompt(told: Make) -> None:
    neurons = told("a", "xxxx", importance=REQUIRED), told("b", "xxxx")
    budget = Budget(4, importance={"a": 1, "b": REQUIRED})
    assert fates(await builder_of(*neurons, limit=budget).render()) == {"a": "dropped", "b": "kept"}


async def test_what_is_required_and_does_not_fit_is_named(told: Make) -> None:
    neurons = [told(name, "xxxx", importance=REQUIRED) for name in ("goal", "rules")]
    with pytest.raises(
        BudgetExceededError, match=r"needs 8 tokens and may have 7.*: goal, rules must stay"
    ) as caught:
        await builder_of(*neurons, told("extra", "xxxx"), limit=7).build()
    assert (caught.value.tokens, caught.value.limit) == (8, 7)
    assert "extra" not in str(caught.value)


async def test_the_reserve_is_for_the_reply(told: Make) -> None:
    budget = Budget(10, reserve=3)
    assert budget.limit == 7
    assert await builder_of(told("a", "x" * 7), limit=budget).build() == "x" * 7
    assert await builder_of(told("a", "x" * 8), limit=budget).build() == ""


async def test_the_separators_count(told: Make) -> None:
    builder = PromptBuilder(Context("t"), count_tokens=len, separator="-----", budget=Budget(8))
    assert await builder.add_neuron(told("a", "xx")).add_neuron(told("b", "yy")).build() == "xx"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(-1), "Budget.max_tokens is not negative, but -1 is"),
        (lambda: Budget(5, reserve=-1), "Budget.reserve is not negative, but -1 is"),
        (lambda: Budget(5, reserve=5), r"Budget.reserve \(5\) leaves nothing of 5 tokens for the prompt"),
        (lambda: Budget(0), r"Budget.reserve \(0\) leaves nothing of 0 tokens"),
    ],
)
def test_a_budget_that_leaves_nothing_is_refused(make: Callable[[], Budget], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- shortening -----------------------------------------------------------------------------------------


async def test_one_that_can_shorten_itself_is_not_dropped(told: Make) -> None:
    long = told("long", "abcdefghij", importance=1, shorten=by_halves("abcdefghij"))
    rendered = await builder_of(told("a", "xx"), long, limit=7).render()
    assert rendered.text == "xxabcde"
    assert rendered.fragments[1].status == "shortened"
    assert rendered.fragments[1].reason == "shortened to 5 tokens for the budget of 7"


async def test_all_give_half_before_one_gives_all(told: Make) -> None:
    neurons = [
        told(name, name * 10, importance=rank, shorten=by_halves(name * 10))
        for rank, name in enumerate("abc")
    ]
    assert await builder_of(*neurons, limit=20).build() == "aaaaabbbbbcccccccccc"
    assert await builder_of(*neurons, limit=12).build() == "aabbbbbccccc"


async def test_nobody_is_asked_to_shorten_what_fits(told: Make) -> None:
    a = told("a", "xxxx", shorten=by_halves("xxxx"))
    await builder_of(a, limit=4).build()
    assert a.asked_to_shorten == 0


async def test_what_is_required_is_never_asked(told: Make) -> None:
    a = told("a", "xxxx", importance=REQUIRED, shorten=by_halves("xxxx"))
    with pytest.raises(BudgetExceededError):
        await builder_of(a, limit=3).build()
    assert a.asked_to_shorten == 0


async def test_the_nine_shorten_themselves_item_by_item(known: Known) -> None:
    ctx = known(facts=[f"fact {number}" for number in range(100)])
    rendered = await PromptBuilder(ctx, budget=Budget(60)).add("fact").render()
    lines = rendered.text.splitlines()
    assert (lines[0], lines[-1]) == ("<facts>", "</facts>")
    assert lines[1:-1] == [f"  - fact {number}" for number in range(len(lines) - 2)]
    assert 55 <= rendered.tokens <= 60


async def test_a_shortened_history_keeps_the_latest_and_its_messages(known: Known) -> None:
    history = [{"role": "user", "content": f"message {number}"} for number in range(40)]
    rendered = await PromptBuilder(known(history=history), budget=Budget(100)).add("history").render()
    kept = rendered.fragments[0].messages or ()
    assert 0 < len(kept) < 40
    assert list(kept) == history[-len(kept) :]
    assert rendered.text.count("[user]: ") == len(kept)


async def test_the_time_to_shorten_counts(told: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    async def shorten(fits: Fits) -> str:
        nonlocal now
        now += 2.0
        return "x"

    rendered = await builder_of(told("a", "xxxx", shorten=shorten), limit=2).render()
    assert rendered.fragments[0].elapsed_s >= 2.0


# --- those that shorten badly ---------------------------------------------------------------------------


async def test_one_that_claims_to_be_shorter_is_dropped_and_named(
    told: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def lie(fits: Fits) -> str:
        return "x" * 100

    rendered = await builder_of(
        told("liar", "xxxx", importance=1, shorten=lie), told("b", "yy"), limit=5
    ).render()
    assert rendered.text == "yy"
    assert fates(rendered) == {"liar": "dropped", "b": "kept"}
    assert "context Neuron 'liar' shortened itself to 100 tokens where 3 are allowed" in caplog.text


@pytest.mark.parametrize("given", [7, b"xx", ["xx"]])
async def test_one_that_gives_no_text_is_named(told: Make, given: object) -> None:
    async def odd(fits: Fits) -> object:
        return given

    with pytest.raises(
        ContextNeuronError, match=f"'odd' gave a fragment that is no str: {type(given).__name__}"
    ):
        await builder_of(told("odd", "xxxx", shorten=odd), limit=3).build()


async def test_one_that_gives_none_is_dropped(told: Make) -> None:
    async def nothing(fits: Fits) -> None:
        return None

    assert fates(await builder_of(told("a", "xxxx", shorten=nothing), limit=3).render()) == {"a": "dropped"}


async def fail(fits: Fits) -> str:
    raise LookupError("no such city")


async def test_one_that_raises_is_named(told: Make) -> None:
    with pytest.raises(ContextNeuronError, match="'broken' failed: LookupError: no such city") as caught:
        await builder_of(told("broken", "xxxx", shorten=fail), limit=3).build()
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("on_error", ["skip", "placeholder"])
async def test_one_that_raises_is_asked_once_and_then_dropped_if_errors_do_not_end_the_build(
    told: Make, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = told("broken", "xxxx", importance=1, shorten=fail)
    rendered = await builder_of(broken, told("b", "yy"), limit=5, on_error=on_error).render()
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


async def test_one_that_hangs_is_named(told: Make, nobody_left: None) -> None:
    with pytest.raises(ContextNeuronError, match=r"'stuck' gave no fragment within 0.01 s"):
        await builder_of(told("stuck", "xxxx", shorten=for_ever), limit=3, timeout_s=0.01).build()


async def test_one_that_hangs_is_left_if_errors_do_not_end_the_build(told: Make, nobody_left: None) -> None:
    stuck = told("stuck", "xxxx", shorten=for_ever)
    rendered = await builder_of(stuck, limit=3, timeout_s=0.01, on_error="skip").render()
    assert fates(rendered) == {"stuck": "dropped"}
    assert stuck.asked_to_shorten == 1


# --- nothing goes silently ------------------------------------------------------------------------------


async def test_build_logs_what_was_lost(told: Make, caplog: pytest.LogCaptureFixture) -> None:
    long = told("long", "abcdefghij", importance=2, shorten=by_halves("abcdefghij"))
    await builder_of(
        told("gone", "zzzz", importance=1), long, told("kept", "yy", importance=3), limit=7
    ).build()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "context Neuron 'gone' was dropped: its 4 tokens are among the 4 too many for the budget of 7",
        ),
        (logging.WARNING, "context Neuron 'long' was shortened to 5 tokens for the budget of 7"),
    ]


async def test_build_logs_nothing_when_nothing_was_lost(told: Make, caplog: pytest.LogCaptureFixture) -> None:
    await builder_of(told("a", "xxxx"), limit=4).build()
    assert caplog.records == []
