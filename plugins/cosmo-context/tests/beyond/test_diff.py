"""`Rendered.diff`: the first difference from an earlier prompt, and the Neuron that caused it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, Divergence, PromptBuilder, Rendered
from cosmo_context.rendered import common_length

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def prompt(scripted: Make) -> Callable[..., Any]:
    """Render Neurons with these texts, in this order."""

    async def prompt(separator: str = "\n\n", /, **says: str) -> Rendered:
        builder = PromptBuilder(Context("t"), separator=separator)
        for name, text in says.items():
            builder.add_neuron(scripted(name, text))
        return await builder.render()

    return prompt


async def culprit(prompt: Make, now: dict[str, str], before: dict[str, str]) -> tuple[str | None, str | None]:
    divergence = (await prompt(**now)).diff(await prompt(**before))
    assert divergence is not None
    return divergence.neuron, divergence.previous_neuron


async def test_diff_names_neuron_position_and_shared_part(prompt: Make) -> None:
    before = await prompt(a="aaaa", b="same, then", c="c")
    assert (await prompt(a="aaaa", b="same, now", c="c")).diff(before) == Divergence(
        neuron="b", previous_neuron="b", at=12, shared=12 / 18
    )


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        ({"a": "x", "b": "old"}, {"a": "x", "b": "new"}, ("b", "b")),
        ({"a": "long text", "b": "y"}, {"a": "long", "b": "y"}, ("a", "a")),
        ({"a": "long", "b": "y"}, {"a": "long text", "b": "y"}, ("a", None)),
        ({"a": "x", "b": "y", "c": "z"}, {"a": "x", "c": "z"}, ("c", "b")),
        ({"a": "x", "c": "z"}, {"a": "x", "b": "y", "c": "z"}, ("b", "c")),
        ({"a": "x"}, {"a": "x", "b": "y"}, ("b", None)),
        ({"a": ""}, {"a": "", "b": "y"}, ("b", None)),
        ({"a": "x", "b": "", "c": "z"}, {"a": "x", "b": "", "c": "y"}, ("c", "c")),
    ],
    ids=["changed", "shorter", "longer", "gone", "come", "appended", "first", "silent between"],
)
async def test_diff_names_the_neuron_that_changed(
    prompt: Make, before: dict[str, str], now: dict[str, str], named: tuple[str | None, str | None]
) -> None:
    assert await culprit(prompt, now, before) == named


async def test_equal_prompts_have_no_difference(prompt: Make) -> None:
    assert (await prompt(a="x")).diff(await prompt(a="x")) is None
    assert (await prompt()).diff(await prompt()) is None


async def test_prefix_of_the_earlier_prompt_has_no_difference(prompt: Make) -> None:
    assert (await prompt(a="x")).diff(await prompt(a="x", b="y")) is None


async def test_shared_part_is_measured_in_bytes(prompt: Make) -> None:
    divergence = (await prompt(a="日a")).diff(await prompt(a="日b"))
    assert divergence is not None
    assert (divergence.at, divergence.shared) == (1, 3 / 4)


async def test_lone_surrogate_is_counted(prompt: Make) -> None:
    divergence = (await prompt(a="\ud800a")).diff(await prompt(a="\ud800b"))
    assert divergence is not None
    assert divergence.shared == 3 / 4


@given(
    before=st.lists(st.text("ab\n", max_size=4), max_size=4),
    now=st.lists(st.text("ab\n", max_size=4), max_size=4),
    separator=st.sampled_from(["\n\n", "", "a"]),
)
async def test_text_before_the_difference_is_shared(
    prompt: Make, before: list[str], now: list[str], separator: str
) -> None:
    earlier = await prompt(separator, **{f"n{place}": text for place, text in enumerate(before)})
    later = await prompt(separator, **{f"n{place}": text for place, text in enumerate(now)})
    divergence = later.diff(earlier)
    if divergence is None:
        assert earlier.text.startswith(later.text)
        return
    at = divergence.at
    assert later.text[:at] == earlier.text[:at]
    assert later.text[at : at + 1] != earlier.text[at : at + 1]
    assert 0 <= divergence.shared < 1
    assert divergence.neuron in {item.neuron for item in (*later.fragments, *earlier.fragments) if item.text}


@given(st.text("ab", max_size=40), st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_common_length_is_maximal(shared: str, one: str, other: str) -> None:
    one, other = shared + one, shared + other
    common = common_length(one, other)
    assert len(shared) <= common
    assert one[:common] == other[:common]
    assert common == min(len(one), len(other)) or one[common] != other[common]
