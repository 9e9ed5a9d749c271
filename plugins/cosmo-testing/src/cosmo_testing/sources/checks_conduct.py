"""Calls end when they are told to, keep out of each other's way, and leave nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.leftovers import LINGER_S, leftovers
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.sources.calls import error_of, made, output_of, provided, running
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing.sources.scenario import Scenario
    from cosmo_testing.sources.subject import SourceUnderTest

AT_ONCE: Final = 4
"""How many calls run at once: few enough for the threads of the smallest machine."""
CANCEL_S: Final = 2.0
"""For how long a cancelled call may go on."""


@REQUIREMENTS.proves("source:cancel-prompt")
async def check_cancel_prompt(source: SourceUnderTest) -> None:
    """Cancel a call that waits for its provider."""
    async with running(source) as (neuron, scenario), held_calls(source, neuron, scenario, 1) as (call,):
        await cancel(call)


@REQUIREMENTS.proves("source:usable-after-cancel")
async def check_usable_after_cancel(source: SourceUnderTest) -> None:
    """Cancel a call, and call again."""
    async with running(source) as (neuron, scenario):
        before = source.answer(await output_of(neuron, source.input(0)))
        async with held_calls(source, neuron, scenario, 1) as (call,):
            call.cancel()
            await asyncio.wait([call], timeout=CANCEL_S)
        after = source.answer(await output_of(neuron, source.input(0)))
        need(after == before, f"the answer was {before!r}, and {after!r} after a cancelled call")


@REQUIREMENTS.proves("source:concurrent-answers")
async def check_concurrent_answers(source: SourceUnderTest) -> None:
    """Let several calls wait at the provider at once, and compare with what each gets alone."""
    async with running(source) as (neuron, scenario):
        alone = await answers_alone(source, neuron)
        async with held_calls(source, neuron, scenario, AT_ONCE) as calls:
            scenario.release()
            together = await answers_of(source, calls)
        need(together == alone, f"alone {alone!r}, together {together!r}")


@REQUIREMENTS.proves("source:concurrent-cancel")
async def check_concurrent_cancel(source: SourceUnderTest) -> None:
    """Cancel the first of several calls that wait at the provider."""
    async with running(source) as (neuron, scenario):
        alone = await answers_alone(source, neuron)
        async with held_calls(source, neuron, scenario, AT_ONCE) as (first, *others):
            first.cancel()
            await asyncio.wait([first], timeout=CANCEL_S)
            scenario.release()
            together = await answers_of(source, others)
        need(together == alone[1:], f"alone {alone[1:]!r}, beside a cancelled call {together!r}")


@REQUIREMENTS.proves("source:no-task-left")
async def check_no_task_left(source: SourceUnderTest, fault: str | None = None) -> None:
    """Compare the tasks of the loop before a Neuron was made and after it was closed."""
    async with provided(source, fault) as (scenario, options):
        before = asyncio.all_tasks()
        async with made(source, scenario, options) as neuron:
            await lead_a_life(source, neuron, scenario)
        left = asyncio.all_tasks() - before
        if left:
            # Some of these are the provider's, which notices only now that its caller is gone.
            _, left = await asyncio.wait(left, timeout=LINGER_S)
        need(not left, f"still running: {', '.join(sorted(repr(task.get_coro()) for task in left))}")


@REQUIREMENTS.proves("source:nothing-left-open")
async def check_nothing_left_open(source: SourceUnderTest) -> None:
    """Compare threads, sockets and processes before and after a loop in which Neurons live, one per fault."""

    async def lives() -> None:
        for fault in (None, *source.failures):
            if source.exemption("source:nothing-left-open", fault) is None:
                async with running(source, fault) as (neuron, scenario):
                    await lead_a_life(source, neuron, scenario)

    def live() -> list[str]:
        with leftovers() as found, asyncio.Runner() as runner:
            runner.run(lives())
        return found

    found = await asyncio.to_thread(live)
    need(not found, f"left behind: {'; '.join(found)}")


async def lead_a_life(source: SourceUnderTest, neuron: NeuronFn, scenario: Scenario) -> None:
    """Do with a Neuron what may happen to one: a failure, answers, a stream left early, a cancelled call."""
    if scenario.fault is not None:
        await error_of(neuron, source.input(0))
        scenario.fault = None
    await output_of(neuron, source.input(0))
    if source.exemption("source:stream-abandoned") is None:
        async with aclosing(neuron(source.input(0), [])) as stream:
            await bounded("the first text", anext(stream))
    if source.exemption("source:cancel-prompt") is None:
        async with held_calls(source, neuron, scenario, 1) as (call,):
            call.cancel()
            await asyncio.wait([call], timeout=CANCEL_S)
    await output_of(neuron, source.input(0))


async def answers_alone(source: SourceUnderTest, neuron: NeuronFn) -> list[Any]:
    """The answers to the first inputs, asked for one after another; no two are the same."""
    answers = [source.answer(await output_of(neuron, source.input(n))) for n in range(AT_ONCE)]
    distinct = all(one != other for one, other in combinations(answers, 2))
    need(distinct, f"input(n) must make a different answer for every n, and these are {answers!r}")
    return answers


async def answers_of(source: SourceUnderTest, calls: list[asyncio.Task[Any]]) -> list[Any]:
    """The answers to calls that are to end now.

    Raises:
        UnmetError: One ended otherwise.
    """
    await bounded("a call", asyncio.wait(calls))
    for call in calls:
        answered = not call.cancelled() and call.exception() is None
        need(answered, f"a call that nobody cancelled ended without an output: {_outcome(call)}")
    return [source.answer(call.result()) for call in calls]


@asynccontextmanager
async def held_calls(
    source: SourceUnderTest, neuron: NeuronFn, scenario: Scenario, count: int
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Start calls, and go on when all of them wait at the provider; none is left in the end."""
    scenario.hold()
    before = scenario.asked
    calls = [asyncio.create_task(output_of(neuron, source.input(n))) for n in range(count)]
    try:
        await _all_held(calls, scenario, before)
        yield calls
    finally:
        # Also lets a call go that does not obey when it is cancelled.
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
        UnmetError: It goes on, or it ends in another way.
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
