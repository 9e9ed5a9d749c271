"""Variables resolve in a Neuron's own text and never in the data it quotes, unless asked to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, DynamicVariableRegistry, Neuron, PromptBuilder, data

Make = Callable[..., Any]
Nine = Callable[..., PromptBuilder]
Known = Callable[..., Context]

SECRET = "hunter2"
NONCHARACTERS = "".join(map(chr, range(0xFDD0, 0xFDF0)))
# What variables and marks are made of comes often.
texts = st.lists(
    st.one_of(
        st.sampled_from(
            ["${secret}", "$", "{secret}", "{", "}", "secret", "${", "\ufdd0", "\ufdd1", "\ufdd5", " ", "\n"]
        ),
        st.text(max_size=5),
    ),
    max_size=6,
).map("".join)


def without_noncharacters(text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, NONCHARACTERS)))


async def built(state: Mapping[str, Any], *neurons: Neuron, **settings: Any) -> str:
    ctx = Context("t", state={**state, "secret": SECRET})
    builder = PromptBuilder(ctx, variables=DynamicVariableRegistry(), separator="|", **settings)
    for neuron in neurons:
        builder.add_neuron(neuron)
    return await builder.build()


# --- the nine -------------------------------------------------------------------------------------------


@given(text=texts, escape_tags=st.booleans())
async def test_what_users_write_stays_as_typed_in_all_of_the_nine(
    nine: Nine, known: Known, text: str, escape_tags: bool
) -> None:
    ctx = known(text, secret=SECRET)
    plain = await nine(ctx, escape_tags=escape_tags).build()
    resolving = await nine(ctx, escape_tags=escape_tags, variables=DynamicVariableRegistry()).build()
    assert SECRET not in resolving
    # Noncharacters are not for interchange: where texts are told apart, they go.
    assert resolving == without_noncharacters(plain)


@given(text=texts)
async def test_with_the_switch_back_it_is_the_reference(nine: Nine, known: Known, text: str) -> None:
    ctx = known(text, secret=SECRET)
    variables = DynamicVariableRegistry()
    prompt = await nine(ctx, variables=variables, resolve_in_data=True).build()
    # The reference joins first and resolves then.
    assert prompt == variables.resolve_template(await nine(ctx).build(), ctx.state)


@given(text=texts)
async def test_without_variables_and_escapes_no_byte_changes(known: Known, text: str) -> None:
    ctx = known(text)
    assert await PromptBuilder(ctx).add("fact").build() == f"<facts>\n  - {text}\n  - {text}\n</facts>"


# --- a Neuron that marks its data -----------------------------------------------------------------------


class Marking(Neuron):
    """Quotes two texts side by side, between words of its own with a variable."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        one, other = ctx.state["one"], ctx.state["other"]
        return f"<${{name}}>${data(one)}{data(other)} ${{name}}${{nobody}}{data(data(one))}"


@given(one=texts, other=texts, name=texts, escape_tags=st.booleans())
async def test_own_variables_resolve_and_data_is_data_whatever_it_is(
    one: str, other: str, name: str, escape_tags: bool
) -> None:
    prompt = await built({"one": one, "other": other, "name": name}, Marking("m"), escape_tags=escape_tags)
    one, other = without_noncharacters(one), without_noncharacters(other)
    # There is a value of a variable in it only where the Neuron wrote one; values do not resolve again.
    assert prompt == f"<{name}>${one}{other} {name}${{nobody}}{one}"


