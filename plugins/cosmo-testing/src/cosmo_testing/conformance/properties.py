"""Hypothesis for checks: generated values for coroutines, and state machines that drive async code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmo_testing.strategies import json_objects, json_values

T = TypeVar("T")
Given = TypeVar("Given")
_Job = tuple[Coroutine[Any, Any, Any], "asyncio.Future[Any]"]


def objects_like(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for JSON objects: arbitrary ones, and variations of a valid one.

    A variation has missing, changed or additional keys.
    """
    changed = st.fixed_dictionaries({}, optional={key: _like(value) for key, value in valid.items()})
    return st.one_of(
        json_objects(),
        changed,
        st.builds(lambda changed: {**valid, **changed}, changed),
        st.builds(lambda extra, changed: {**extra, **valid, **changed}, json_objects(), changed),
    )


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of the same type, and of any other type."""
    match value:
        case dict():
            return objects_like(value) | json_values()
        case list():
            return st.lists(st.one_of([json_values(), *map(_like, value)]), max_size=4) | json_values()
        case str():
            return st.text() | json_values()
        case bool():
            return st.booleans() | json_values()
        case int() | float():
            return st.integers() | st.floats(allow_nan=False, allow_infinity=False) | json_values()
        case _:
            return json_values()


async def try_each(
    values: st.SearchStrategy[T], check: Callable[[T], Coroutine[Any, Any, None]], *, at_least: int = 0
) -> None:
    """Await ``check`` with one generated value after another.

    If it raises, the exception of the simplest failing value is raised.

    Args:
        values: The strategy.
        check: The coroutine function.
        at_least: The least number of values; by default Hypothesis's own setting decides.
    """
    loop = asyncio.get_running_loop()
    often = settings(
        max_examples=max(settings().max_examples, at_least),
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )

    @often
    @given(values)
    def try_one(value: T) -> None:
        asyncio.run_coroutine_threadsafe(check(value), loop).result()

    # Hypothesis is synchronous: it runs in a thread of its own.
    await asyncio.to_thread(try_one)


class Session(Generic[Given]):
    """An async context that a synchronous state machine uses from another thread.

    The context is entered, used and left in one task of the event loop, because it may contain time limits
    and task groups. Call every method from a thread other than the loop's.

    Args:
        context: The context.
        loop: The event loop.

    Attributes:
        given: The value of the context.
    """

    def __init__(self, context: AbstractAsyncContextManager[Given], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        started: Future[Given] = asyncio.run_coroutine_threadsafe(self._start(context), loop)
        self.given = started.result()

    async def _start(self, context: AbstractAsyncContextManager[Given]) -> Given:
        ready: asyncio.Future[Given] = self._loop.create_future()
        self._serving = asyncio.ensure_future(self._serve(context, ready))
        # An error from entering the context becomes the outcome.
        self._serving.add_done_callback(lambda serving: _pass_on(serving, ready))
        return await ready

    async def _serve(self, context: AbstractAsyncContextManager[Given], ready: asyncio.Future[Given]) -> None:
        async with context as given:
            ready.set_result(given)
            while (job := await self._jobs.get()) is not None:
                work, outcome = job
                try:
                    outcome.set_result(await work)
                except Exception as error:  # noqa: BLE001 - `run` raises it
                    outcome.set_exception(error)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine inside the context; return its result."""

        async def submit() -> T:
            outcome: asyncio.Future[T] = self._loop.create_future()
            await self._jobs.put((work, outcome))
            return await outcome

        return asyncio.run_coroutine_threadsafe(submit(), self._loop).result()

    def close(self) -> None:
        """Leave the context."""

        async def end() -> None:
            await self._jobs.put(None)
            await self._serving

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()


def _pass_on(serving: asyncio.Task[None], ready: asyncio.Future[Any]) -> None:
    if not ready.done() and (error := serving.exception()) is not None:
        ready.set_exception(error)
