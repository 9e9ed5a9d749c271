"""Variables: registered paths, paths through the state, and paths that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import (
    Context,
    ContextState,
    DynamicVariableRegistry,
    PromptBuilder,
    VariableResolveError,
)
from cosmo_core import CosmoError

STATE: dict[str, Any] = {
    "name": "Ada",
    "nothing": None,
    "empty": "",
    "count": 0,
    "user": {"name": "Bob", "address": {"city": "London"}, "_token": "hush"},
    "thing": SimpleNamespace(colour="red", _token="hush", nested={"size": 3}),
    "items": ["a"],
    "_token": "hush",
    "nested": "${name}",
    "a.b": "dotted",
    "": "no name",
}


@pytest.fixture
def variables() -> DynamicVariableRegistry:
    return DynamicVariableRegistry()


# --- templates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${name}", "Ada"),
        ("<${name}|${name}>", "<Ada|Ada>"),
        ("${nothing}${empty}${count}", "None0"),
        ("${user.name} in ${user.address.city}", "Bob in London"),
        ("${thing.colour} ${thing.nested.size}", "red 3"),
        ("${items}", "['a']"),
        # Paths that do not exist.
        ("${unknown}", "${unknown}"),
        ("${user.unknown}", "${user.unknown}"),
        ("${name.city}", "${name.city}"),
        ("${items.0}", "${items.0}"),
        ("${ name }", "${ name }"),
        ("${a.b}", "${a.b}"),
        # Not a placeholder.
        ("$name {name} ${} ${name", "$name {name} ${} ${name"),
        # A preceding dollar does not escape, and values are not resolved again.
        ("$${name}", "$Ada"),
        ("${nested}", "${name}"),
        ("${a${name}}", "${a${name}}"),
        # Names with a leading underscore.
        ("${_token}", "${_token}"),
        ("${user._token}", "${user._token}"),
        ("${thing._token}", "${thing._token}"),
        ("${name.__class__.__mro__}", "${name.__class__.__mro__}"),
        ("${user.__class__}", "${user.__class__}"),
    ],
)
@pytest.mark.parametrize("kind", [dict, ContextState])
def test_template(
    variables: DynamicVariableRegistry, template: str, text: str, kind: Callable[[dict[str, Any]], Any]
) -> None:
    assert variables.resolve_template(template, kind(STATE)) == text


def test_inherited_values_are_resolved(variables: DynamicVariableRegistry) -> None:
    child = ContextState({"own": 1}, parent=ContextState({"name": "Ada", "own": 2}))
    assert variables.resolve_template("${own} ${name}", child) == "1 Ada"


PIECES = st.lists(st.tuples(st.text(), st.sampled_from(["name", "user.name", "unknown", "word"])), max_size=6)


@given(PIECES.filter(lambda pieces: not any("$" in text for text, _ in pieces)))
def test_only_existing_paths_are_replaced(pieces: list[tuple[str, str]]) -> None:
    variables = DynamicVariableRegistry()
    variables.register("word", "${name}")
    found = {"name": "Ada", "user.name": "Bob", "word": "${name}", "unknown": "${unknown}"}
    template = "".join(f"{text}${{{path}}}" for text, path in pieces)
    assert variables.resolve_template(template, STATE) == "".join(text + found[path] for text, path in pieces)


# --- registered ones ----------------------------------------------------------------------------------


def test_registered_path_precedes_the_state(variables: DynamicVariableRegistry) -> None:
    variables.register("name", "registered")
    variables.register("user.name", "registered too")
    template = "${name}, ${user.name}, ${user.address.city}"
    assert variables.resolve_template(template, STATE) == "registered, registered too, London"


def test_registered_path_can_be_any_string(variables: DynamicVariableRegistry) -> None:
    variables.register("_now", "today")
    variables.register(" a b ", "spaced")
    assert variables.resolve_template("${_now} ${ a b }", {}) == "today spaced"


def test_function_is_called_with_the_state_every_time(variables: DynamicVariableRegistry) -> None:
    asked: list[object] = []

    def count(state: ContextState) -> int:
        asked.append(state)
        return len(asked)

    variables.register("count", count)
    state = ContextState()
    assert variables.resolve_template("${count}${count}", state) == "12"
    assert asked == [state, state]


def test_function_can_be_decorated(variables: DynamicVariableRegistry) -> None:
    @variables.register("shout")
    def shout(state: ContextState) -> str:
        return str(state["name"]).upper()

    assert shout(ContextState({"name": "x"})) == "X"
    assert variables.resolve("shout", STATE) == "ADA"


@pytest.mark.parametrize("value", [None, 0, "", [1], "${name}"])
def test_value_is_returned_unchanged(variables: DynamicVariableRegistry, value: object) -> None:
    assert variables.register("x", value) is value
    assert variables.resolve("x", STATE) == value
    variables.register("found", lambda state: value)
    assert variables.resolve_template("<${x}${found}>", STATE) == f"<{value}{value}>"


def test_second_registration_replaces_the_first(variables: DynamicVariableRegistry) -> None:
    variables.register("x", "old")
    variables.register("y", "other")
    variables.register("x", lambda state: "new")
    assert variables.resolve("x", {}) == "new"
    assert variables.list_all() == ["x", "y"]
    assert variables.has("x")
    assert not variables.has("z")


def test_coroutine_function_is_refused(variables: DynamicVariableRegistry) -> None:
    async def later(state: object) -> str:
        return "x"

    with pytest.raises(TypeError, match="'x' is a coroutine function"):
        variables.register("x", later)
    assert not variables.has("x")


def test_exception_of_a_function_is_raised(variables: DynamicVariableRegistry) -> None:
    variables.register("x", lambda state: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        variables.resolve_template("${x}", {})


# --- one path -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "segment"),
    [
        ("unknown", "unknown"),
        ("user.unknown.city", "unknown"),
        ("name.city", "city"),
        ("user._token", "_token"),
        ("_token", "_token"),
        ("user..name", ""),
    ],
)
def test_missing_path_is_an_error_that_names_the_segment(
    variables: DynamicVariableRegistry, path: str, segment: str
) -> None:
    with pytest.raises(VariableResolveError) as caught:
        variables.resolve(path, STATE)
    assert str(caught.value) == f"Variable path {path!r} not found at segment {segment!r}"
    assert isinstance(caught.value, CosmoError)
    assert isinstance(caught.value, LookupError)


# --- in a prompt --------------------------------------------------------------------------------------


async def test_own_text_of_a_neuron_is_resolved(
    variables: DynamicVariableRegistry, fixed: Callable[..., Any]
) -> None:
    ctx = Context("t", parent=Context("p", state={"name": "Ada"}))
    variables.register("day", lambda state: "Monday")
    fragment = "Hello ${name}, it is ${day}; ${unknown} and ${user._token} stay."
    builder = PromptBuilder(ctx, variables=variables).add_neuron(fixed(fragment))
    assert await builder.build() == "Hello Ada, it is Monday; ${unknown} and ${user._token} stay."
    ctx.state["name"] = "Bob"
    assert (await builder.build()).startswith("Hello Bob,")


async def test_variables_without_a_registry_are_not_resolved(fixed: Callable[..., Any]) -> None:
    builder = PromptBuilder(Context("t", state={"name": "Ada"})).add_neuron(fixed("${name}"))
    assert await builder.build() == "${name}"


async def test_resolve_in_data_resolves_the_joined_prompt(
    variables: DynamicVariableRegistry,
) -> None:
    ctx = Context(
        "t", state={"facts": ["I am ${name}"], "task_input": "${nested}", "name": "Ada", "nested": "${name}"}
    )
    builder = PromptBuilder(
        ctx, variables=variables, resolve_in_data=True, escape_tags=False, separator="\n${name}\n"
    )
    prompt = await builder.add("fact").add("task").build()
    task = "<task_info>\nTask ID: t\nInput: ${name}\n</task_info>"
    assert prompt == f"{task}\nAda\n<facts>\n  - I am Ada\n</facts>"


async def test_empty_prompt_calls_no_resolver(
    variables: DynamicVariableRegistry, fixed: Callable[..., Any]
) -> None:
    variables.register("x", lambda state: 1 / 0)
    builder = PromptBuilder(Context("t"), variables=variables, resolve_in_data=True, separator="${x}")
    assert await builder.add_neuron(fixed("")).add_neuron(fixed("")).build() == ""
