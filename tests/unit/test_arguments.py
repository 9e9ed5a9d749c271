"""Arguments that cannot work are refused where they are given, with the value and what is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, TypedDict

import attrs
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    EngramBinding,
    EngramError,
    MalformedSignalError,
    RetryStrategy,
    Signal,
    SignalType,
    UnencodableError,
    decode,
    encode,
)
from cosmo_core.arguments import (
    MAX_INTEGER,
    MAX_SECONDS,
    check_count,
    check_flag,
    check_options,
    check_seconds,
    check_wait,
    did_you_mean,
    parse_option,
)
from cosmo_core.contracts.engram import Query
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.protocol.ids import new_trace_id
from cosmo_core.protocol.signal import deadline_ms
from cosmo_synapse_memory import MemorySynapse

NOT_SECONDS = [math.inf, -math.inf, math.nan, 2 * MAX_SECONDS, 10**400]
HUGE = 10**400


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    return input


@contextlib.asynccontextmanager
async def _hosting(neuron: Any, **options: Any) -> AsyncIterator[Dendrite]:
    synapse = MemorySynapse()
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse)
    dendrite.attach_axon(Axon(neuron_id="n", neuron_fn=neuron, **options))
    async with dendrite:
        yield dendrite
    await synapse.close()


# --- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NOT_SECONDS, -1])
def test_seconds_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"grace_s is a number of seconds from 0 to 1e\+09, not "):
        check_seconds("grace_s", value)


@pytest.mark.parametrize("value", [True, "5", None, 1j])
def test_seconds_of_another_type_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="grace_s is a number, not "):
        check_seconds("grace_s", value)


def test_seconds_in_range_are_returned() -> None:
    assert [check_seconds("s", value) for value in (0, 0.5, MAX_SECONDS)] == [0, 0.5, MAX_SECONDS]
    with pytest.raises(ValueError, match="above 0"):
        check_seconds("s", 0, positive=True)


@pytest.mark.parametrize("value", [math.inf, math.nan, 2 * MAX_SECONDS])
def test_wait_needs_a_finite_limit_or_none(value: float) -> None:
    for allowed in (None, 0, -1, -math.inf, 5):
        check_wait(allowed)
    with pytest.raises(ValueError, match="timeout_s is a number of seconds"):
        check_wait(value)
    with pytest.raises(ValueError, match="timeout_s is a number of seconds"):
        deadline_ms(value)


WAITS: list[Callable[[Dendrite, Any], Awaitable[object]]] = [
    lambda dendrite, value: dendrite.dispatch_and_wait(neuron="n", input={}, timeout_s=value),
    lambda dendrite, value: _answered(dendrite, lambda pathway: pathway.wait(timeout_s=value)),
    lambda dendrite, value: _answered(
        dendrite, lambda pathway: pathway.wait_for(SignalType.AGENT_OUTPUT, timeout_s=value)
    ),
    lambda dendrite, value: dendrite.wait_until_ready(neuron="n", timeout_s=value),
    lambda dendrite, value: dendrite.stop_trace(new_trace_id(), timeout_s=value),
    lambda dendrite, value: dendrite.recall("e", {"text": "x"}, timeout_s=value),
    lambda dendrite, value: dendrite.imprint("e", op="append", entry={}, timeout_s=value),
]


async def _answered(dendrite: Dendrite, wait: Callable[[Pathway], Awaitable[object]]) -> None:
    """Wait for an answer that has arrived already."""
    async with await dendrite.dispatch(neuron="n", input={}) as pathway:
        await pathway.wait(timeout_s=5)
        await wait(pathway)


@pytest.mark.parametrize("wait", WAITS)
async def test_every_wait_refuses_a_limit_that_cannot_work(
    wait: Callable[[Dendrite, Any], Awaitable[object]],
) -> None:
    async with _hosting(echo) as dendrite:
        value: Any
        for value in ("5", True, 1j, [], b"1", Decimal(1), Fraction(1, 2), timedelta(1)):
            with pytest.raises(TypeError, match="timeout_s is a number, not "):
                await wait(dendrite, value)
        for value in (math.inf, math.nan, 1e308, 10**400, 10**5000):
            with pytest.raises(ValueError, match="timeout_s is a number of seconds") as caught:
                await wait(dendrite, value)
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (HUGE, ValueError), (1.0, TypeError)])
def test_count_is_an_integer_in_range(value: Any, error: type[Exception]) -> None:
    assert check_count("n", MAX_INTEGER) == MAX_INTEGER
    with pytest.raises(error, match=r"n is an integer"):
        check_count("n", value)


NUMBERS: list[tuple[str, Callable[[Any], object]]] = [
    ("heartbeat_s", lambda value: Dendrite(synapse=MemorySynapse(), heartbeat_s=value)),
    ("discovery_s", lambda value: Dendrite(synapse=MemorySynapse(), discovery_s=value)),
    ("grace_s", lambda value: Dendrite(synapse=MemorySynapse(), grace_s=value)),
    ("pathway_buffer", lambda value: Dendrite(synapse=MemorySynapse(), pathway_buffer=value)),
    ("max_concurrency", lambda value: Axon(neuron_id="n", neuron_fn=echo, max_concurrency=value)),
    ("max_backlog", lambda value: Axon(neuron_id="n", neuron_fn=echo, max_backlog=value)),
    ("max_attempts", lambda value: RetryStrategy(max_attempts=value)),
    ("timeout_s", lambda value: RetryStrategy(timeout_s=value)),
    ("backoff", lambda value: RetryStrategy(backoff=value)),
    ("timeout_s", lambda value: EngramBinding("notes", timeout_s=value)),
]


@pytest.mark.parametrize("value", [*NOT_SECONDS, -1, True, "5"], ids=lambda value: repr(value)[:9])
@pytest.mark.parametrize(("name", "make"), NUMBERS)
def test_number_that_cannot_work_is_named_by_every_constructor(
    name: str, make: Callable[[Any], object], value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{name} is (a number|an integer)"):
        make(value)


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (SignalType.TASK, {"input": {}, "deadline_ms": HUGE}),
        (SignalType.TASK, {"input": {}, "deadline_ms": MAX_INTEGER + 1}),
        (SignalType.THOUGHT_DELTA, {"delta": "", "seq": HUGE}),
        (SignalType.BID, {"cost": HUGE}),
        (SignalType.BID, {"cost": 1, "eta_ms": HUGE}),
    ],
)
def test_number_of_a_payload_out_of_range_is_malformed(type: SignalType, payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedSignalError, match=f"payload.*in a {type}"):
        Signal.new(type, payload)


@pytest.mark.parametrize("value", [HUGE, -HUGE, [1, {"n": HUGE}], 2**1024])
def test_integer_beyond_a_double_is_neither_sent_nor_received(value: Any) -> None:
    signal = Signal.new(SignalType.TASK, {"input": {"text": "1 text" * 100, "n": value}})
    with pytest.raises(UnencodableError, match=r"an integer of \d{3} digits does not fit into a double"):
        encode(signal)
    frame = encode(Signal.new(SignalType.TASK, {"input": {"n": 7}}))
    frame = frame.replace(b'"n":7', f'"n":{value}'.replace("'", '"').encode())
    for form in (frame, bytearray(frame), memoryview(frame), frame.decode()):
        with pytest.raises(MalformedSignalError, match="does not fit into a double"):
            decode(form)


@pytest.mark.parametrize("value", [10**308, -(10**308), "9" * 5000, ["9" * 400, 1e308], [0.1234567] * 99])
def test_numbers_within_a_double_and_digits_of_texts_are_carried(value: Any) -> None:
    signal = Signal.new(SignalType.TASK, {"input": {"n": value}})
    assert decode(encode(signal)).payload == signal.payload


def test_vector_beyond_a_double_is_an_invalid_query() -> None:
    with pytest.raises(EngramError, match="vector must have a length") as caught:
        Query.parse({"vector": [HUGE, 1]})
    assert caught.value.code == "ENGRAM_INVALID"


def test_limits_can_be_lower() -> None:
    assert (check_count("n", 5, most=5), check_seconds("s", 5, most=5)) == (5, 5)
    with pytest.raises(ValueError, match="n is an integer of at least 1 and at most 5, not 6"):
        check_count("n", 6, most=5)
    with pytest.raises(ValueError, match="s is a number of seconds from 0 to 5, not 6"):
        check_seconds("s", 6, most=5)


# --- options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("-1", -1), ("0.5", 0.5), ("1E3", 1000.0), ("true", True), ("False", False)]
)
def test_option_of_a_url_is_written_as_in_json(text: str, value: object) -> None:
    assert parse_option(text, type(value)) == value


@pytest.mark.parametrize(
    ("text", "type"),
    [
        *[(text, int) for text in ("", "1_0", "1.5", "0x1", "true", "\u0661", "5s", "null", "[5]", "\ud800")],
        *[(text, float) for text in ("nan", "inf", "1_0", "1e400", "true", "half")],
        *[(text, bool) for text in ("1", "yes", "on", "", "null")],
    ],
)
def test_option_of_a_url_of_another_form_is_refused_and_not_shown(text: str, type: type) -> None:
    with pytest.raises(ValueError, match=r"^a number is written as in 5 or 0\.5, and a flag is true "):
        parse_option(text, type)


@pytest.mark.parametrize("value", ["false", 0, 1, None])
def test_flag_is_true_or_false(value: object) -> None:
    check_flag("insecure", False)
    with pytest.raises(TypeError, match=f"insecure is True or False, not {value!r}"):
        check_flag("insecure", value)


def test_unknown_option_is_named_with_a_suggestion() -> None:
    check_options("a TASK", {"input": 1}, ["input"])
    with pytest.raises(TypeError, match=r"a TASK has no option 'inptu'; did you mean input\?"):
        check_options("a TASK", {"inptu": 1}, ["neuron", "input"])
    assert did_you_mean("x", ["neuron", "input"]) == "known: neuron, input"
    assert did_you_mean("x", []) == "known: none"


# --- objects of a wrong type --------------------------------------------------------------------------


def one(input: Any) -> None: ...


def three(input: Any, context: Any, more: Any) -> None: ...


def keyword(input: Any, context: Any, *, needed: Any) -> None: ...


def plain_generator(input: Any, context: Any) -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize(
    ("neuron", "reason"),
    [
        (one, r"takes \(input, context\), .* takes \(input: 'Any'\)"),
        (three, "missing a required argument: 'more'"),
        (keyword, "missing a required .*argument: 'needed'"),
        (plain_generator, "async generator: write async def"),
        ("echo", "a Neuron is an async function"),
        (None, "a Neuron is an async function"),
    ],
)
def test_axon_refuses_what_cannot_be_called_as_a_neuron(neuron: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Axon(neuron_id="n", neuron_fn=neuron)


def test_axon_names_the_argument_of_a_wrong_type() -> None:
    with pytest.raises(TypeError, match="context_fetcher is an async function"):
        Axon(neuron_id="n", neuron_fn=echo, context_fetcher="notes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"engrams is a list of EngramBinding\(…\), but it has 'notes'"):
        Axon(neuron_id="n", neuron_fn=echo, engrams=["notes"])  # type: ignore[list-item]


def test_dendrite_refuses_a_url_and_does_not_show_it() -> None:
    with pytest.raises(TypeError, match="synapse is a connected Synapse, not str: await connect") as caught:
        Dendrite(synapse="nats://user:s3cret@host")  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


async def test_dendrite_refuses_a_function_as_an_axon() -> None:
    synapse = MemorySynapse()
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse)
    with pytest.raises(TypeError, match=r"expected an Axon, as @neuron or .* makes one, not <function echo"):
        dendrite.attach_axon(echo)  # type: ignore[arg-type]
    async with dendrite:
        with pytest.raises(TypeError, match="expected an Axon"):
            await dendrite.add_axon(echo)  # type: ignore[arg-type]
    await synapse.close()


async def test_methods_name_an_argument_that_is_not_a_signal() -> None:
    async with _hosting(echo) as dendrite:
        calls: dict[str, Callable[[Any], Any]] = {
            "signal": dendrite.emit,
            "offer": lambda given: dendrite.bid(given, cost=1),
            "clarification": lambda given: dendrite.respond_to_clarification(given, "yes"),
            "permission": dendrite.grant_permission,
        }
        for name, call in calls.items():
            with pytest.raises(TypeError, match=f"^{name} is a Signal, as Signal.new.* not 'FINAL'"):
                await call("FINAL")


async def test_options_of_every_method_are_checked() -> None:
    synapse = MemorySynapse()
    await synapse.connect()
    dendrite: Any = Dendrite(synapse=synapse)
    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    task = {"neuron": "echo", "input": {}}
    trace = Signal.new(SignalType.TASK, {"input": {}}).trace_id
    wrong: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: dendrite.dispatch_and_wait(**task, timeout=1),
            "dispatch_and_wait has no option 'timeout'; did you mean timeout_s",
        ),
        (lambda: dendrite.dispatch_and_wait(neuron="echo", inptu={}), "did you mean input"),
        (lambda: dendrite.dispatch_and_wait(neuron="echo"), "needs input="),
        (lambda: dendrite.dispatch_and_wait(neuron="nobody", inptu={}), "did you mean input"),
        (lambda: dendrite.dispatch_and_wait(**task, retry=RetryStrategy(), metta={}), "did you mean meta"),
        (lambda: dendrite.dispatch(**task, timeout_s=1), "a TASK has no option 'timeout_s'"),
        (lambda: dendrite.dispatch_task(**task, nonsense=1), "a TASK has no option 'nonsense'; known: "),
        (lambda: dendrite.dispatch_task(neuron="echo"), "needs input="),
        (lambda: dendrite.dispatch_and_subscribe({}, **task, scop="all"), "did you mean scope"),
        (lambda: dendrite.dispatch(**task, scope="some"), 'scope is "all" or "terminal"'),
        (lambda: dendrite.dispatch(**task, deadline_s=math.nan), "deadline_s is a number"),
        (lambda: dendrite.dispatch(input={}, capabilities=7), "capabilities is a list of names"),
        (lambda: dendrite.dispatch_offer(input={}, capabilities=["a"], slect=1), "did you mean select"),
        (lambda: dendrite.dispatch_offer(capabilities=["a"]), "an offer needs input="),
        (lambda: dendrite.dispatch_offer(input={}, capabilities=["a"], deadline_s=math.inf), "deadline_s is"),
        (
            lambda: dendrite.emit_final(trace, 1, parent="x"),
            "emit_final has no option 'parent'",
        ),
        (
            lambda: dendrite.bid(Signal.new(SignalType.TASK_OFFER, {"input": {}}), cost=math.nan),
            "cost is a finite number",
        ),
        (lambda: dendrite.emit({"type": "FINAL"}), "signal is a Signal"),
        (lambda: dendrite.watch(SignalType.FINAL, print, neurn="a"), "did you mean neuron"),
        (lambda: dendrite.watch(SignalType.FINAL, "print"), "a handler is a function"),
        (lambda: dendrite.watch("FINALE", print), "FINALE"),
        (lambda: dendrite.wait_until_ready(timeout_s=math.nan), "timeout_s is a number"),
        (lambda: dendrite.stop_trace(trace, timeout_s=math.inf), "timeout_s is a number"),
        (lambda: dendrite.recall("notes", {}, timeout_s=math.inf), "timeout_s is a number"),
    ]
    async with dendrite:
        for call, reason in wrong:
            with pytest.raises((TypeError, ValueError), match=reason):
                await call()
        with pytest.raises(TypeError, match="did you mean trace_id"):
            dendrite.on_final(trace="x")
        for limit in (math.inf, math.nan, 2 * MAX_SECONDS):
            with pytest.raises(ValueError, match="timeout_s is a number of seconds"):
                await dendrite.dispatch_and_wait(**task, timeout_s=limit)
            pathway = await dendrite.dispatch(**task)
            with pytest.raises(ValueError, match="timeout_s is a number of seconds"):
                await pathway.wait_for(SignalType.PLAN, timeout_s=limit)
            pathway.close()
        assert dendrite._pathways.pathways() == []
    await synapse.close()


# --- outputs ------------------------------------------------------------------------------------------


class Markup(str):
    __slots__ = ()


class Degrees(float):
    __slots__ = ()


class Level(int):
    pass


@dataclasses.dataclass
class Point:
    x: int
    label: Markup


@attrs.define
class Record:
    points: list[Point]


class Model:
    """Looks like a pydantic model."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        assert (mode, by_alias) == ("json", True)
        return {"x": Level(1)}


