"""A context Neuron that is asked to be shorter is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_context.testing.asking import fragment_of_example, shortened
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_context.neuron import Fits
    from cosmo_context.testing.subject import ContextNeuronUnderTest

ALLOWANCES: Final = 64
"""To how many lengths an example is shortened, at most."""


@REQUIREMENTS.proves("context:shorten-fits")
async def check_shorten_fits(subject: ContextNeuronUnderTest) -> None:
    """Shorten every example to lengths from nothing to nearly all of it."""
    neuron = subject.neuron()
    for example in subject.examples():
        whole = await fragment_of_example(neuron, example)
        for length in _lengths(len(whole)):
            text = await shortened(neuron, example.ctx, _at_most(length), **example.options)
            need(
                len(text) <= length,
                f"{length} characters are allowed, and it gives the {len(text)} of {text!r}",
            )


@REQUIREMENTS.proves("context:shorten-shorter")
async def check_shorten_shorter(subject: ContextNeuronUnderTest) -> None:
    """Shorten every example although it fits."""
    neuron = subject.neuron()
    for example in subject.examples():
        whole = await fragment_of_example(neuron, example)
        text = await shortened(neuron, example.ctx, lambda text: True, **example.options)
        need(len(text) <= len(whole), f"the whole is {whole!r}, and shortened it is {text!r}")


def _lengths(whole: int) -> Iterable[int]:
    return range(0, whole, max(1, -(-whole // ALLOWANCES)))


def _at_most(length: int) -> Fits:
    return lambda text: len(text) <= length
