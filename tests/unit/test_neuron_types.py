"""Types of inputs and outputs: resolved from annotations, converted, and announced."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
)
from unittest.mock import Mock

import attrs
import jsonschema
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmo_core import (
    AskBack,
    Axon,
    CosmoError,
    NeuronFn,
    OutputTypeError,
    Signal,
    SignalType,
    clarify,
    convert_output,
    decode,
    encode,
)
from cosmo_core.contracts.axon import Emitter
from cosmo_core.contracts.neuron_types import check_output_type, find_description, find_type
from cosmo_core.protocol.payloads import MAX_DESCRIPTION, MAX_SCHEMA_BYTES

if TYPE_CHECKING:
    from decimal import Decimal


class Leaf(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    at: dt.date
    tags: set[str] = pydantic.Field(default_factory=set, alias="tagNames")


@attrs.frozen
class Plan:
    steps: list[str]
    leaf: Leaf | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Told(TypedDict):
    value: int


@pydantic.dataclasses.dataclass
class Checked:
    positive: Annotated[int, pydantic.Field(gt=0)]


LEAF = Leaf(at=dt.date(2026, 1, 2), tagNames={"a"})


# --- convert_output ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "type", "expected"),
    [
        ({"steps": ["a"], "more": 1}, Plan, Plan(["a"])),
        ({"steps": [], "leaf": {"at": "2026-01-02", "tagNames": ["a"]}}, Plan, Plan([], LEAF)),
        ({"at": "2026-01-02", "tagNames": ["a"]}, Leaf, LEAF),
        ({"value": [{"at": "2026-01-02", "tagNames": ["a"]}]}, list[Leaf], [LEAF]),
        ({"value": {"steps": ["a"]}}, Plan, Plan(["a"])),
        ({"value": 1}, Told, {"value": 1}),
        ({"value": 1}, int, 1),
        ({"value": [1, "a"]}, Pair, Pair(1, "a")),
        ({"1": "2026-01-02"}, dict[int, dt.date], {1: dt.date(2026, 1, 2)}),
        ({"value": 1}, Any, {"value": 1}),
    ],
)
def test_convert_output_returns_an_object_of_the_type(output: Any, type: Any, expected: Any) -> None:
    assert convert_output(output, type, "plan") == expected


@pytest.mark.parametrize(
    ("output", "type", "reason"),
    [
        ({"step": []}, Plan, "a valid Plan: Object missing required field `steps`"),
        ({"steps": ["a", 1]}, Plan, "a valid Plan: Expected `str`, got `int` - at `$.steps[1]`"),
        ({"steps": [], "leaf": {}}, Plan, "a valid Plan: at: Field required - at `$.leaf`"),
        ({"at": "secret"}, Leaf, "a valid Leaf: at: Input should be a valid date in the format YYYY-MM-DD"),
        ({"value": ["a"]}, list[int], "a valid list[int]: Expected `int`, got `str` - at `$[0]`"),
        ({"value": 1, "more": 2}, int, "a valid int: Expected `int`, got `object`"),
    ],
)
def test_convert_output_names_neuron_type_and_path(output: Any, type: Any, reason: str) -> None:
    with pytest.raises(OutputTypeError) as raised:
        convert_output(output, type, "plan")
    assert str(raised.value).startswith(f"the output of Neuron 'plan' is not {reason}")
    assert "secret" not in str(raised.value)
    assert raised.value.neuron_id == "plan"
    assert raised.value.reason in reason or reason.endswith("MM-DD")
    assert isinstance(raised.value, CosmoError | ValueError)


@pytest.mark.parametrize("type", [complex, list[complex], Leaf | int])
def test_convert_output_rejects_a_type_without_json_values(type: Any) -> None:
    with pytest.raises(TypeError, match=r"msgspec cannot check|is not supported"):
        convert_output({"value": [1]}, type, "plan")


@pytest.mark.parametrize(
    "type", [int, Plan, list[Leaf], Leaf | None, Any, Annotated[int, {"an": "object without a hash"}]]
)
def test_output_type_that_can_be_checked_is_accepted(type: Any) -> None:
    check_output_type(type)


@pytest.mark.parametrize(
    ("type", "reason"),
    [
        (complex, "no JSON value is an object of class complex"),
        (dict[str, list[complex]], "no JSON value is an object of class complex"),
        (Leaf | int, "Type unions containing a custom type may not contain"),
        ("Plan", "is not supported"),
        (list[Checked], "the validators of the pydantic dataclass Checked would not run"),
        (Annotated[complex, {}], "no JSON value is an object of class complex"),
    ],
)
def test_output_type_that_cannot_be_checked_is_an_error_that_says_why(type: Any, reason: str) -> None:
    start = re.escape(f"output_type={type!r}: msgspec cannot check it: ")
    for _ in range(2):  # The second time it is remembered, or not.
        with pytest.raises(TypeError, match=f"^{start}.*{reason}.*; use .* output_type=Any"):
            check_output_type(type)


def test_schema_of_an_output_type_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fresh(msgspec.Struct):
        leaf: Leaf

    schema = Mock(wraps=msgspec.json.schema)
    monkeypatch.setattr(msgspec.json, "schema", schema)
    for _ in range(3):
        check_output_type(Fresh)
        check_output_type(list[Fresh])
    assert schema.call_count == 2


@pytest.mark.parametrize("side", ["input_type", "output_type"])
def test_pydantic_dataclass_is_refused_because_its_validators_would_not_run(side: str) -> None:
    types: dict[str, Any] = {side: Checked | None}
    with pytest.raises(TypeError, match="the validators of the pydantic dataclass Checked would not run"):
        Axon(neuron_id="n", neuron_fn=typed("dict[str, Any]"), **types)


def test_convert_output_does_not_hide_errors_of_the_type_itself() -> None:
    class Broken(msgspec.Struct):
        def __post_init__(self) -> None:
            raise LookupError("own bug")

    with pytest.raises(LookupError, match="own bug"):
        convert_output({}, Broken, "plan")


# --- types from annotations -------------------------------------------------------------------------


class Order(TypedDict):
    topic: str
    pages: NotRequired[int]


def typed(input: Any = ..., returns: Any = ...) -> Callable[..., Any]:
    """Return a function with these annotations, texts or types; ``...`` stands for a missing one."""

    async def neuron(input: Any, context: list[Any]) -> Any: ...

    annotations = {"input": input, "context": "Unknown", "return": returns}
    neuron.__annotations__ = {name: each for name, each in annotations.items() if each is not ...}
    return neuron


async def function(input: Order, context: Unknown) -> Plan:  # type: ignore[name-defined]  # noqa: F821
    return Plan([input["topic"]])


def plain_function(input: Order, context: list[Any]) -> Plan:
    return Plan([input["topic"]])


def returns_coroutine(input: Order, context: list[Any]) -> Coroutine[Any, Any, Plan]:
    return function(input, context)


def returns_awaitable(input: Order, context: list[Any]) -> Awaitable[Plan]:
    return function(input, context)


async def configured(prefix: str, input: Order, context: list[Any], *, more: Decimal | None) -> Plan:
    return Plan([prefix + input["topic"]])


class Planner:
    """Plans."""

    async def __call__(self, input: Order, context: list[Any]) -> Plan:
        return Plan([input["topic"]])

    async def method(self, input: Order, context: list[Any]) -> Plan:
        return Plan([input["topic"]])

    @classmethod
    async def of_class(cls, input: Order, context: list[Any]) -> Plan:
        return Plan([input["topic"]])

    @staticmethod
    async def static(input: Order, context: list[Any]) -> Plan:
        return Plan([input["topic"]])


async def streams(input: Order, context: list[Any]) -> AsyncIterator[str | Plan]:
    yield "thinking"
    yield Plan([input["topic"]])


async def generates(input: Order, context: list[Any]) -> AsyncGenerator[Union[str, Plan, AskBack], None]:  # noqa: UP007
    yield Plan([input["topic"]])


def decorated(neuron: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(neuron)
    async def call(*args: Any) -> Any:
        return await neuron(*args)

    return call


SHAPES: list[Callable[..., Any]] = [
    function,
    plain_function,
    returns_coroutine,
    returns_awaitable,
    functools.partial(configured, "", more=None),
    functools.partial(functools.partial(configured, ""), more=None),
    Planner(),
    functools.partial(Planner()),
    Planner().method,
    Planner.of_class,
    Planner.static,
    streams,
    generates,
    decorated(function),
    decorated(functools.partial(configured, "", more=None)),
]


@pytest.mark.parametrize("neuron", SHAPES, ids=lambda each: getattr(each, "__qualname__", repr(each)[:30]))
async def test_types_come_from_annotations_of_every_shape(neuron: Any) -> None:
    axon = Axon(neuron_id="plan", neuron_fn=neuron)
    assert (axon.input_type, axon.output_type) == (Order, Plan)
    assert (await run(axon, {"topic": "tea"})).payload["output"] == {"steps": ["tea"], "leaf": None}
    assert (await run(axon, {"topic": 1})).payload["code"] == "INPUT_INVALID"


T = TypeVar("T")
UNCHECKED = [
    ...,
    "Any",
    "object",
    "dict",
    "dict[str, Any]",
    "dict[str, object]",
    "Mapping[str, Any]",
    "Mapping",
    Any,
    dict,
    Mapping[str, Any],
    None,
    "None",
    Union[dict[str, Any], None],  # noqa: UP007
    "Order | Any",
    "Order | dict[str, Any]",
]


@pytest.mark.parametrize("annotation", UNCHECKED, ids=repr)
async def test_annotation_that_every_object_fits_is_not_a_type(annotation: Any) -> None:
    seen: list[Any] = []

    async def neuron(input: Any, context: list[Any]) -> Any:
        seen.append(input)
        return input

    given = {"input": annotation, "return": annotation}
    neuron.__annotations__ = {} if annotation is ... else given
    axon = Axon(neuron_id="n", neuron_fn=neuron)
    assert (axon.input_type, axon.output_type) == (None, None)
    assert (axon.input_schema, axon.output_schema, axon.details) == (None, None, {})
    task = Signal.new(SignalType.TASK, {"input": {"a": [1]}})
    answer = await axon.answer(task, Port())
    assert seen[0] is answer.payload["output"] is task.payload["input"]


@pytest.mark.parametrize(
    ("annotation", "type"),
    [
        ("AskBack", None),
        (NoReturn, None),
        ("Plan | AskBack | None", Plan),
        (Union[Plan, "AskBack"], Plan),
        ("Union[Leaf, AskBack]", Leaf),
        ("list[Leaf] | str | AskBack", list[Leaf] | str),
        ("list['Leaf']", list[Leaf]),
        ("Annotated[int, msgspec.Meta(gt=0)]", Annotated[int, msgspec.Meta(gt=0)]),
        ("str", str),
        ("Literal['a', 'b']", Literal["a", "b"]),
        ("Awaitable[dict[str, Any]]", None),
        ("Coroutine[Any, Any, int]", int),
        ("Coroutine", None),
        ("dict[str, int]", dict[str, int]),
        ("T", T),
    ],
)
def test_output_type_is_what_is_left_of_the_annotation(annotation: Any, type: Any) -> None:
    assert find_type(typed(returns=annotation), "output")[0] == type


@pytest.mark.parametrize(
    ("annotation", "type"),
    [
        ("AsyncIterator[str]", None),
        ("AsyncIterator", None),
        ("AsyncIterator[str | dict[str, Any]]", None),
        ("AsyncGenerator[str | Plan]", Plan),
        ("AsyncGenerator[str | Plan | AskBack, None]", Plan),
        ("AsyncIterator[Plan]", Plan),
    ],
)
def test_output_type_of_a_stream_is_what_it_yields_beside_texts(annotation: Any, type: Any) -> None:
    async def neuron(input: Any, context: list[Any]) -> Any:
        yield ""

    neuron.__annotations__ = {"return": annotation}
    assert find_type(neuron, "output")[0] == type


def test_input_of_star_arguments_has_no_type() -> None:
    async def neuron(*args: str) -> None: ...

    assert find_type(neuron, "input") == (None, None)


def test_explicit_type_wins_over_the_annotation() -> None:
    axon = Axon(neuron_id="n", neuron_fn=typed("Unknown", "Unknown"), input_type=Order, output_type=Any)
    assert (axon.input_type, axon.output_type, axon.output_schema) == (Order, Any, None)


def local() -> Callable[..., Any]:
    class Hidden(TypedDict):
        a: int

    async def neuron(input: Hidden, context: list[Any]) -> dict[str, Any]:
        return {**input}

    return neuron


class Light(enum.Enum):
    RED = "red"


class Row(msgspec.Struct, array_like=True):
    a: int


class Names(pydantic.RootModel[list[str]]): ...


@pytest.mark.parametrize(
    "type",
    [
        str,
        int,
        bool,
        list[str],
        tuple[int, str],
        Literal["a", 1],
        Light,
        str | int | None,
        Row,
        Names,
        Annotated[int, msgspec.Meta(ge=0)],
    ],
    ids=repr,
)
def test_type_without_objects_is_not_the_type_of_an_input(type: Any) -> None:
    with pytest.raises(TypeError, match=r"neuron: .* is not an object, as every .*; use a TypedDict"):
        Axon(neuron_id="n", neuron_fn=typed(type))
    with pytest.raises(TypeError, match=r"^input_type=.* is not an object"):
        Axon(neuron_id="n", neuron_fn=typed(), input_type=type)
    assert find_type(typed(returns=type), "output")[1] is not None


@pytest.mark.parametrize(
    "type", [Order, Order | int, pydantic.RootModel[dict[str, int]], dict[str, int] | None], ids=repr
)
def test_type_with_objects_is_the_type_of_an_input(type: Any) -> None:
    assert Axon(neuron_id="n", neuron_fn=typed(type)).input_schema is not None


class Later(TypedDict):
    a: Decimal


class Undefined(pydantic.BaseModel):
    a: Unknown  # type: ignore[name-defined]  # noqa: F821


ADVICE = (
    "define it at module level, above the function and outside of `if TYPE_CHECKING`, or pass input_type=…"
)


@pytest.mark.parametrize(
    ("neuron", "where", "reason"),
    [
        (local(), "local.<locals>.neuron", f"it cannot be resolved: name 'Hidden' is not defined; {ADVICE}"),
        (typed("Decimal"), "typed.<locals>.neuron", "it cannot be resolved: name 'Decimal' is not defined"),
        (typed("dt.Unknown"), "typed.<locals>.neuron", "it cannot be resolved: module 'datetime' has no"),
        (typed("the order"), "typed.<locals>.neuron", "it cannot be resolved: Forward reference must be"),
        (typed("Later"), "typed.<locals>.neuron", "it cannot be resolved: name 'Decimal' is not defined"),
        (typed(5), "typed.<locals>.neuron", "msgspec cannot check it: "),
        (typed("complex"), "typed.<locals>.neuron", "msgspec cannot check it: no JSON value is an object of"),
        (typed("list[complex]"), "typed.<locals>.neuron", "msgspec cannot check it: no JSON value is an"),
        (typed("Order | Told"), "typed.<locals>.neuron", "msgspec cannot check it: Type unions may not"),
        (typed("Leaf | int"), "typed.<locals>.neuron", "msgspec cannot check it: Type unions containing a"),
        (typed("Undefined"), "typed.<locals>.neuron", "msgspec cannot check it: `Undefined` is not fully"),
    ],
)
def test_type_that_cannot_be_used_is_an_error_that_names_the_function(
    neuron: Any, where: str, reason: str
) -> None:
    start = f"the type of the input of {__name__}.{where}: {reason}"
    with pytest.raises(TypeError, match=f"^{re.escape(start)}") as raised:
        Axon(neuron_id="n", neuron_fn=neuron)
    assert "input_type=" in str(raised.value)
    assert Axon(neuron_id="n", neuron_fn=neuron, input_type=Any).input_schema is None


def test_error_about_an_output_names_its_option() -> None:
    with pytest.raises(TypeError, match=r"output of .*typed\.<locals>\.neuron: .* output_type=Any to"):
        Axon(neuron_id="n", neuron_fn=typed(returns="AsyncIterator[complex]"))


# --- values -----------------------------------------------------------------------------------------


class Port:
    """A port that ignores emitted Signals."""

    def emitter(self, task: Signal, type: SignalType) -> Emitter:
        return lambda signal: None

    def error_payload(self, error: BaseException, task: Signal) -> dict[str, Any]:
        raise AssertionError from error


async def run(axon: Axon, input: dict[str, Any]) -> Signal:
    """Return the answer to a TASK; both cross the wire."""
    task = decode(encode(Signal.new(SignalType.TASK, {"input": input})))
    return decode(encode(await axon.answer(task, Port())))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mark(str):
    __slots__ = ()


class Part(TypedDict):
    leaf: Leaf


# One record, as each kind of type has it.
class AsTypedDict(TypedDict):
    at: dt.datetime
    colour: Colour
    mark: Mark
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[Part]


@dataclasses.dataclass
class AsDataclass:
    at: dt.datetime
    colour: Colour
    mark: Mark
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[Part]


@attrs.define
class AsAttrs:
    at: dt.datetime
    colour: Colour
    mark: Mark
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[Part]


class AsStruct(msgspec.Struct, kw_only=True):
    at: dt.datetime
    colour: Colour
    mark: Mark
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[Part]


class AsModel(pydantic.BaseModel):
    at: dt.datetime
    colour: Colour
    mark: str
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[dict[Literal["leaf"], Leaf]]


class AsNamedTuple(NamedTuple):
    at: dt.datetime
    colour: Colour
    mark: Mark
    numbers: dict[int, float]
    tags: set[str]
    leaf: Leaf | None
    leaves: list[Leaf]
    parts: list[Part]


OBJECTS = [AsTypedDict, AsDataclass, AsAttrs, AsStruct, AsModel]
leaves = st.builds(Leaf, at=st.dates(), tagNames=st.sets(st.text(max_size=3), max_size=2))
FIELDS = st.fixed_dictionaries(
    {
        "at": st.datetimes(timezones=st.none() | st.just(dt.UTC)),
        "colour": st.sampled_from(Colour),
        "mark": st.text(max_size=3).map(Mark),
        "numbers": st.dictionaries(st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), max_size=2),
        "tags": st.sets(st.text(max_size=3), max_size=2),
        "leaf": st.none() | leaves,
        "leaves": st.lists(leaves, max_size=2),
        "parts": st.lists(st.fixed_dictionaries({"leaf": leaves}), max_size=2),
    }
)


@pytest.mark.parametrize("kind", [*OBJECTS, AsNamedTuple], ids=lambda kind: kind.__name__)
def test_output_arrives_as_the_object_that_was_returned(kind: Any) -> None:
    @settings(max_examples=25, deadline=None)
    @given(FIELDS)
    def check(fields: dict[str, Any]) -> None:
        value = kind(**fields)
        for returned, type in ((value, kind), ([value], list[kind]), ({"in": value}, dict[str, kind])):

            async def neuron(input: Any, context: list[Any], returned: Any = returned) -> Any:
                return returned

            axon = Axon(neuron_id="n", neuron_fn=neuron, output_type=type)
            reply = asyncio.run(run(axon, {}))
            reply.raise_for_error()
            output = reply.payload["output"]
            assert convert_output(output, type, "n") == returned
            assert axon.output_schema is not None
            value_sent = output["value"] if isinstance(returned, list | tuple) else output
            jsonschema.Draft202012Validator(axon.output_schema).validate(value_sent)

    check()


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.__name__)
def test_neuron_gets_the_object_that_was_sent(kind: Any) -> None:
    @settings(max_examples=25, deadline=None)
    @given(FIELDS)
    def check(fields: dict[str, Any]) -> None:
        seen: list[Any] = []

        async def neuron(input: Any, context: list[Any]) -> Any:
            seen.append(input)
            return input

        neuron.__annotations__ = {"input": kind, "return": kind}
        axon = Axon(neuron_id="n", neuron_fn=neuron)
        sent = kind(**fields)
        reply = asyncio.run(run(axon, msgspec.to_builtins(_as_output(sent))))
        reply.raise_for_error()
        assert seen == [sent]
        assert convert_output(reply.payload["output"], kind, "n") == sent

    check()


def _as_output(value: Any) -> Any:
    """Return the JSON form of an object."""

    async def neuron(input: Any, context: list[Any]) -> Any:
        return value

    return asyncio.run(run(Axon(neuron_id="n", neuron_fn=neuron), {})).payload["output"]


class Talk(TypedDict):
    at: dt.date
    messages: list[Order]
    part: NotRequired[Part]
    any: NotRequired[Any]


async def test_typed_dict_is_the_dictionary_that_came_with_its_unknown_keys() -> None:
    seen: list[Any] = []

    async def neuron(input: Talk, context: list[Any]) -> AskBack:
        seen.append(input)
        return clarify("which?")

    message = {"topic": "tea", "tool_calls": [1]}
    raw: dict[str, Any] = {
        "at": "2026-01-02",
        "messages": [message],
        "part": {"leaf": {"at": "2026-01-02", "tagNames": ["a"]}, "kept": 1},
        "any": {"at": "2026-01-02"},
        "clarifications": [],
    }
    task = Signal.new(SignalType.TASK, {"input": raw})
    asked = decode(encode(await Axon(neuron_id="n", neuron_fn=neuron).answer(task, Port())))
    assert seen[0] is raw
    assert seen[0]["messages"][0] is message
    assert raw == {
        "at": dt.date(2026, 1, 2),
        "messages": [{"topic": "tea", "tool_calls": [1]}],
        "part": {"leaf": LEAF, "kept": 1},
        "any": {"at": "2026-01-02"},
        "clarifications": [],
    }
    # The question carries the input, which can be sent again.
    assert asked.meta["task"]["input"] == {
        "at": "2026-01-02",
        "messages": [message],
        "part": {"leaf": {"at": "2026-01-02", "tagNames": ["a"]}, "kept": 1},
        "any": {"at": "2026-01-02"},
        "clarifications": [],
    }


class Level(enum.StrEnum):
    LOW = "low"


class Equal(TypedDict):
    level: Level
    whole: int
    levels: list[Level]


async def test_equal_values_are_converted_too() -> None:
    seen: list[Any] = []

    async def neuron(input: Equal, context: list[Any]) -> None:
        seen.append(input)

    raw: dict[str, Any] = {"level": "low", "whole": 1, "levels": ["low"]}
    task = Signal.new(SignalType.TASK, {"input": raw})
    await Axon(neuron_id="n", neuron_fn=neuron).answer(task, Port())
    assert seen[0] is raw
    assert repr(raw) == "{'level': <Level.LOW: 'low'>, 'whole': 1, 'levels': [<Level.LOW: 'low'>]}"


@pytest.mark.parametrize("explicit", [True, False])
async def test_explicit_type_and_annotation_do_the_same(explicit: bool) -> None:
    seen: list[Any] = []

    async def neuron(input: Any, context: list[Any]) -> Any:
        seen.append(input)
        return input.leaf

    if not explicit:
        neuron.__annotations__ = {"input": Plan, "return": Leaf}
    types: dict[str, Any] = {"input_type": Plan, "output_type": Leaf} if explicit else {}
    axon = Axon(neuron_id="n", neuron_fn=neuron, **types)
    reply = await run(axon, {"steps": [], "leaf": {"at": "2026-01-02", "tagNames": ["a"]}})
    assert seen == [Plan([], LEAF)]
    assert reply.payload["output"] == {"at": "2026-01-02", "tagNames": ["a"]}
    wrong = await run(axon, {"steps": [], "leaf": {}})
    assert wrong.payload == {
        "code": "INPUT_INVALID",
        "message": "the input of Neuron 'n' is invalid: at: Field required - at `$.leaf`",
        "recoverable": False,
    }
    assert (await run(axon, {"steps": []})).payload["code"] == "OUTPUT_INVALID"
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("type", "output", "reason"),
    [
        (
            list[Plan],
            [Plan(["a"]), Leaf(at=dt.date.min)],
            "Object missing required field `steps` - at `$[1]`",
        ),
        (dict[str, Plan], {"a": {"steps": 1}}, "Expected `array`, got `int` - at `$[...].steps`"),
        (Plan, Leaf(at=dt.date.min), "Object missing required field `steps`"),
        (Leaf, Plan([]), "at: Field required"),
        (Leaf, {"at": "\ud800"}, "'utf-8' codec can't encode character"),
    ],
)
async def test_output_that_does_not_fit_is_an_error_with_its_path(
    type: Any, output: Any, reason: str
) -> None:
    async def neuron(input: Any, context: list[Any]) -> Any:
        return output

    error = await Axon(neuron_id="n", neuron_fn=neuron, output_type=type).answer(
        Signal.new(SignalType.TASK, {"input": {}}), Port()
    )
    assert error.payload["code"] == "OUTPUT_INVALID"
    assert error.payload["message"].startswith(f"the output of Neuron 'n' is invalid: {reason}")


# --- descriptions -----------------------------------------------------------------------------------


class Tree(pydantic.BaseModel):
    children: list[Tree] = []
    leaf: Leaf | None = None


@dataclasses.dataclass
class Wood:
    tree: Tree
    other: Tree | None = None
    orders: list[Order] = dataclasses.field(default_factory=list)
    anything: object = None


@pytest.mark.parametrize("type", [Tree, Wood, list[Tree], dict[str, Wood]], ids=repr)
def test_references_of_a_schema_can_be_resolved(type: Any) -> None:
    # No input is a list.
    side: Any = "output" if type == list[Tree] else "input"
    _, schema = find_type(typed(**{"returns" if side == "output" else "input": type}), side)
    assert schema is not None
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    tree = {"children": [{"children": [], "leaf": {"at": "2026-01-02", "tagNames": []}}]}
    wood = {"tree": tree, "other": tree, "orders": [{"topic": "a"}], "anything": [1]}
    good: Any = {Tree: tree, Wood: wood}.get(type)
    bad: Any = {Tree: {"children": [{"leaf": 1}]}, Wood: {**wood, "other": {"children": 1}}}.get(type)
    if good is None:
        good, bad = ([tree], [{"children": 1}]) if type == list[Tree] else ({"a": wood}, {"a": tree})
    assert validator.is_valid(good)
    assert not validator.is_valid(bad)


def test_schemas_of_input_and_output_tell_what_is_read_and_written() -> None:
    class Sized(pydantic.BaseModel):
        size: int = 1

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def double(self) -> int:
            return 2 * self.size

    axon = Axon(neuron_id="n", neuron_fn=typed(Sized, Sized))
    assert axon.input_schema is not None
    assert axon.output_schema is not None
    assert list(axon.input_schema["properties"]) == ["size"]
    assert list(axon.output_schema["properties"]) == ["size", "double"]


def documented(input: Any, context: list[Any]) -> Any:
    """Write an outline
    of a  topic.

    More.
    """


class Described:
    """A Neuron."""

    def __call__(self, input: Any, context: list[Any]) -> Any:
        """Answer one TASK."""


@pytest.mark.parametrize(
    ("neuron", "description"),
    [
        (documented, "Write an outline of a topic."),
        (functools.partial(documented), "Write an outline of a topic."),
        (decorated(documented), "Write an outline of a topic."),
        (Described(), "A Neuron."),
        (Described().__call__, "Answer one TASK."),
        (lambda input, context: None, None),
    ],
)
def test_description_is_the_first_paragraph_of_the_docstring(
    neuron: NeuronFn, description: str | None
) -> None:
    assert Axon(neuron_id="n", neuron_fn=neuron).description == description
    assert Axon(neuron_id="n", neuron_fn=neuron, description="Given.").description == "Given."


def test_description_is_bounded() -> None:
    def neuron(input: Any, context: list[Any]) -> Any: ...

    neuron.__doc__ = "a" * (MAX_DESCRIPTION + 1)
    assert find_description(neuron) == "a" * MAX_DESCRIPTION
    longest = "b" * MAX_DESCRIPTION
    assert Axon(neuron_id="n", neuron_fn=neuron, description=longest).details == {"description": longest}
    with pytest.raises(ValueError, match=r"^Axon 'n': description has 1025 characters, of at most 1024$"):
        Axon(neuron_id="n", neuron_fn=neuron, description=longest + "b")
    with pytest.raises(TypeError, match=r"^Axon 'n': description is a text, not 5$"):
        Axon(neuron_id="n", neuron_fn=neuron, description=5)  # type: ignore[arg-type]


@pytest.mark.clause("P-4.18")
@pytest.mark.parametrize("side", ["input", "output"])
def test_schema_is_bounded(side: str) -> None:
    def described(size: int) -> Any:
        return Annotated[dict[str, int], msgspec.Meta(description="a" * size)]

    room = MAX_SCHEMA_BYTES - len(msgspec.json.encode(msgspec.json.schema(described(0))))
    largest, larger = described(room), described(room + 1)
    axon = Axon(neuron_id="n", neuron_fn=documented, **{f"{side}_type": largest})
    register = {"role": "neuron", "capabilities": [], **axon.details}
    decode(encode(Signal.new(SignalType.REGISTER, register)))
    reason = f"{side}_schema has 65537 bytes as JSON, of at most 65536"
    with pytest.raises(ValueError, match=rf"^Axon 'n': {reason}$"):
        Axon(neuron_id="n", neuron_fn=documented, **{f"{side}_type": larger})
    register[f"{side}_schema"]["description"] += "a"
    with pytest.raises(ValueError, match=rf"{reason} .in a REGISTER.$"):
        Signal.new(SignalType.REGISTER, register)
