"""List Neurons: their exact text, accepted types, and errors."""

from __future__ import annotations

from collections import UserDict, deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_context import (
    Context,
    ContextNeuronError,
    EntityNeuron,
    ListNeuron,
    PromptBuilder,
    StateShapeError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    BuildOne = Callable[..., Coroutine[Any, Any, str]]

TAGS = {
    "todo": ("todos", "todo_list"),
    "history": ("history", "conversation_history"),
    "knowledge": ("knowledge_items", "knowledge"),
    "workspace": ("workspace_artifacts", "workspace"),
    "skill": ("skills", "available_skills"),
    "fact": ("facts", "facts"),
    "entity": ("entities", "entities"),
}
OF_MAPPINGS = [name for name in TAGS if name != "fact"]

LINES: list[tuple[str, object, str]] = [
    ("todo", {"item": "a", "done": True}, "  [x] a"),
    ("todo", {"item": "a", "done": False}, "  [ ] a"),
    ("todo", {"item": "a"}, "  [ ] a"),
    ("todo", {"item": "a", "done": "no"}, "  [x] a"),
    ("todo", {"item": "a", "done": [0]}, "  [x] a"),
    ("todo", {"item": "a", "done": ""}, "  [ ] a"),
    ("todo", {"item": "a", "done": None}, "  [ ] a"),
    ("todo", {"item": "a", "done": 0}, "  [ ] a"),
    ("todo", {"item": None}, "  [ ] None"),
    ("todo", {"item": ""}, "  [ ] "),
    ("todo", {}, "  [ ] "),
    ("history", {"role": "user", "content": "hi"}, "[user]: hi"),
    ("history", {"content": "hi"}, "[unknown]: hi"),
    ("history", {"role": "user"}, "[user]: "),
    ("history", {"role": None, "content": None}, "[None]: None"),
    ("history", {"role": "", "content": ["a", 1]}, "[]: ['a', 1]"),
    ("history", {}, "[unknown]: "),
    ("history", {"role": "user", "content": "a\nb\n"}, "[user]: a\nb\n"),
    ("knowledge", {"source": "s", "content": "c"}, "  [s]: c"),
    ("knowledge", {"content": "c"}, "  [unknown]: c"),
    ("knowledge", {"source": "s"}, "  [s]: "),
    ("knowledge", {"source": None, "content": None}, "  [None]: None"),
    ("knowledge", {"source": "", "content": ""}, "  []: "),
    ("knowledge", {"source": "s", "content": "a\nb"}, "  [s]: a\nb"),
    ("workspace", {"name": "n", "type": "code", "size": 3}, "  n [code] (3 bytes)"),
    ("workspace", {"name": "n", "type": "code"}, "  n [code]"),
    ("workspace", {"name": "n", "size": 0}, "  n [file] (0 bytes)"),
    ("workspace", {"name": "n", "size": 1}, "  n [file] (1 bytes)"),
    ("workspace", {"name": "n", "size": None}, "  n [file]"),
    ("workspace", {"name": "n", "size": ""}, "  n [file] ( bytes)"),
    ("workspace", {"name": "n", "size": "2kb"}, "  n [file] (2kb bytes)"),
    ("workspace", {"name": None, "type": None}, "  None [None]"),
    ("workspace", {"name": "", "type": ""}, "   []"),
    ("workspace", {}, "  unnamed [file]"),
    ("skill", {"name": "n", "description": "d", "active": True}, "  - n: d"),
    ("skill", {"name": "n", "description": "d"}, "  - n: d"),
    ("skill", {"name": "n", "description": "d", "active": "no"}, "  - n: d"),
    ("skill", {"name": "n", "description": "d", "active": False}, "  - n: d [inactive]"),
    ("skill", {"name": "n", "description": "d", "active": None}, "  - n: d [inactive]"),
    ("skill", {"name": "n", "description": "d", "active": 0}, "  - n: d [inactive]"),
    ("skill", {"name": "n", "description": "d", "active": ""}, "  - n: d [inactive]"),
    ("skill", {"name": "n"}, "  - n: "),
    ("skill", {"name": None, "description": None}, "  - None: None"),
    ("skill", {"active": False}, "  - unnamed:  [inactive]"),
    ("fact", "a", "  - a"),
    ("fact", "", "  - "),
    ("fact", None, "  - None"),
    ("fact", 0, "  - 0"),
    ("fact", {"a": 1}, "  - {'a': 1}"),
    ("fact", "a\n  - b", "  - a\n  - b"),
    ("entity", {"name": "n", "type": "t"}, "  n (t)"),
    ("entity", {"name": "n"}, "  n (unknown)"),
    ("entity", {"type": "t"}, "  unknown (t)"),
    ("entity", {"name": None, "type": None}, "  None (None)"),
    ("entity", {"name": "", "type": ""}, "   ()"),
    ("entity", {}, "  unknown (unknown)"),
]


def listed(name: str, *lines: str) -> str:
    """Return the fragment with these lines."""
    tag = TAGS[name][1]
    return "\n".join([f"<{tag}>", *lines, f"</{tag}>"])


@pytest.mark.parametrize(("name", "item", "line"), LINES)
async def test_item_is_one_line(build_one: BuildOne, name: str, item: object, line: str) -> None:
    assert await build_one(name, {TAGS[name][0]: [item]}) == listed(name, line)


@pytest.mark.parametrize("name", TAGS)
async def test_items_keep_order_and_duplicates(build_one: BuildOne, name: str) -> None:
    lines = [(item, line) for listing, item, line in LINES if listing == name]
    items = [item for item, _ in lines]
    assert await build_one(name, {TAGS[name][0]: items + items}) == listed(
        name, *(line for _, line in lines * 2)
    )


@pytest.mark.parametrize("nothing", [None, [], (), "", 0, False, {}, deque(), iter(())])
@pytest.mark.parametrize("name", TAGS)
async def test_empty_list_gives_an_empty_fragment(build_one: BuildOne, name: str, nothing: object) -> None:
    assert await build_one(name, {TAGS[name][0]: nothing}) == ""


@pytest.mark.parametrize("name", TAGS)
async def test_missing_list_gives_an_empty_fragment(build_one: BuildOne, name: str) -> None:
    assert await build_one(name, {"something": "else"}) == ""


@pytest.mark.parametrize("collect", [tuple, deque, iter, lambda items: (item for item in items)])
@pytest.mark.parametrize("name", TAGS)
async def test_list_can_be_any_iterable(
    build_one: BuildOne, name: str, collect: Callable[[Iterable[object]], Iterable[object]]
) -> None:
    items, lines = zip(*((item, line) for listing, item, line in LINES if listing == name), strict=True)
    assert await build_one(name, {TAGS[name][0]: collect(items)}) == listed(name, *lines)


@pytest.mark.parametrize("kind", [UserDict, MappingProxyType])
async def test_item_can_be_any_mapping(
    build_one: BuildOne, kind: Callable[[dict[str, str]], Mapping[str, str]]
) -> None:
    assert await build_one("entity", {"entities": [kind({"name": "n"})]}) == listed("entity", "  n (unknown)")


@pytest.mark.parametrize("name", TAGS)
async def test_options_do_not_change_the_fragment(build_one: BuildOne, name: str) -> None:
    state = {TAGS[name][0]: [item for listing, item, _ in LINES if listing == name]}
    assert await build_one(name, state, limit=1, title="x", step=1) == await build_one(name, state)


@pytest.mark.parametrize("name", TAGS)
async def test_state_is_read_during_the_build(name: str) -> None:
    parent = Context("parent")
    builder = PromptBuilder(parent.fork("child")).add(name)
    _, item, line = next(row for row in LINES if row[0] == name)
    parent.state[TAGS[name][0]] = [item]
    assert await builder.build() == listed(name, line)


@pytest.mark.parametrize("value", ["hush-hush", b"hush-hush", {"hush-hush": 1}, 31337, True])
@pytest.mark.parametrize("name", TAGS)
async def test_other_type_than_list_is_an_error_without_the_value(
    build_one: BuildOne, name: str, value: object
) -> None:
    key = TAGS[name][0]
    with pytest.raises(StateShapeError) as caught:
        await build_one(name, {key: value})
    kind = type(value).__name__
    assert str(caught.value) == f"context Neuron {name!r} expected a list as state key {key!r}, not {kind}"
    assert (caught.value.neuron, caught.value.key, caught.value.expected) == (name, key, "a list")


@pytest.mark.parametrize("item", ["hush-hush", None, 31337, ["hush-hush"], object()])
@pytest.mark.parametrize("name", OF_MAPPINGS)
async def test_item_of_another_type_is_an_error_with_its_index(
    build_one: BuildOne, name: str, item: object
) -> None:
    key = TAGS[name][0]
    with pytest.raises(StateShapeError) as caught:
        await build_one(name, {key: [{}, {}, item, "another"]})
    kind = type(item).__name__
    expectation = f"expected a mapping as item 2 of state key {key!r}, not {kind}"
    assert str(caught.value) == f"context Neuron {name!r} {expectation}"
    assert (caught.value.neuron, caught.value.key, caught.value.expected) == (name, key, "a mapping")


class Row:
    """Has a `get` method like a mapping."""

    def get(self, key: str, default: object = None) -> object:
        return {"name": "n"}.get(key, default)


async def test_object_with_get_is_not_reported_for_another_item(build_one: BuildOne) -> None:
    assert await build_one("entity", {"entities": [Row()]}) == listed("entity", "  n (unknown)")
    with pytest.raises(StateShapeError, match="item 1 of state key 'entities', not str"):
        await build_one("entity", {"entities": [Row(), "x"]})


class Unprintable:
    """Cannot be converted to text."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("no text")


@pytest.mark.parametrize("error", [AttributeError, TypeError, RuntimeError])
@pytest.mark.parametrize("name", ["fact", "entity"])
async def test_exception_of_str_is_not_a_shape_error(
    build_one: BuildOne, name: str, error: type[Exception]
) -> None:
    value = Unprintable(error)
    items = ["fine", value] if name == "fact" else [{}, {"name": value}]
    with pytest.raises(ContextNeuronError) as caught:
        await build_one(name, {TAGS[name][0]: items})
    assert str(caught.value) == f"context Neuron {name!r} failed: {error.__name__}: no text"
    assert type(caught.value.__cause__) is error


class Confused:
    """Raises an AttributeError for `get` while it is converted to text."""

    def __str__(self) -> str:
        nothing: Any = None
        return str(nothing.get("text"))


async def test_attribute_error_inside_str_is_not_a_shape_error(build_one: BuildOne) -> None:
    with pytest.raises(ContextNeuronError, match="'fact' failed: AttributeError: 'NoneType' object"):
        await build_one("fact", {"facts": ["fine", Confused()]})


class Shouting(ListNeuron):
    """A third-party Neuron that lists strings."""

    key = "words"
    tag = "words"

    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"  {word.upper()}" for word in items]


async def test_list_neuron_subclass_can_list_strings() -> None:
    ctx = Context("t", state={"words": ["a", "b"]})
    builder = PromptBuilder(ctx).add_neuron(Shouting("shouting"))
    assert await builder.build() == "<words>\n  A\n  B\n</words>"
    ctx.state["words"] = ["a", 7]
    with pytest.raises(ContextNeuronError, match="'shouting' failed: AttributeError: 'int' object"):
        await builder.build()


class FirstTwo(EntityNeuron):
    """A third-party Neuron that lists only the first items."""

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        return super().items(ctx, **kwargs)[:2]


async def test_wrong_item_of_a_prefix_is_named_by_its_index() -> None:
    ctx = Context("t", state={"entities": [{}, "x", {}]})
    with pytest.raises(StateShapeError, match="item 1 of state key 'entities', not str"):
        await PromptBuilder(ctx).add_neuron(FirstTwo()).build()
