"""What arrives inside a process is exactly what decoding a copy of the bytes gives."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_core import Axon, Dendrite, Signal, SignalType, UnencodableError, decode, encode
from cosmo_core.contracts import eager_tasks
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.signal import address, new_unvalidated
from cosmo_synapse_memory import MemorySynapse


class CopyingSynapse(MemorySynapse):
    """A memory Synapse without short cuts: it delivers copies of frames, and later than in the call."""

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await asyncio.sleep(0)
        await super().publish(subject, bytes(bytearray(frame)), **options)


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Number(int):
    pass


class Share(float):
    pass


class Table(dict[Any, Any]):
    pass


class Row(list[Any]):
    pass


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Kind(StrEnum):
    OPEN = "open"


@dataclass
class Point:
    x: Any
    y: Any = (1, 2)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**308), 10**308)
    | st.floats()
    | st.text()
    | st.builds(Text, st.text())
    | st.builds(Number, st.integers())
    | st.builds(Share, st.floats())
    | st.sampled_from(
        [Colour.RED, Level.HIGH, Kind.OPEN, PurePosixPath("a/b"), range(3), b"bytes", bytearray(b"b")]
    )
    | st.sampled_from([10**400, "\ud800", object(), {1: object()}, float("nan"), float("-inf"), -0.0])
    | st.builds(date.today)
    | st.just(datetime(2026, 11, 20, 22, 35, 51, 7))  # noqa: DTZ001 - without a time zone on purpose
    | st.just(time(1, 2, 3))
    | st.timedeltas(timedelta(0), timedelta(9))
    | st.decimals()
    | st.uuids()
)
KEYS = (
    st.text(max_size=3)
    | st.integers()
    | st.sampled_from(
        [
            Text("t"),
            Number(4),
            Colour.RED,
            Level.HIGH,
            UUID(int=7),
            date(2026, 11, 20),
            Decimal("1.5"),
            1.5,
            None,
        ]
    )
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    return (
        lists
        | lists.map(tuple)
        | lists.map(Row)
        | lists.map(deque)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(Table)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(MappingProxyType)
        | st.builds(Point, inner)
        | st.frozensets(st.integers(), max_size=1)
        # The same object twice.
        | inner.map(lambda value: [value, value])
    )


VALUES = st.recursive(SCALARS, _nested, max_leaves=6)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3) | st.dictionaries(KEYS, VALUES, max_size=3).map(Table)


def exact(value: Any) -> Any:
    """Return the types and values in a value, for a comparison that makes no two things equal."""
    if type(value) is dict:
        return [(exact(key), exact(item)) for key, item in value.items()]
    if type(value) is list:
        return (list, *map(exact, value))
    return type(value), repr(value)


def containers(value: Any) -> Iterator[int]:
    """Yield the identity of each object in a value that can be changed."""
    if isinstance(value, dict | MappingProxyType):
        yield id(value)
        for item in value.values():
            yield from containers(item)
    elif isinstance(value, list | tuple | deque):
        if not isinstance(value, tuple):
            yield id(value)
        for item in value:
            yield from containers(item)
    elif isinstance(value, Point):
        yield from containers(value.x)


def scramble(value: Any) -> None:
    """Change everything in a value that can be changed."""
    if isinstance(value, dict):
        for item in value.values():
            scramble(item)
        value.clear()
    elif isinstance(value, list | deque):
        for item in value:
            scramble(item)
        value.append("changed")
    elif isinstance(value, tuple):
        for item in value:
            scramble(item)
    elif isinstance(value, Point):
        scramble(value.x)
        value.x = "changed"


def over_bytes(type: SignalType, payload: dict[str, Any]) -> Any:
    """Return what a socket would bring of a payload; None if it cannot be sent."""
    signal = Signal(
        v="1",
        id="evt_" + "0" * 26,
        trace_id="trc_" + "0" * 26,
        type=type,
        ts="2026-11-20T22:35:51Z",
        payload=payload,
    )
    try:
        return decode(bytes(bytearray(encode(signal)))).payload
    except UnencodableError:
        return None


class Bench:
    """Dendrites with Neurons that note what they get and return what they were given.

    Attributes:
        dendrite: The Dendrite.
        inputs: What the Neurons got.
        output: What they return.
        deltas: What the streaming Neuron emits.
        late: Whether they look at their input only in a later turn of the event loop.
    """

    def __init__(self, synapse: MemorySynapse, max_depth: int) -> None:
        self.synapse = synapse
        self.max_depth = max_depth
        self.inputs: list[Any] = []
        self.output: Any = {}
        self.deltas: list[str] = []
        self.late = False

    async def start(self, stack: AsyncExitStack) -> None:
        await self.synapse.connect()
        stack.push_async_callback(self.synapse.close)
        self.dendrite = Dendrite(synapse=self.synapse, namespace="test", plugins=PluginManager())
        self.dendrite.attach_axon(Axon(neuron_id="mirror", neuron_fn=self._mirror))
        self.dendrite.attach_axon(Axon(neuron_id="stream", neuron_fn=self._stream))
        await stack.enter_async_context(self.dendrite)

    async def _mirror(self, input: dict[str, Any], context: list[Any]) -> Any:
        if self.late:
            await asyncio.sleep(0)
        self.inputs.append(input)
        return self.output

    async def _stream(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        for delta in self.deltas:
            if self.late:
                await asyncio.sleep(0)
            yield delta
        self.inputs.append(input)
        yield self.output

    async def ask(self, neuron: str, input: dict[str, Any]) -> list[tuple[SignalType, Any]]:
        """Send a TASK, change its input, and return the types and payloads that come back."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(eager_tasks, "MAX_DEPTH", self.max_depth)
            pathway = await self.dendrite.dispatch(neuron=neuron, input=input)
            scramble(input)
            async with asyncio.timeout(10):
                return [(signal.type, signal.payload) async for signal in pathway]


