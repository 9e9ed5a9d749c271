"""Inputs that nobody thought of. Needs hypothesis."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_core.testing.sources.calls import items_of, need_transportable
from cosmo_core.testing.sources.registry import UnmetError, need
from cosmo_core.testing.strategies import json_objects, json_values

if TYPE_CHECKING:
    from cosmo_core.neuron import NeuronFn


def inputs_like(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
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
            return inputs_like(value) | json_values()
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


async def try_inputs(neuron: NeuronFn, valid: dict[str, Any]) -> None:
    """Call a Neuron with objects like and unlike a valid input, as many as Hypothesis is set to try.

    Raises:
        UnmetError: A call ended in neither a valid output nor a NeuronError, or it changed its input.
    """
    loop = asyncio.get_running_loop()

    @settings(deadline=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow])
    @given(inputs_like(valid))
    def try_all(input: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(_try(neuron, input), loop).result()

    # Hypothesis is not async: it drives the calls from a thread of its own.
    await asyncio.to_thread(try_all)


async def _try(neuron: NeuronFn, input: dict[str, Any]) -> None:
    kept = copy.deepcopy(input)
    try:
        items = await items_of(neuron, input)
    except NeuronError:
        return
    except Exception as error:
        raise UnmetError(f"the input {kept!r} ends in {type(error).__name__}: {error}") from error
    need(bool(items), f"the stream for {kept!r} ended without an output")
    need_transportable(items[-1])
    need(input == kept, f"the input was {kept!r} and is now {input!r}")
