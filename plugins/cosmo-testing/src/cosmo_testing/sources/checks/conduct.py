"""Requirements on cancelled, concurrent and closed Neurons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import combinations
from typing import Any, Final

from cosmo_core.contracts.neuron import NeuronFn
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.leftovers import LINGER_S, leftovers
from cosmo_testing.conformance.steps import UnmetError, bounded, need
from cosmo_testing.sources.calls import error_of, made, output_of, provided, running
from cosmo_testing.sources.checks.contract import check_stream_abandoned
from cosmo_testing.sources.provider import Scenario
from cosmo_testing.sources.subject import SourceUnderTest

AT_ONCE: Final = 4
"""The number of concurrent calls: few enough for the thread pool of the smallest machine."""
CANCEL_S: Final = 2.0
"""Seconds that a cancelled call may still run."""


@requirement("source:cancel-prompt", "A cancelled call MUST end at once, as cancelled.")
async def check_cancel_prompt(source: SourceUnderTest) -> None:
    """Cancel a call that waits for its provider."""
    async with running(source) as (neuron, scenario), held_calls(source, neuron, scenario, 1) as (call,):
        await cancel(call)


@requirement("source:usable-after-cancel", "A Neuron MUST be callable after a cancelled call.")
async def check_usable_after_cancel(source: SourceUnderTest) -> None:
    """Cancel a call; then call again."""
    async with running(source) as (neuron, scenario):
        before = source.answer(await output_of(neuron, source.input(0)))
        async with held_calls(source, neuron, scenario, 1) as (call,):
            call.cancel()
            await asyncio.wait([call], timeout=CANCEL_S)
        after = source.answer(await output_of(neuron, source.input(0)))
        need(after == before, f"the answer was {before!r}, and {after!r} after a cancelled call")


@requirement(
    "source:concurrent-answers",
    "Each of several concurrent calls MUST get the answer to its own input.",
)
async def check_concurrent_answers(source: SourceUnderTest) -> None:
    """Run several calls concurrently; compare each answer with that of a single call."""
    async with running(source) as (neuron, scenario):
        alone = await answers_alone(source, neuron)
        async with held_calls(source, neuron, scenario, AT_ONCE) as calls:
            scenario.release()
            together = await answers_of(source, calls)
        need(together == alone, f"alone {alone!r}, together {together!r}")


@requirement("source:concurrent-cancel", "Cancelling one call MUST NOT affect concurrent calls.")
async def check_concurrent_cancel(source: SourceUnderTest) -> None:
    """Cancel the first of several concurrent calls; compare the other answers with those of single calls."""
    async with running(source) as (neuron, scenario):
        alone = await answers_alone(source, neuron)
        async with held_calls(source, neuron, scenario, AT_ONCE) as (first, *others):
            first.cancel()
            await asyncio.wait([first], timeout=CANCEL_S)
            scenario.release()
            together = await answers_of(source, others)
        need(together == alone[1:], f"alone {alone[1:]!r}, beside a cancelled call {together!r}")


@requirement("source:no-task-left", "`aclose` MUST NOT leave a task of the Neuron running.")
async def check_no_task_left(source: SourceUnderTest, fault: str | None = None) -> None:
    """Compare the tasks of the event loop before a Neuron is made and after it is closed."""
    async with provided(source, fault) as (scenario, options):
        before = asyncio.all_tasks()
        async with made(source, scenario, options) as neuron:
            await lead_a_life(source, neuron, scenario)
        left = asyncio.all_tasks() - before
        if left:
            # Some are tasks of the provider, which detects a disconnected caller only now.
            _, left = await asyncio.wait(left, timeout=LINGER_S)
        need(not left, f"still running: {', '.join(sorted(repr(task.get_coro()) for task in left))}")


@requirement(
    "source:nothing-left-open",
    "`aclose` MUST NOT leave a thread, a socket or a process of the Neuron open.",
)
async def check_nothing_left_open(source: SourceUnderTest) -> None:
    """Compare threads, sockets and processes before and after the life of Neurons, one for each fault."""

    async def lives() -> None:
        for fault in (None, *source.failures):
            if source.exemption(check_nothing_left_open, fault) is None:
                async with running(source, fault) as (neuron, scenario):
                    await lead_a_life(source, neuron, scenario)

    def live() -> list[str]:
        with leftovers() as found, asyncio.Runner() as runner:
            runner.run(lives())
        return found

    found = await asyncio.to_thread(live)
    need(not found, f"left behind: {'; '.join(found)}")


async def lead_a_life(source: SourceUnderTest, neuron: NeuronFn, scenario: Scenario) -> None:
    """Use a Neuron in every way: a failure, answers, an abandoned stream and a cancelled call."""
    if scenario.fault is not None:
        await error_of(neuron, source.input(0))
        scenario.fault = None
    await output_of(neuron, source.input(0))
    if source.exemption(check_stream_abandoned) is None:
        async with aclosing(neuron(source.input(0), [])) as stream:
            await bounded("the first text", anext(stream))
    if source.exemption(check_cancel_prompt) is None:
        async with held_calls(source, neuron, scenario, 1) as (call,):
            call.cancel()
            await asyncio.wait([call], timeout=CANCEL_S)
    await output_of(neuron, source.input(0))


async def answers_alone(source: SourceUnderTest, neuron: NeuronFn) -> list[Any]:
    """Return the answers to the first inputs, one call after another; all of them must differ."""
    answers = [source.answer(await output_of(neuron, source.input(n))) for n in range(AT_ONCE)]
    distinct = all(one != other for one, other in combinations(answers, 2))
    need(distinct, f"input(n) must have a different answer for every n, but the answers are {answers!r}")
    return answers


async def answers_of(source: SourceUnderTest, calls: list[asyncio.Task[Any]]) -> list[Any]:
    """Return the answers of calls that can end now.

    Raises:
        UnmetError: A call ended without an answer.
    """
    await bounded("a call", asyncio.wait(calls))
    for call in calls:
        answered = not call.cancelled() and call.exception() is None
        need(answered, f"a call that was not cancelled ended without an output: {_outcome(call)}")
    return [source.answer(call.result()) for call in calls]


@asynccontextmanager
async def held_calls(
    source: SourceUnderTest, neuron: NeuronFn, scenario: Scenario, count: int
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Start calls, and yield when all of them wait at the provider; at the end, end all calls."""
    scenario.hold()
    before = scenario.asked
    calls = [asyncio.create_task(output_of(neuron, source.input(n))) for n in range(count)]
    try:
        await _all_held(calls, scenario, before)
        yield calls
    finally:
        # This also ends a call that ignores its cancellation.
        scenario.release()
        for call in calls:
            call.cancel()
        await bounded("a cancelled call", asyncio.gather(*calls, return_exceptions=True))