Both = tuple[Bench, Bench]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def benches(runner: asyncio.Runner) -> Iterator[Both]:
    """A Dendrite as it is, and one whose Synapse copies frames and whose tasks never start eagerly."""
    fast, copied = Bench(MemorySynapse(), eager_tasks.MAX_DEPTH), Bench(CopyingSynapse(), 0)
    stack = AsyncExitStack()
    for bench in (fast, copied):
        runner.run(bench.start(stack))
    yield fast, copied
    runner.run(stack.aclose())


def copy_of(value: Any) -> Any:
    """Copy a value, with objects that occur twice in it, but without the values that are only looked at."""
    memo: dict[int, Any] = {}

    def copy(value: Any) -> Any:
        if id(value) in memo:
            return memo[id(value)]
        copied = value
        if isinstance(value, dict):
            copied = type(value)((key, copy(item)) for key, item in value.items())
        elif isinstance(value, MappingProxyType):
            copied = MappingProxyType({key: copy(item) for key, item in value.items()})
        elif isinstance(value, list | tuple | deque):
            copied = type(value)(map(copy, value))
        elif isinstance(value, Point):
            copied = Point(copy(value.x))
        memo[id(value)] = copied
        return copied

    return copy(value)


@settings(max_examples=150)
@given(OBJECTS, st.booleans())
@example({"a": (1, 2), "b": [{}] * 2, "c": 10**30, "d": float("nan")}, True)
def test_input_arrives_as_over_bytes(
    runner: asyncio.Runner, benches: Both, input: dict[str, Any], late: bool
) -> None:
    expected = over_bytes(SignalType.TASK, {"input": input})
    for bench in benches:
        bench.late, bench.output = late, {"done": True}
        bench.inputs.clear()
        sent = copy_of(input)
        identities = set(containers(sent))
        try:
            signals = runner.run(bench.ask("mirror", sent))
        except UnencodableError:
            assert expected is None
            continue
        [got] = bench.inputs
        assert exact(got) == exact(expected["input"])
        assert not identities & set(containers(got))
        assert signals == [(SignalType.AGENT_OUTPUT, {"output": {"done": True}})]


