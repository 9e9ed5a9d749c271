"""Calls of a context Neuron for the checks, with time limits, and comparison of its state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cosmo_context.context import Context
from cosmo_context.neuron import Fits, Neuron
from cosmo_context.state import ContextState
from cosmo_context.testing.subject import Example
from cosmo_testing.conformance.steps import bounded, need


async def fragment_of(neuron: Neuron, ctx: Context, **options: Any) -> str:
    """Return the fragment of a Neuron.

    Raises:
        UnmetError: It did not return in time, or not a string.
    """
    fragment: object = await bounded("format()", neuron.format(ctx, **options))
    return _text("format()", fragment)


async def shortened(neuron: Neuron, ctx: Context, fits: Fits, **options: Any) -> str:
    """Return a shortened fragment of a Neuron.

    Raises:
        UnmetError: It did not return in time, or not a string.
    """
    fragment: object = await bounded("shorten()", neuron.shorten(ctx, fits, **options))
    return _text("shorten()", fragment)


async def fragment_of_example(neuron: Neuron, example: Example) -> str:
    """Return the fragment of a Neuron for an example.

    Raises:
        UnmetError: It did not return in time, or not a string.
    """
    return await fragment_of(neuron, example.ctx, **example.options)


def with_state(ctx: Context, state: ContextState | Mapping[str, Any]) -> Context:
    """Make a Context with another state, without a parent."""
    return Context(ctx.task_id, config=ctx.config, clock=ctx.clock, state=state)


def _text(asked: str, fragment: object) -> str:
    need(isinstance(fragment, str), f"{asked} gave a {type(fragment).__name__}, not a string")
    return str(fragment)


def copied(ctx: Context) -> dict[str, Any]:
    """Return a deep copy of the state of a Context.

    Raises:
        UnmetError: A value does not equal its copy, so a change could not be detected.
    """
    values = ctx.state.to_dict()
    kept = copy.deepcopy(values)
    for key, value in values.items():
        need(value == kept[key], f"the value of {key!r} does not equal a deep copy of it: use one that does")
    return kept


def need_untouched(ctx: Context, kept: Mapping[str, Any]) -> None:
    """Check that a state is unchanged.

    Raises:
        UnmetError: It changed.
    """
    values = ctx.state.to_dict()
    need(values == kept, f"the state was {kept!r} and is now {values!r}")