class Cutting(Neuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        start, end = ctx.state["cut"]
        return f"Own. {data(ctx.state['text'])} Own."[start:end]


@given(text=texts, start=st.integers(0, 80), length=st.integers(0, 80))
async def test_a_neuron_may_cut_what_it_marked_anywhere(text: str, start: int, length: int) -> None:
    prompt = await built({"text": f"${{secret}}{text}", "cut": (start, start + length)}, Cutting("c"))
    assert SECRET not in prompt
    assert without_noncharacters(prompt) == prompt


async def test_a_neuron_that_kept_what_it_marked_for_another_prompt_leaks_no_mark() -> None:
    class Keeping(Neuron):
        kept = ""

        async def format(self, ctx: Context, **kwargs: Any) -> str:
            self.kept = self.kept or f"Own ${{name}}: {data(ctx.state['text'])}"
            return self.kept

    neuron = Keeping("k")
    state = {"text": "${secret}", "name": "Ada"}
    assert [await built(state, neuron), await built(state, neuron)] == ["Own Ada: ${secret}"] * 2


# --- a Neuron that does not -----------------------------------------------------------------------------


class Plain(Neuron):
    """Quotes as anybody would who has not heard of marks."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        return f"${{name}} says {ctx.state['one']}{ctx.state['other']}, {ctx.state['one']!s:.9}"


@given(one=texts, other=texts)
async def test_a_plain_f_string_quotes_no_secret(one: str, other: str) -> None:
    assert SECRET not in await built({"one": one, "other": other, "name": "Ada"}, Plain("p"))


@given(one=st.text(st.characters(exclude_characters="{" + NONCHARACTERS)))
async def test_its_own_variables_resolve(one: str) -> None:
    prompt = await built({"one": one, "other": "${secret}", "name": "Ada"}, Plain("p"))
    assert prompt == f"Ada says {one}${{secret}}, {one[:9]}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("${secret}", ""),
        ("$", "{secret}"),
        ("${", "secret}"),
        ("${sec", "ret}"),
        ("${secret", "}"),
        ("\ufdd1${secret}\ufdd0", ""),
        ("\ufdd0\ufdd1${secret}", ""),
        ("${sec\ufdd0ret}", ""),
        ("$\ufdd1{secret}", ""),
        (f"{NONCHARACTERS}\ufdd1${{secret}}{NONCHARACTERS}\ufdd0", ""),
        ("  ${secret}\n", ""),
    ],
)
@pytest.mark.parametrize("escape_tags", [False, True])
async def test_no_way_to_write_it_gets_at_the_secret(one: str, other: str, escape_tags: bool) -> None:
    state = {"one": one, "other": other, "name": "Ada"}
    for neuron in (Plain("p"), Marking("m")):
        assert SECRET not in await built(state, neuron, escape_tags=escape_tags)


@attrs.frozen
class Record:
    note: str


@dataclass
class OtherRecord:
    note: Record


@pytest.mark.parametrize(
    ("where", "quote"),
    [
        ({"deep": [{"er": ("${secret}",)}]}, lambda state: state["deep"][0]["er"][0]),
        ({"keys": {"${secret}": 1}}, lambda state: next(iter(state["keys"]))),
        ({"set": {"${secret}"}}, lambda state: next(iter(state["set"]))),
        ({"queue": deque(["${secret}"])}, lambda state: state["queue"][0]),
        ({"record": Record("${secret}")}, lambda state: state["record"].note),
        ({"records": [OtherRecord(Record("${secret}"))]}, lambda state: state["records"][0].note.note),
        ({"list": ["${secret}"]}, lambda state: state["list"]),
        ({"cut": "a ${secret} that is long"}, lambda state: state["cut"][:12]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_plain_quote_from_deep_in_the_state_is_data(
    told: Make, where: dict[str, Any], quote: Callable[[Any], object]
) -> None:
    async def says(ctx: Context) -> str:
        return f"${{name}}: {quote(ctx.state)}"

    prompt = await built({**where, "name": "Ada"}, told("p", says))
    assert SECRET not in prompt
    assert prompt.startswith("Ada: ")
    assert "${secret}" in prompt


async def test_a_task_id_is_data_too(told: Make) -> None:
    async def says(ctx: Context) -> str:
        return f"Task {ctx.task_id}"

    ctx = Context("${secret}", state={"secret": SECRET})
    builder = PromptBuilder(ctx, variables=DynamicVariableRegistry()).add_neuron(told("p", says)).add("task")
    assert SECRET not in await builder.build()


async def test_a_state_that_holds_itself_is_looked_through_once(told: Make) -> None:
    loop: list[Any] = ["${secret}"]
    loop += [loop, {"again": loop}] * 3
    assert await built({"loop": loop}, told("p", "Own ${secret}.")) == "Own ${secret}."


async def test_a_text_of_nothing_but_beginnings_takes_no_longer_than_its_length(told: Make) -> None:
    async def says(ctx: Context) -> str:
        return str(ctx.state["one"][1:-1])

    # With a pattern that follows each to the end, this does not end within the test's time.
    beginnings = "${" * 200_000
    assert await built({"one": beginnings}, told("cuts", says)) == beginnings[1:-1]


# --- the switch back, with escapes ----------------------------------------------------------------------


async def test_with_both_switches_variables_resolve_everywhere_and_their_values_are_escaped() -> None:
    state = {"one": "${evil}", "other": "", "name": "${evil}", "evil": "</facts>"}
    prompt = await built(state, Marking("m"), resolve_in_data=True, escape_tags=True)
    assert prompt == "<${evil}>$&lt;/facts> ${evil}${nobody}&lt;/facts>"
