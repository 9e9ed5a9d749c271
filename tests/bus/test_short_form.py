"""The short form: `Dendrite.open`, ``ask``, ``stream``, ``map``, ``race``, and ``@neuron``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, assert_type

import pytest

from cosmo_core import (
    AskFn,
    Axon,
    Dendrite,
    LifecycleError,
    MalformedSignalError,
    MapFn,
    Neuron,
    NeuronError,
    NoRouteError,
    OutputTypeError,
    PathwayClosedError,
    QuestionError,
    RaceFn,
    RemoteError,
    RetryStrategy,
    RoleError,
    Signal,
    SignalType,
    StreamFn,
    clarify,
    connect_synapse,
    current_task,
    neuron,
)
from cosmo_core.contracts.neuron import with_keywords

BOUND_S = 5.0


@dataclass
class Order:
    item: str
    count: int = 1


@dataclass
class Bill:
    total: int


async def shout(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    return {"response": input["prompt"].upper()}


async def spell(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    for letter in input["word"]:
        yield letter


async def fail(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    raise NeuronError(f"no {input['n']}", code="NO_LUCK")


class Stuck:
    """A Neuron that counts the calls that run, and those that were cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        self.running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self.ended.set()
            raise
        return {}


@pytest.fixture
async def dendrite() -> AsyncIterator[Dendrite]:
    async with Dendrite.open("memory://", shout, spell, fail) as dendrite:
        yield dendrite


# --- @neuron ----------------------------------------------------------------------------------------


async def test_decorated_function_is_an_axon_and_stays_callable() -> None:
    @neuron
    async def double(input: dict[str, int], context: list[Any]) -> dict[str, int]:
        """Double a number."""
        return {"n": 2 * input["n"]}

    assert isinstance(double, Axon)
    assert double.neuron_id == "double"
    assert double.__doc__ == "Double a number."
    assert await double({"n": 2}, []) == {"n": 4}
    async with Dendrite.open("memory://", double) as dendrite:
        assert await dendrite.ask(double, {"n": 3}) == {"n": 6}


async def test_decorator_takes_the_options_of_an_axon() -> None:
    @neuron(id="other", capabilities=["math"], version="2", max_concurrency=3, max_backlog=4)
    async def double(input: dict[str, int], context: list[Any]) -> dict[str, int]:
        return {"n": 2 * input["n"]}

    assert (double.neuron_id, double.capabilities, double.version) == ("other", ("math",), "2")
    assert (double.max_concurrency, double.max_backlog) == (3, 4)


@pytest.mark.parametrize("function", [lambda input, context: {}, functools.partial(shout)])
def test_function_without_a_name_needs_an_id(function: Any) -> None:
    with pytest.raises(TypeError, match="no name that could be its id"):
        neuron(function)
    assert neuron(id="named")(function).neuron_id == "named"


async def test_function_without_a_name_cannot_be_opened() -> None:
    with pytest.raises(TypeError, match="no name that could be its id"):
        async with Dendrite.open("memory://", lambda input, context: {}):
            pass


def test_decorating_an_axon_is_an_error() -> None:
    with pytest.raises(TypeError, match="is one already"):
        neuron(Axon(neuron_id="shout", neuron_fn=shout))  # type: ignore[call-overload]


def test_unknown_option_of_decorator_is_an_error() -> None:
    with pytest.raises(TypeError, match="did you mean capabilities"):
        neuron(capabilites=["math"])(shout)  # type: ignore[call-overload]


# --- open -------------------------------------------------------------------------------------------


async def test_open_ends_dendrite_and_synapse() -> None:
    async with Dendrite.open("memory://", shout, namespace="other", role="orchestrator") as dendrite:
        assert dendrite.namespace == "other"
        assert await dendrite.ask("shout", {"prompt": "hi"}) == {"response": "HI"}
    with pytest.raises(LifecycleError):
        await dendrite.ask("shout", {"prompt": "hi"})
    assert not dendrite._link._synapse._connected  # type: ignore[attr-defined]


