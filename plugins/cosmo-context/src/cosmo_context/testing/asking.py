"""How the checks ask a context Neuron; every wait has an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cosmo_context.context import Context
from cosmo_core.testing.conformance.steps import bounded, need

if TYPE_CHECKING:
    from cosmo_context.neuron import Fits, Neuron
    from cosmo_context.state import ContextState
    from cosmo_context.testing.subject import Example


async def fragment_of(neuron: Neuron, ctx: Context, **options: Any) -> str:
    """Ask a Neuron for its fragment.

    Raises:
        UnmetError: It gives none in time, or one that is no string.
    """
    fragment: object = await bounded("format()", neuron.format(ctx, **options))
    return _text("format()", fragment)


async def shortened(neuron: Neuron, ctx: Context, fits: Fits, **options: Any) -> str:
    """Ask a Neuron for a shorter fragment.

    Raises:
        UnmetError: It gives none in time, or one that is no string.
    """
    fragment: object = await bounded("shorten()", neuron.shorten(ctx, fits, **options))
    return _text("shorten()", fragment)


async def fragment_of_example(neuron: Neuron, example: Example) -> str:
    """Ask a Neuron for the fragment of an example.

    Raises:
        UnmetError: It gives none in time, or one that is no string.
    """
    return await fragment_of(neuron, example.ctx, **example.options)


def with_state(ctx: Context, state: ContextState | Mapping[str, Any]) -> Context:
    """Make a Context that differs from another in its state, which reads no parent's."""
    return Context(ctx.task_id, config=ctx.config, clock=ctx.clock, state=state)


def _text(asked: str, fragment: object) -> str:
    need(isinstance(fragment, str), f"{asked} gave a {type(fragment).__name__}, not a string")
    return str(fragment)
