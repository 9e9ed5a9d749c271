"""Inputs that nobody thought of. Needs hypothesis."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from cosmo_core.errors import NeuronError
from cosmo_testing.conformance.arbitrary import objects_like, try_each
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need
from cosmo_testing.sources.calls import items_of, need_transportable

if TYPE_CHECKING:
    from cosmo_core.contracts.neuron import NeuronFn


async def try_inputs(neuron: NeuronFn, valid: dict[str, Any]) -> None:
    """Call a Neuron with objects like and unlike a valid input, as many as Hypothesis is set to try.

    Raises:
        UnmetError: A call ended in neither a valid output nor a NeuronError, or it changed its input.
    """
    await try_each(objects_like(valid), partial(_try, neuron))


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
