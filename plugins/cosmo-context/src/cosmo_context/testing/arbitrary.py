"""States that nobody thought of. Needs hypothesis."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from cosmo_context.errors import ContextNeuronError
from cosmo_context.testing.asking import copied, fragment_of, need_untouched, with_state
from cosmo_testing.conformance.arbitrary import objects_like, try_each
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need
from cosmo_testing.strategies import json_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_context.neuron import Neuron
    from cosmo_context.testing.subject import Example


def states_like(valid: dict[str, Any], reads: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """States that are nearly this one, and those with anything at all under the keys that are read."""
    anything = st.fixed_dictionaries({}, optional={key: json_values() for key in reads})
    return objects_like(valid) | anything


async def try_states(neuron: Neuron, example: Example, reads: Iterable[str]) -> None:
    """Ask with states like and unlike that of an example, as many as Hypothesis is set to try.

    Raises:
        UnmetError: A state gave no fragment and no ContextNeuronError of the Neuron's name, or was changed.
    """
    states = states_like(example.ctx.state.to_dict(), reads)
    await try_each(states, partial(_try, neuron, example))


async def _try(neuron: Neuron, example: Example, state: dict[str, Any]) -> None:
    # Copied: the strategy gives the example's own values again and again.
    ctx = with_state(example.ctx, copy.deepcopy(state))
    kept = copied(ctx)
    try:
        await fragment_of(neuron, ctx, **example.options)
    except ContextNeuronError as error:
        need(error.neuron == neuron.name, f"the state {kept!r} ends in an error of another name: {error}")
    except UnmetError as error:
        raise UnmetError(f"with the state {kept!r}, {error}") from error.__cause__
    except Exception as error:
        raise UnmetError(f"the state {kept!r} ends in {type(error).__name__}: {error}") from error
    need_untouched(ctx, kept)