async def _all_held(calls: list[asyncio.Task[Any]], scenario: Scenario, before: int) -> None:
    arrival = asyncio.create_task(scenario.wait_asked(before + len(calls)))
    await asyncio.wait([arrival, *calls], return_when=asyncio.FIRST_COMPLETED)
    for call in calls:
        if call.done():
            arrival.cancel()
            await asyncio.wait([arrival])
            raise UnmetError(f"a call ended before its provider answered: {_outcome(call)}")
    try:
        await arrival
    except TimeoutError:
        reached = scenario.asked - before
        raise UnmetError(
            f"{reached} of {len(calls)} calls reached the provider at once; "
            "does provider() call scenario.reached() for each?"
        ) from None


async def cancel(call: asyncio.Task[Any]) -> None:
    """Cancel a call.

    Raises:
        UnmetError: It continues, or does not end as cancelled.
    """
    call.cancel()
    await asyncio.wait([call], timeout=CANCEL_S)
    need(call.done(), f"a cancelled call still runs after {CANCEL_S:g} s")
    need(call.cancelled(), f"a cancelled call ended, but not as cancelled: {_outcome(call)}")


def _outcome(call: asyncio.Task[Any]) -> str:
    if call.cancelled():
        return "it was cancelled"
    error = call.exception()
    return "it returned an output" if error is None else f"it raised {type(error).__name__}: {error}"
