"""Neurons that fail, hang, or ignore cancellation."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_context import Context, ContextNeuronError, FactNeuron, PromptBuilder, StateShapeError

Make = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("no_task_left")


def builder_of(*neurons: Any, **settings: Any) -> PromptBuilder:
    builder = PromptBuilder(Context("t", state={"facts": 7}), separator=" ", **settings)
    for neuron in neurons:
        builder.add_neuron(neuron)
    return builder


async def for_ever(ctx: Context) -> str:
    await asyncio.Event().wait()
    raise AssertionError


def failing(error: BaseException) -> Callable[[Context], Any]:
    async def says(ctx: Context) -> str:
        raise error

    return says


# --- raise --------------------------------------------------------------------------------------------


async def test_error_names_the_neuron_and_its_exception_is_the_cause(scripted: Make) -> None:
    error = LookupError("no such city")
    with pytest.raises(
        ContextNeuronError, match=r"^context Neuron 'weather' failed: LookupError: no such"
    ) as caught:
        await builder_of(scripted("weather", failing(error))).build()
    assert (caught.value.__cause__, caught.value.neuron) == (error, "weather")


@pytest.mark.parametrize("given", [7, b"text", ["text"], object()])
async def test_error_names_neuron_that_returns_no_string(scripted: Make, given: object) -> None:
    async def says(ctx: Context) -> object:
        return given

    message = f"context Neuron 'odd' returned a fragment of type {type(given).__name__}, not str"
    with pytest.raises(ContextNeuronError, match=message):
        await builder_of(scripted("odd", says)).build()


async def test_none_counts_as_an_empty_fragment(scripted: Make) -> None:
    async def says(ctx: Context) -> None:
        return None

    assert await builder_of(scripted("a", says), scripted("b", "x")).build() == "x"


async def test_neuron_that_takes_too_long_is_named_and_cancelled(scripted: Make) -> None:
    with pytest.raises(
        ContextNeuronError, match=r"^context Neuron 'slow' returned no fragment within 0.2 s$"
    ):
        await builder_of(scripted("fast", "x"), scripted("slow", for_ever), timeout_s=0.2).build()


async def test_first_of_several_failures_in_order_is_raised(scripted: Make) -> None:
    neurons = [scripted(f"n{number}", failing(ValueError(f"{number}"))) for number in range(5)]
    for _ in range(10):
        with pytest.raises(ContextNeuronError, match="'n0' failed: ValueError: 0"):
            await builder_of(*neurons).build()


async def test_first_of_several_timeouts_in_order_is_raised(scripted: Make) -> None:
    neurons = [scripted(f"n{number}", for_ever) for number in range(5)]
    with pytest.raises(ContextNeuronError, match="'n0' returned no fragment"):
        await builder_of(*neurons, timeout_s=0.01).build()


async def test_failure_is_raised_at_once_and_others_are_cancelled(scripted: Make) -> None:
    stopped = []

    async def says(ctx: Context) -> str:
        try:
            return await for_ever(ctx)
        finally:
            stopped.append(ctx.task_id)

    async with asyncio.timeout(5):
        with pytest.raises(ContextNeuronError, match="'broken' failed"):
            await builder_of(
                scripted("a", says), scripted("broken", failing(ValueError())), timeout_s=None
            ).build()
    assert stopped == ["t"]


async def test_exception_of_a_cancelled_neuron_does_not_hide_the_failure(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def says(ctx: Context) -> str:
        try:
            return await for_ever(ctx)
        except asyncio.CancelledError:
            raise RuntimeError("cannot clean up") from None

    with pytest.raises(ContextNeuronError, match="'broken' failed: ValueError"):
        await builder_of(scripted("first", says), scripted("broken", failing(ValueError()))).build()
    assert "context Neuron 'first' failed when cancelled" in caplog.text
    with pytest.raises(ContextNeuronError, match=r"'first' returned no fragment within 0.01 s"):
        await builder_of(scripted("first", says), timeout_s=0.01).build()


async def test_failure_without_waiting_keeps_other_neurons_from_starting(scripted: Make) -> None:
    started = []

    async def says(ctx: Context) -> str:
        started.append(1)
        return ""

    with pytest.raises(StateShapeError, match="expected a list as state key 'facts', not int"):
        await builder_of(scripted("a", says), FactNeuron()).build()
    assert started == []


async def test_error_names_neuron_that_cancels_its_task(scripted: Make) -> None:
    with pytest.raises(ContextNeuronError, match="context Neuron 'odd' cancelled its own task"):
        await builder_of(scripted("odd", failing(asyncio.CancelledError()))).build()


class Stop(BaseException):
    """An exception that ends programs, such as KeyboardInterrupt."""


@pytest.mark.parametrize("on_error", ["raise", "skip", "placeholder"])
async def test_base_exception_is_not_a_failure_of_the_neuron(scripted: Make, on_error: Any) -> None:
    with pytest.raises(Stop):
        await builder_of(scripted("a", failing(Stop())), scripted("b", for_ever), on_error=on_error).build()


# --- skip and placeholder -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_error", "prompt"), [("skip", "x y"), ("placeholder", "x [weather is not available] y")]
)
@pytest.mark.parametrize("says", [failing(LookupError("no such city")), for_ever], ids=["fails", "hangs"])
async def test_failed_fragment_is_skipped_or_replaced(
    scripted: Make, on_error: Any, prompt: str, says: Any, caplog: pytest.LogCaptureFixture
) -> None:
    neurons = scripted("a", "x"), scripted("weather", says), scripted("b", "y")
    assert await builder_of(*neurons, on_error=on_error, timeout_s=0.3).build() == prompt
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("context Neuron 'weather' ")
    assert record.getMessage().endswith("; its fragment is omitted")


async def test_failed_state_neuron_is_skipped(scripted: Make) -> None:
    assert await builder_of(scripted("a", "x"), FactNeuron(), on_error="skip").build() == "x"
    assert await builder_of(FactNeuron(), on_error="placeholder").build() == "[fact is not available]"


async def test_late_fragment_is_not_used(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        try:
            return await for_ever(ctx)
        except asyncio.CancelledError:
            return "too late"

    assert (
        await builder_of(scripted("late", says), scripted("b", "x"), on_error="skip", timeout_s=0.2).build()
        == "x"
    )


# --- cancelling ---------------------------------------------------------------------------------------


async def test_cancelled_build_cancels_its_neurons(scripted: Make) -> None:
    started, stopped = asyncio.Barrier(4), []

    async def says(ctx: Context) -> str:
        await started.wait()
        try:
            return await for_ever(ctx)
        finally:
            await asyncio.sleep(0)
            stopped.append(1)

    build = asyncio.create_task(builder_of(*(scripted(name, says) for name in "abc"), timeout_s=None).build())
    async with asyncio.timeout(5):
        await started.wait()
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await build
    assert stopped == [1, 1, 1]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
async def test_neuron_that_ignores_cancellation_is_abandoned_and_logged(
    scripted: Make, on_error: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cosmo_context.formatting.CANCEL_GRACE_S", 0.01)
    release, ended = asyncio.Event(), asyncio.Event()

    async def says(ctx: Context) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        return "at last"

    builder = builder_of(scripted("stubborn", says), on_error=on_error, timeout_s=0.01)
    async with asyncio.timeout(5):
        if on_error == "raise":
            with pytest.raises(ContextNeuronError, match=r"'stubborn' returned no fragment within 0.01 s"):
                await builder.build()
        else:
            assert await builder.build() == ""
        assert "context Neuron 'stubborn' is still running after it was cancelled" in caplog.text
        release.set()
        await ended.wait()
        await asyncio.sleep(0)


async def test_every_task_exception_is_retrieved(scripted: Make) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    async def says(ctx: Context) -> str:
        try:
            return await for_ever(ctx)
        except asyncio.CancelledError:
            raise RuntimeError("cannot clean up") from None

    neurons = [scripted(f"n{number}", failing(ValueError())) for number in range(3)]
    with pytest.raises(ContextNeuronError):
        await builder_of(scripted("a", says), *neurons).build()
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_timeout_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(ValueError, match=r"timeout_s is a number of seconds above 0 to 1e\+09, not"):
        PromptBuilder(Context("t"), timeout_s=timeout_s)


def test_unknown_on_error_is_refused() -> None:
    with pytest.raises(ValueError, match='on_error must be "raise", "skip" or "placeholder", not \'ignore\''):
        PromptBuilder(Context("t"), on_error="ignore")  # type: ignore[arg-type]