@settings(max_examples=150)
@given(OBJECTS, st.booleans(), st.sampled_from(["mirror", "stream"]))
@example({"a": (1, 2), "b": [{}] * 2, "c": 10**30, "d": float("nan")}, False, "mirror")
def test_output_arrives_as_over_bytes(
    runner: asyncio.Runner, benches: Both, output: dict[str, Any], late: bool, neuron: str
) -> None:
    expected = over_bytes(SignalType.AGENT_OUTPUT, {"output": output})
    for bench in benches:
        bench.late, bench.output, bench.deltas = late, copy_of(output), []
        identities = set(containers(bench.output))
        [(type, payload)] = runner.run(bench.ask(neuron, {}))
        scramble(bench.output)
        if expected is None:
            assert (type, payload["code"]) == (SignalType.ERROR, "OUTPUT_INVALID")
        else:
            assert exact(payload) == exact(expected)
            assert not identities & set(containers(payload))


@settings(max_examples=50)
@given(st.lists(st.text() | st.builds(Text, st.text()) | st.just(Kind.OPEN), max_size=4), st.booleans())
def test_deltas_arrive_as_over_bytes(
    runner: asyncio.Runner, benches: Both, deltas: list[str], late: bool
) -> None:
    expected = [
        (SignalType.THOUGHT_DELTA, exact(over_bytes(SignalType.THOUGHT_DELTA, {"delta": delta, "seq": seq})))
        for seq, delta in enumerate(deltas)
    ]
    for bench in benches:
        bench.late, bench.output, bench.deltas = late, {"done": True}, deltas
        *streamed, (last, _) = runner.run(bench.ask("stream", {}))
        assert [(type, exact(payload)) for type, payload in streamed] == expected
        assert last is SignalType.AGENT_OUTPUT


RAW: Final = msgspec.Raw(b'1}},"parent_id":"no id","more":{"input":{"a":1')
replace: Final = msgspec.structs.replace
# Changes of a TASK by means that validate nothing.
CHANGES: dict[str, Callable[[Signal], Signal]] = {
    "id": lambda task: replace(task, id="no id"),
    "trace": lambda task: replace(task, trace_id="no id"),
    "parent": lambda task: replace(task, parent_id="no id"),
    "time": lambda task: replace(task, ts="yesterday"),
    "version": lambda task: replace(task, v="2"),
    "name": lambda task: replace(task, directed=replace(address("mirror"), type="a.b")),
    "capability": lambda task: replace(task, directed=replace(address("mirror"), capabilities=("a b",))),
    "meta": lambda task: replace(task, meta=[]),
    "input": lambda task: replace(task, payload={"input": 7}),
    "no input": lambda task: replace(task, payload={}),
    "JSON in the payload": lambda task: replace(task, payload={"input": {"raw": RAW}}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [Signal.new, new_unvalidated], ids=["validated", "unvalidated"])
def test_invalid_task_is_refused_where_it_arrives(
    runner: asyncio.Runner, benches: Both, make: Callable[..., Signal], change: str
) -> None:
    async def send(bench: Bench, task: Signal) -> int:
        link = bench.dendrite._link
        before, bench.late = link.malformed, False
        bench.inputs.clear()
        await link.send_shared(link.tasks + "mirror", task)
        await asyncio.sleep(0)
        assert bench.inputs == []
        return link.malformed - before

    for bench in benches:
        task = make(SignalType.TASK, {"input": {}}, directed=address("mirror"))
        assert runner.run(send(bench, CHANGES[change](task))) == 1


async def run_nested(bench: Bench, depth: int) -> Any:
    async def dig(input: dict[str, Any], context: list[Any]) -> Any:
        if not input["left"]:
            return {"depth": 0}
        answer = await bench.dendrite.dispatch_and_wait(neuron="dig", input={"left": input["left"] - 1})
        return {"depth": answer.output["depth"] + 1}

    await bench.dendrite.add_axon(Axon(neuron_id="dig", neuron_fn=dig, max_concurrency=100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eager_tasks, "MAX_DEPTH", bench.max_depth)
        answer = await bench.dendrite.dispatch_and_wait(neuron="dig", input={"left": depth}, timeout_s=10)
    await bench.dendrite.detach_axon("dig")
    return answer.output


def test_nested_tasks_are_answered_with_and_without_short_cuts(runner: asyncio.Runner, benches: Both) -> None:
    assert [runner.run(run_nested(bench, 50)) for bench in benches] == [{"depth": 50}] * 2