class Scalar:
    """Looks like a scalar or an array of numpy."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


POINT = {"x": 1, "label": "a"}
STANDS_FOR = [
    (Point(1, Markup("a")), POINT),
    (Record([Point(1, Markup("a"))]), {"points": [POINT]}),
    (Model(), {"x": 1}),
    ({"response": Markup("hi"), "n": Scalar(3)}, {"response": "hi", "n": 3}),
    (Markup("hi"), {"value": "hi"}),
    (Degrees(1.5), {"value": 1.5}),
    (Level(3), {"value": 3}),
    (Scalar(2.5), {"value": 2.5}),
    (Scalar([1, 2]), {"value": [1, 2]}),
    (deque([Markup("a")]), {"value": ["a"]}),
    (range(2), {"value": [0, 1]}),
    (PurePosixPath("/a"), {"value": "/a"}),
    ([Scalar(1)], {"value": [1]}),
    ("hi", {"value": "hi"}),
    (False, {"value": False}),
]


@pytest.mark.parametrize(("returned", "output"), STANDS_FOR)
async def test_output_is_the_value_that_an_object_stands_for(returned: Any, output: Any) -> None:
    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return returned

    async with _hosting(returns) as dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="n", input={})
        assert reply.raise_for_error().payload == {"output": output}


class Array(Scalar):
    """An array as that of numpy: it has items, no truth value, and a comparison for each item."""

    __hash__ = None  # type: ignore[assignment]  # as numpy has it

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (Array(item) if isinstance(item, list) else Scalar(item) for item in self.value)

    def __getitem__(self, index: int) -> Any:
        return self.value[index]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array with more than one element is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Array([item == other for item in self.value])


class Double(float):
    """A float64 as that of numpy, which is a float with the methods of an array."""

    def tolist(self) -> float:
        return float(self)


class Text(str):
    """A str_ as that of numpy, which is a str with the methods of an array."""

    __slots__ = ()

    def tolist(self) -> str:
        return str(self)


async def test_output_may_be_values_of_numpy() -> None:
    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return {
            "float": Scalar(1.5),
            "double": Double(0.1),
            "int": Scalar(7),
            "flag": Scalar(True),
            "text": Text("a"),
            "array": Array([[0, 1], [2, 3]]),
        }

    async with _hosting(returns) as dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="n", input={})
        assert reply.raise_for_error().payload["output"] == {
            "float": 1.5,
            "double": 0.1,
            "int": 7,
            "flag": True,
            "text": "a",
            "array": [[0, 1], [2, 3]],
        }


async def test_output_may_be_a_model_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    inner: Any = pydantic.create_model("Inner", when=(dt.date, ...), label=(str, ...))
    outer: Any = pydantic.create_model("Outer", inner=(inner, ...), none=(int | None, None))

    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        one = inner(when=dt.date(2024, 1, 2), label=Markup("a"))
        return [outer(inner=one), one]

    async with _hosting(returns) as dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="n", input={})
        value = {"when": "2024-01-02", "label": "a"}
        output = {"value": [{"inner": value, "none": None}, value]}
        assert reply.raise_for_error().payload["output"] == output


async def test_output_that_stands_for_no_value_is_invalid() -> None:
    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return object()

    async with _hosting(returns) as dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="n", input={})
        assert reply.payload["code"] == "OUTPUT_INVALID"
        assert "an object of type object has no JSON form" in reply.payload["message"]


@pytest.mark.parametrize(("key", "name"), [((1, 2), "tuple"), (None, "NoneType")])
async def test_key_that_json_cannot_have_is_named(key: Any, name: str) -> None:
    async with _hosting(lambda input, context: {}) as dendrite:
        with pytest.raises(UnencodableError, match=f"a key of an object cannot be of type {name}"):
            await dendrite.dispatch_and_wait(neuron="n", input={"a": {key: 1}})


@dataclasses.dataclass
class Reading:
    at: dt.datetime
    degrees: float = 0.5


class Readings(TypedDict):
    values: list[Reading]


@pytest.mark.parametrize("name", ["input_type", "output_type"])
@pytest.mark.parametrize("type", ["Point", 5, int | Scalar, Scalar], ids=repr)
def test_axon_names_a_type_that_msgspec_cannot_check(name: str, type: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{name}={type!r}: msgspec cannot check it: ")):
        Axon(neuron_id="n", neuron_fn=echo, **{name: type})


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("output_type", list[int] | None),
        *(
            ("input_type", type)
            for type in (Reading, Readings, dict[str, int], dict[str, int] | None, Any, None)
        ),
    ],
    ids=repr,
)
def test_axon_takes_types_of_json_values(name: str, type: Any) -> None:
    assert getattr(Axon(neuron_id="n", neuron_fn=echo, **{name: type}), name) is type


async def test_output_type_is_checked_on_the_value() -> None:
    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return Point(1, Markup("a"))

    async with _hosting(returns, output_type=Record) as dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="n", input={})
        assert reply.payload["code"] == "OUTPUT_INVALID"
        assert "missing required field `points`" in reply.payload["message"]