async def test_open_waits_for_neurons_of_others() -> None:
    ready = asyncio.Event()

    async def other() -> None:
        await ready.wait()
        async with Dendrite.open("memory://open-waits", shout, role="worker"):
            await done.wait()

    done = asyncio.Event()
    async with connect_synapse("memory://open-waits"), asyncio.TaskGroup() as group:
        group.create_task(other())
        asyncio.get_running_loop().call_soon(ready.set)
        async with Dendrite.open("memory://open-waits", wait_for=["shout"]) as dendrite:
            assert await dendrite.ask("shout", {"prompt": "hi"}) == {"response": "HI"}
        done.set()


async def test_open_names_what_is_there_when_waiting_takes_too_long() -> None:
    with pytest.raises(TimeoutError, match=r"absent.*known: shout"):
        async with Dendrite.open("memory://", shout, wait_for=["absent"], timeout_s=0.05):
            pass


@pytest.mark.parametrize(
    ("neurons", "options", "message"),
    [
        ((shout, Axon(neuron_id="shout", neuron_fn=spell)), {}, "two Neurons have one id"),
        ((), {"wait_for": "shout"}, "wait_for is a list of ids"),
        ((), {"namspace": "x"}, "did you mean namespace"),
        ((), {"waitfor": ["x"]}, "did you mean wait_for"),
        ((7,), {}, "a Neuron is a function or an Axon, not 7"),
        (([shout, spell],), {}, "pass several one by one"),
    ],
)
async def test_wrong_arguments_of_open_are_type_errors(
    neurons: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        async with Dendrite.open("memory://", *neurons, **options):
            pass


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeout_s": "x"}, TypeError, "timeout_s is a number, not 'x'"),
        ({"timeout_s": float("nan")}, ValueError, "timeout_s is a number"),
        ({"wait_for": [7]}, MalformedSignalError, "7 is not a valid name"),
        ({"wait_for": ["absent"], "timeout_s": 0.01}, TimeoutError, r"not ready within 0\.01 s"),
        ({"wait_for": ["absent"], "timeout_s": -1}, TimeoutError, "not ready within 0 s"),
    ],
)
async def test_open_checks_what_it_waits_for(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        async with Dendrite.open("memory://", **options):
            pass


@pytest.mark.parametrize("timeout_s", [None, 0])
async def test_open_begins_at_once_when_all_are_there(timeout_s: float | None) -> None:
    async with (
        Dendrite.open("memory://all-there", shout),
        Dendrite.open("memory://all-there", wait_for=["shout"]),
        Dendrite.open("memory://all-there", spell, wait_for=["spell"], timeout_s=timeout_s) as dendrite,
    ):
        assert await dendrite.ask("shout", {"prompt": "hi"}) == {"response": "HI"}


async def test_open_without_a_url_says_so() -> None:
    forgotten: Any = neuron(shout)
    with pytest.raises(TypeError, match="a URL is a text such as memory://, not CallableAxon"):
        async with Dendrite.open(forgotten):
            pass


async def test_connected_synapse_closes_with_its_block() -> None:
    async with connect_synapse("memory://") as synapse:
        await synapse.publish("a", b"")
    with pytest.raises(Exception, match="not connected"):
        await synapse.publish("a", b"")


# --- ask --------------------------------------------------------------------------------------------


async def test_ask_returns_the_output(dendrite: Dendrite) -> None:
    assert await dendrite.ask("shout", {"prompt": "hi"}) == {"response": "HI"}


async def test_ask_takes_objects_and_converts_the_output() -> None:
    @neuron
    async def bill(input: Any, context: list[Any]) -> dict[str, Any]:
        return {"total": input["count"] * 2}

    async def length(input: dict[str, Any], context: list[Any]) -> int:
        return len(input["item"])

    async with Dendrite.open("memory://", bill, length) as dendrite:
        assert await dendrite.ask("bill", Order("tea", 3)) == {"total": 6}
        assert await dendrite.ask("bill", Order("tea", 3), output_type=Bill) == Bill(6)
        assert await dendrite.ask("length", Order("tea"), output_type=int) == 3
        with pytest.raises(OutputTypeError, match="'length'"):
            await dendrite.ask("length", Order("tea"), output_type=Bill)
        with pytest.raises(TypeError, match="input of a Neuron is an object"):
            await dendrite.ask("bill", "tea")


async def test_output_has_the_type_that_its_neuron_returns() -> None:
    """The annotations of the variables are the test, for the type checker."""

    @neuron
    async def bill(input: dict[str, Any], context: list[Any]) -> dict[str, int]:
        return {"total": 1}

    @neuron
    async def letters(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        yield "a"

    @neuron
    def plain(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        return {"n": 1}

    async with Dendrite.open("memory://", bill, letters, plain) as dendrite:
        total: dict[str, int] = await dendrite.ask(bill, {})
        joined: dict[str, Any] = await dendrite.ask(letters, {})
        number: dict[str, Any] = await dendrite.ask(plain, {})
        either: Bill | None = await dendrite.ask("bill", {}, output_type=Bill | None)
    assert (total, joined, number) == ({"total": 1}, {"response": "a"}, {"n": 1})
    assert either == Bill(1)


async def test_output_type_that_cannot_be_checked_is_an_error_before_anything_is_sent() -> None:
    called: list[Any] = []

    async def bill(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        called.append(input)
        return {"total": 1}

    async with Dendrite.open("memory://", bill) as dendrite:
        refused = pytest.raises(
            TypeError, match=r"^output_type=list\[complex\]: msgspec cannot check it: no JSON"
        )
        with refused:
            await dendrite.ask("bill", {}, output_type=list[complex])
        with refused:
            dendrite.stream("bill", {}, output_type=list[complex])
        with refused:
            await dendrite.map("bill", [{}], output_type=list[complex])
        with pytest.RaisesGroup(TypeError):
            await dendrite.race(["bill"], {}, output_type=list[complex])
        assert await dendrite.ask("bill", {"last": True}, output_type=dict[str, int]) == {"total": 1}
    assert called == [{"last": True}]


async def test_ask_raises_errors_and_questions(dendrite: Dendrite) -> None:
    async def ask_back(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("For whom?")

    await dendrite.add_axon(neuron(ask_back))
    with pytest.raises(RemoteError, match="NO_LUCK: no 7"):
        await dendrite.ask("fail", {"n": 7})
    with pytest.raises(QuestionError, match="For whom"):
        await dendrite.ask("ask_back", {})
    with pytest.raises(NoRouteError, match="known: ask_back, fail, shout, spell"):
        await dendrite.ask("absent", {})


async def test_ask_stops_the_neuron_after_its_time_limit() -> None:
    stuck = Stuck()
    async with Dendrite.open("memory://", neuron(id="stuck")(stuck)) as dendrite:
        with pytest.raises(TimeoutError, match=r"no answer from Neuron 'stuck' within 0\.01 s"):
            await dendrite.ask("stuck", {}, timeout_s=0.01)
    assert stuck.cancelled == 1


async def test_ask_takes_capabilities_and_retries() -> None:
    calls: list[int] = []

    @neuron(capabilities=["flaky"])
    async def flaky(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(len(calls))
        if len(calls) < 3:
            raise NeuronError("again", recoverable=True)
        return {"calls": len(calls)}

    async with Dendrite.open("memory://", flaky) as dendrite:
        retry = RetryStrategy(max_attempts=3, backoff=0)
        assert await dendrite.ask(None, {}, capabilities=["flaky"], retry=retry) == {"calls": 3}


async def test_function_that_is_no_axon_cannot_be_asked(dendrite: Dendrite) -> None:
    undecorated: Any = shout
    with pytest.raises(TypeError, match="by its id or its Axon, not <function shout"):
        await dendrite.ask(undecorated, {})


def test_source_as_a_decorator_names_the_decorator() -> None:
    decorator: Any = Neuron
    with pytest.raises(TypeError, match="the decorator of a function is @neuron"):
        decorator(shout)


def test_unknown_keyword_of_a_neuron_lists_those_that_there_are() -> None:
    async def needs(input: dict[str, Any], context: list[Any], *, aks: Any) -> Any:
        return {}

    with pytest.raises(TypeError, match=r"the keywords recall, imprint, ask, stream, map, race; .*aks"):
        neuron(needs)


@pytest.mark.parametrize("method", ["ask", "stream", "map", "race"])
async def test_unknown_options_are_errors_with_a_suggestion(dendrite: Dendrite, method: str) -> None:
    target: Any = ["shout"] if method == "race" else "shout"
    with pytest.raises(TypeError, match="did you mean timeout_s"):
        await getattr(dendrite, method)(target, [], timeout=1)


async def test_axon_of_a_function_knows_the_type_of_its_output() -> None:
    @neuron
    async def count(input: dict[str, Any], context: list[Any]) -> int:
        return 3

    @neuron(id="streams")
    async def stream(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        yield "three"

    @neuron
    def plain(input: dict[str, Any], context: list[Any]) -> list[str]:
        return ["three"]

    async with Dendrite.open("memory://", count, stream, plain) as dendrite:
        assert assert_type(await dendrite.ask(count, {}), int) == 3
        assert assert_type(await dendrite.ask(stream, {}), dict[str, Any]) == {"response": "three"}
        assert assert_type(await dendrite.ask(plain, {}), list[str]) == ["three"]
        assert assert_type(await dendrite.map(count, [{}]), list[int]) == [3]
        assert assert_type(await dendrite.ask("count", {}), dict[str, Any]) == {"value": 3}
        assert assert_type(await dendrite.ask("count", {}, output_type=float), float) == 3


# --- stream -----------------------------------------------------------------------------------------


async def test_stream_yields_texts_and_then_has_the_output(dendrite: Dendrite) -> None:
    stream = dendrite.stream("spell", {"word": "tea"})
    with pytest.raises(LifecycleError, match="read all of its texts"):
        _ = stream.output
    assert [text async for text in stream] == ["t", "e", "a"]
    assert stream.output == {"response": "tea"}


async def test_stream_of_neuron_that_does_not_stream_has_one_text(dendrite: Dendrite) -> None:
    stream = dendrite.stream("shout", {"prompt": "hi"})
    assert [text async for text in stream] == ["HI"]
    assert stream.output == {"response": "HI"}


async def test_stream_loses_no_text_of_a_slow_reader() -> None:
    async with Dendrite.open("memory://", spell, pathway_buffer=2) as dendrite:
        texts = []
        async for text in dendrite.stream("spell", {"word": "x" * 100}):
            await asyncio.sleep(0)
            texts.append(text)
    assert len(texts) == 100


class Endless:
    """A Neuron that streams until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()


async def test_leaving_a_stream_stops_its_neuron() -> None:
    endless = Endless()
    async with Dendrite.open("memory://", neuron(id="endless")(endless)) as dendrite:
        async with asyncio.timeout(BOUND_S):
            async for _ in dendrite.stream("endless", {}):
                break
            await endless.cancelled.wait()


async def test_end_of_stream_block_stops_its_neuron() -> None:
    endless = Endless()
    async with Dendrite.open("memory://", neuron(id="endless")(endless)) as dendrite:
        async with asyncio.timeout(BOUND_S):
            async with dendrite.stream("endless", {}) as stream:
                assert await anext(aiter(stream)) == "x"
            await endless.cancelled.wait()


async def test_stream_ends_with_its_time_limit() -> None:
    stuck = Stuck()
    async with Dendrite.open("memory://", neuron(id="stuck")(stuck)) as dendrite:
        with pytest.raises(TimeoutError, match="'stuck' did not answer"):
            async for _ in dendrite.stream("stuck", {}, timeout_s=0.01):
                pass
    assert stuck.cancelled == 1


async def test_stream_raises_the_error_of_its_neuron(dendrite: Dendrite) -> None:
    with pytest.raises(RemoteError, match="NO_LUCK"):
        async for _ in dendrite.stream("fail", {"n": 1}):
            pass


async def test_stream_converts_the_output() -> None:
    async def bill(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        yield "counting "
        yield {"total": 3}

    async with Dendrite.open("memory://", bill) as dendrite:
        stream = dendrite.stream("bill", {}, output_type=Bill)
        assert [text async for text in stream] == ["counting "]
        assert stream.output == Bill(3)


@pytest.mark.parametrize("ends", ["break", "exception", "cancellation"])
async def test_leaving_a_stream_that_has_a_name_stops_its_neuron(ends: str) -> None:
    endless = Endless()
    async with Dendrite.open("memory://", neuron(id="endless")(endless)) as dendrite:
        stream = dendrite.stream("endless", {})

        async def read() -> None:
            async for _ in stream:
                if ends == "break":
                    break
                if ends == "exception":
                    raise ZeroDivisionError
                reading.cancel()
                await asyncio.Event().wait()

        async with asyncio.timeout(BOUND_S):
            reading = asyncio.create_task(read())
            await asyncio.gather(reading, return_exceptions=True)
            await endless.cancelled.wait()
        with pytest.raises(LifecycleError, match="read or left before"):
            aiter(stream)


async def test_stream_is_read_once_and_says_so(dendrite: Dendrite) -> None:
    read, failed, held = (
        dendrite.stream(name, {"word": "ab", "n": 1}) for name in ("spell", "fail", "spell")
    )
    assert [text async for text in read] == ["a", "b"]
    with pytest.raises(RemoteError):
        _ = [text async for text in failed]
    async with held:
        assert [text async for text in held] == ["a", "b"]
    closed = dendrite.stream("spell", {"word": "ab"})
    await closed.aclose()
    for stream in (read, failed, held, closed):
        with pytest.raises(LifecycleError, match="read or left before"):
            aiter(stream)


async def test_stream_in_its_block_can_be_left_and_read_on(dendrite: Dendrite) -> None:
    async with dendrite.stream("spell", {"word": "tea"}) as stream:
        async for text in stream:
            assert text == "t"
            break
        assert [text async for text in stream] == ["e", "a"]
    assert stream.output == {"response": "tea"}


@pytest.mark.parametrize(("timeout_s", "error"), [("1", TypeError), (float("nan"), ValueError)])
async def test_time_limit_of_stream_is_checked_at_once(
    dendrite: Dendrite, timeout_s: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="timeout_s is a number"):
        dendrite.stream("spell", {}, timeout_s=timeout_s)


@pytest.mark.clause("P-11.5")
async def test_end_of_dendrite_stops_what_its_streams_and_waits_still_read() -> None:
    stuck, endless = Stuck(), Endless()
    workers = (neuron(id="stuck")(stuck), neuron(id="endless")(endless))
    async with (
        Dendrite.open("memory://end-of-reader", *workers, role="worker"),
        Dendrite.open("memory://end-of-reader", wait_for=["stuck", "endless"]) as dendrite,
    ):
        texts = aiter(dendrite.stream("endless", {}))
        await anext(texts)
        waiting = asyncio.create_task(dendrite.ask("stuck", {}))
        await stuck.running.wait()
        await dendrite.stop()
        with pytest.raises(PathwayClosedError):
            await waiting
        async with asyncio.timeout(BOUND_S):
            await endless.cancelled.wait()
            await stuck.ended.wait()
        await texts.aclose()


# --- map --------------------------------------------------------------------------------------------


async def test_map_keeps_the_order_of_its_inputs_and_bounds_what_runs() -> None:
    running: set[int] = set()
    most = 0

    async def square(input: dict[str, Any], context: list[Any]) -> dict[str, int]:
        nonlocal most
        running.add(input["n"])
        most = max(most, len(running))
        for _ in range(10 - input["n"]):
            await asyncio.sleep(0)
        running.discard(input["n"])
        return {"n": input["n"] ** 2}

    def inputs() -> Iterator[dict[str, int]]:
        for n in range(10):
            yield {"n": n}

    async with Dendrite.open("memory://", square) as dendrite:
        assert await dendrite.map("square", inputs(), concurrency=3) == [{"n": n**2} for n in range(10)]
        assert await dendrite.map("square", []) == []
    assert most == 3


async def test_first_exception_of_map_stops_the_rest() -> None:
    stuck = Stuck()

    async def some(input: dict[str, Any], context: list[Any]) -> Any:
        if input["n"] == 2:
            await stuck.running.wait()
            raise NeuronError("two", code="TWO")
        return await stuck(input, context)

    async with Dendrite.open("memory://", some) as dendrite:
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(RemoteError, match="TWO: two"):
                await dendrite.map("some", ({"n": n} for n in range(100)), concurrency=4)
    assert stuck.cancelled == 3


async def test_exception_of_the_inputs_of_map_stops_the_rest_and_keeps_its_cause() -> None:
    stuck = Stuck()

    def inputs() -> Iterator[dict[str, Any]]:
        yield {}
        yield {}
        raise KeyError("row 3") from ZeroDivisionError()

    async with Dendrite.open("memory://", neuron(id="stuck")(stuck)) as dendrite:
        with pytest.raises(KeyError, match="row 3") as caught:
            await dendrite.map("stuck", inputs(), concurrency=2)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_map_returns_exceptions_in_place(dendrite: Dendrite) -> None:
    async def odd(input: dict[str, Any], context: list[Any]) -> dict[str, int]:
        if input["n"] % 2:
            raise NeuronError("odd")
        return {"n": input["n"]}

    await dendrite.add_axon(neuron(odd))
    outputs = await dendrite.map("odd", [{"n": n} for n in range(3)], return_exceptions=True)
    assert outputs[0] == {"n": 0}
    assert isinstance(outputs[1], RemoteError)
    assert outputs[2] == {"n": 2}


async def test_cancelled_map_stops_what_runs() -> None:
    stuck = Stuck()
    async with Dendrite.open("memory://", neuron(id="stuck")(stuck)) as dendrite:
        work = asyncio.ensure_future(dendrite.map("stuck", [{}] * 100, concurrency=5))
        await stuck.running.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert stuck.cancelled == 5


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5])
async def test_concurrency_is_a_positive_integer(dendrite: Dendrite, concurrency: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="concurrency"):
        await dendrite.map("shout", [], concurrency=concurrency)


# --- race -------------------------------------------------------------------------------------------


async def test_first_success_wins_a_race_and_the_others_are_stopped() -> None:
    stuck = Stuck()

    async def slow_fail(input: dict[str, Any], context: list[Any]) -> Any:
        raise NeuronError("lost")

    async def wins(input: dict[str, Any], context: list[Any]) -> dict[str, int]:
        await stuck.running.wait()
        return {"n": 1}

    async with Dendrite.open("memory://", slow_fail, wins, neuron(id="stuck")(stuck)) as dendrite:
        async with asyncio.timeout(BOUND_S):
            assert await dendrite.race(["slow_fail", "stuck", "wins"], {}) == {"n": 1}
    assert stuck.cancelled == 1


async def test_race_that_all_lose_raises_the_group_in_order(dendrite: Dendrite) -> None:
    with pytest.raises(ExceptionGroup, match="none of 3 Neurons") as caught:
        await dendrite.race(["fail", "absent", "fail"], {"n": 1})
    assert [type(error) for error in caught.value.exceptions] == [RemoteError, NoRouteError, RemoteError]


@pytest.mark.parametrize("neurons", ["shout", [], ()])
async def test_race_takes_several_neurons(dendrite: Dendrite, neurons: Any) -> None:
    with pytest.raises(TypeError, match="race takes several Neurons"):
        await dendrite.race(neurons, {"prompt": "x"})


# --- inside of a Neuron -----------------------------------------------------------------------------


async def test_neuron_gets_what_it_declares() -> None:
    async def all_of_it(
        input: dict[str, Any],
        context: list[Any],
        *,
        ask: AskFn,
        stream: StreamFn,
        map: MapFn,
        race: RaceFn,
    ) -> dict[str, Any]:
        task = current_task()
        assert task is not None
        texts = [text async for text in stream("spell", {"word": "ab"})]
        return {
            "asked": await ask("shout", {"prompt": "a"}),
            "streamed": texts,
            "mapped": await map("shout", [{"prompt": "b"}]),
            "raced": await race(["shout"], {"prompt": "c"}),
        }

    async with Dendrite.open("memory://", shout, spell, all_of_it) as dendrite:
        traces: set[str] = set()

        def see(task: Signal) -> None:
            traces.add(task.trace_id)

        await dendrite.watch(SignalType.TASK, see)
        assert await dendrite.ask("all_of_it", {}) == {
            "asked": {"response": "A"},
            "streamed": ["a", "b"],
            "mapped": [{"response": "B"}],
            "raced": {"response": "C"},
        }
        assert len(traces) == 1


async def test_plain_function_gets_results_without_await() -> None:
    def plain(input: dict[str, Any], context: list[Any], *, ask: Any, stream: Any, map: Any) -> Any:
        texts = stream("spell", {"word": "ab"})
        read = list(texts)
        return {
            "asked": ask("shout", {"prompt": "a"}),
            "streamed": [*read, texts.output["response"]],
            "mapped": map("shout", [{"prompt": "b"}]),
        }

    async with Dendrite.open("memory://", shout, spell, plain) as dendrite:
        assert await dendrite.ask("plain", {}) == {
            "asked": {"response": "A"},
            "streamed": ["a", "b", "ab"],
            "mapped": [{"response": "B"}],
        }


async def test_stopped_plain_function_stops_what_it_asked() -> None:
    stuck = Stuck()

    def plain(input: dict[str, Any], context: list[Any], *, ask: Any) -> Any:
        return ask("stuck", {}, timeout_s=None)

    async with (
        Dendrite.open("memory://", neuron(id="stuck")(stuck), plain) as dendrite,
        await dendrite.dispatch(neuron="plain", input={}),
    ):
        await stuck.running.wait()
    assert stuck.cancelled == 1


async def test_threads_of_a_plain_function_ask_for_its_task() -> None:
    stuck, both = Stuck(), asyncio.Barrier(3)

    async def meets(input: dict[str, Any], context: list[Any]) -> Any:
        await both.wait()
        return await stuck(input, context)

    async def reports(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        task = current_task()
        assert task is not None
        return {"trace": task.trace_id, "left": task.time_left_s()}

    def fans_out(input: dict[str, Any], context: list[Any], *, ask: Any) -> Any:
        with ThreadPoolExecutor(2) as pool:
            task = current_task()
            assert task is not None
            answers = list(pool.map(lambda _: ask("reports", {}), range(4)))
            if input.get("stuck"):
                list(pool.map(lambda _: ask("meets", {}, timeout_s=None), range(2)))
        return {"trace": task.trace_id, "answers": answers}

    async with Dendrite.open("memory://", meets, reports, fans_out) as dendrite:
        output = await dendrite.ask("fans_out", {}, timeout_s=4)
        assert [answer["trace"] for answer in output["answers"]] == [output["trace"]] * 4
        assert all(answer["left"] <= 4 for answer in output["answers"])
        async with await dendrite.dispatch(neuron="fans_out", input={"stuck": True}):
            await both.wait()
            await stuck.running.wait()
            await asyncio.sleep(0)  # the second one runs, too
    assert stuck.cancelled == 2


def test_plain_function_can_get_functions_of_two_hosts() -> None:
    async def double(n: int) -> int:
        return 2 * n

    def both(input: dict[str, Any], context: list[Any], *, recall: Any, ask: Any) -> int:
        total: int = recall(input["n"]) + ask(1)
        return total

    wrapped = with_keywords(both, {"ask": double}, asyncio.run)
    assert with_keywords(wrapped, {"recall": double}, asyncio.run)({"n": 3}, []) == 8


async def test_class_with_call_gets_what_it_declares() -> None:
    class Planner:
        async def __call__(self, input: dict[str, Any], context: list[Any], *, ask: AskFn) -> Any:
            return await ask("shout", input)

    async with Dendrite.open("memory://", shout, neuron(id="planner")(Planner())) as dendrite:
        assert await dendrite.ask("planner", {"prompt": "a"}) == {"response": "A"}


@pytest.mark.parametrize("keyword", ["ask", "stream", "map", "race"])
async def test_worker_refuses_neuron_that_needs_others(keyword: str) -> None:
    source = f"async def needs(input, context, *, {keyword}): ..."
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the keyword is a parameter of the test
    with pytest.raises(RoleError, match=f"'needs' needs {keyword}, .*role=\"orchestrator\""):
        async with Dendrite.open("memory://", names["needs"], role="worker"):
            pass


async def test_worker_hosts_neuron_whose_keyword_has_a_default() -> None:
    async def alone(
        input: dict[str, Any], context: list[Any], *, ask: AskFn | None = None
    ) -> dict[str, bool]:
        return {"alone": ask is None}

    for role, expected in (("worker", True), ("orchestrator", False)):
        name = f"memory://default-of-{role}"
        async with (
            Dendrite.open(name, alone, role=role),  # type: ignore[arg-type]
            Dendrite.open(name, wait_for=["alone"]) as caller,
        ):
            assert await caller.ask("alone", {}) == {"alone": expected}
