"""What nobody thought of, for checks that are coroutines. Needs hypothesis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmo_testing.strategies import json_objects, json_values

T = TypeVar("T")


def objects_like(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of any kind, and those that are nearly this one: keys missing, changed or too many."""
    changed = st.fixed_dictionaries({}, optional={key: _like(value) for key, value in valid.items()})
    return st.one_of(
        json_objects(),
        changed,
        st.builds(lambda changed: {**valid, **changed}, changed),
        st.builds(lambda extra, changed: {**extra, **valid, **changed}, json_objects(), changed),
    )


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same type, and of any other."""
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
    """Await ``check`` with one value after another: as many as Hypothesis is set to try, or ``at_least``.

    What it raises is raised again, for the simplest value with which it does.
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

    # Hypothesis is not async: it drives the check from a thread of its own.
    await asyncio.to_thread(try_one)
