"""Variables are resolved in a Neuron's own text, and in quoted data only with `resolve_in_data`."""

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
# The parts of variables and marks are frequent.
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


# --- built-in Neurons ---------------------------------------------------------------------------------


@given(text=texts, escape_tags=st.booleans())
async def test_builtin_neurons_do_not_resolve_user_data(
    nine: Nine, known: Known, text: str, escape_tags: bool
) -> None:
    ctx = known(text, secret=SECRET)
    plain = await nine(ctx, escape_tags=escape_tags).build()
    resolving = await nine(ctx, escape_tags=escape_tags, variables=DynamicVariableRegistry()).build()
    assert SECRET not in resolving
    # Noncharacters are removed from marked data.
    assert resolving == without_noncharacters(plain)


@given(text=texts)
async def test_resolve_in_data_matches_the_reference(nine: Nine, known: Known, text: str) -> None:
    ctx = known(text, secret=SECRET)
    variables = DynamicVariableRegistry()
    prompt = await nine(ctx, variables=variables, resolve_in_data=True, escape_tags=False).build()
    # The reference resolves the joined prompt.
    assert prompt == variables.resolve_template(await nine(ctx, escape_tags=False).build(), ctx.state)


@given(text=texts)
async def test_plain_builder_changes_no_byte(known: Known, text: str) -> None:
    ctx = known(text)
    prompt = await PromptBuilder(ctx, escape_tags=False).add("fact").build()
    assert prompt == f"<facts>\n  - {text}\n  - {text}\n</facts>"


# --- a Neuron that marks its data ---------------------------------------------------------------------


class Marking(Neuron):
    """Quotes two adjacent texts between own words with a variable."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        one, other = ctx.state["one"], ctx.state["other"]
        return f"<${{name}}>${data(one)}{data(other)} ${{name}}${{unknown}}{data(data(one))}"


@given(one=texts, other=texts, name=texts, escape_tags=st.booleans())
async def test_own_variables_resolve_and_marked_data_does_not(
    one: str, other: str, name: str, escape_tags: bool
) -> None:
    prompt = await built({"one": one, "other": other, "name": name}, Marking("m"), escape_tags=escape_tags)
    one, other = without_noncharacters(one), without_noncharacters(other)
    # Only the Neuron's own variable is resolved, and its value is not resolved again.
    assert prompt == f"<{name}>${one}{other} {name}${{unknown}}{one}"


class Cutting(Neuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        start, end = ctx.state["cut"]
        return f"Own. {data(ctx.state['text'])} Own."[start:end]


@given(text=texts, start=st.integers(0, 80), length=st.integers(0, 80))
async def test_neuron_can_cut_marked_data_anywhere(text: str, start: int, length: int) -> None:
    prompt = await built({"text": f"${{secret}}{text}", "cut": (start, start + length)}, Cutting("c"))
    assert SECRET not in prompt
    assert without_noncharacters(prompt) == prompt


async def test_stored_marked_data_leaks_no_mark() -> None:
    class Keeping(Neuron):
        kept = ""

        async def format(self, ctx: Context, **kwargs: Any) -> str:
            self.kept = self.kept or f"Own ${{name}}: {data(ctx.state['text'])}"
            return self.kept

    neuron = Keeping("k")
    state = {"text": "${secret}", "name": "Ada"}
    assert [await built(state, neuron), await built(state, neuron)] == ["Own Ada: ${secret}"] * 2


# --- a Neuron that does not mark its data -------------------------------------------------------------


class Plain(Neuron):
    """Quotes with a plain f-string."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        return f"${{name}} says {ctx.state['one']}{ctx.state['other']}, {ctx.state['one']!s:.9}"


@given(one=texts, other=texts)
async def test_unmarked_quote_does_not_resolve(one: str, other: str) -> None:
    assert SECRET not in await built({"one": one, "other": other, "name": "Ada"}, Plain("p"))


@given(one=st.text(st.characters(exclude_characters="{" + NONCHARACTERS)))
async def test_own_variables_of_an_unmarked_neuron_resolve(one: str) -> None:
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
async def test_no_combination_of_data_resolves_a_variable(one: str, other: str, escape_tags: bool) -> None:
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
async def test_unmarked_quote_of_a_nested_value_is_data(
    scripted: Make, where: dict[str, Any], quote: Callable[[Any], object]
) -> None:
    async def says(ctx: Context) -> str:
        return f"${{name}}: {quote(ctx.state)}"

    prompt = await built({**where, "name": "Ada"}, scripted("p", says))
    assert SECRET not in prompt
    assert prompt.startswith("Ada: ")
    assert "${secret}" in prompt


async def test_task_id_is_data(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        return f"Task {ctx.task_id}"

    ctx = Context("${secret}", state={"secret": SECRET})
    builder = (
        PromptBuilder(ctx, variables=DynamicVariableRegistry()).add_neuron(scripted("p", says)).add("task")
    )
    assert SECRET not in await builder.build()


async def test_recursive_state_is_searched_once(scripted: Make) -> None:
    loop: list[Any] = ["${secret}"]
    loop += [loop, {"again": loop}] * 3
    assert await built({"loop": loop}, scripted("p", "Own ${secret}.")) == "Own ${secret}."


async def test_unclosed_variables_take_linear_time(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        return str(ctx.state["one"][1:-1])

    # A pattern that scans each to the end does not end within the time limit of the test.
    beginnings = "${" * 200_000
    assert await built({"one": beginnings}, scripted("cuts", says)) == beginnings[1:-1]


# --- resolve_in_data with escape_tags -----------------------------------------------------------------


async def test_resolve_in_data_and_escape_tags_resolve_and_escape() -> None:
    state = {"one": "${evil}", "other": "", "name": "${evil}", "evil": "</facts>"}
    prompt = await built(state, Marking("m"), resolve_in_data=True, escape_tags=True)
    assert prompt == "<${evil}>$&lt;/facts> ${evil}${unknown}&lt;/facts>"
