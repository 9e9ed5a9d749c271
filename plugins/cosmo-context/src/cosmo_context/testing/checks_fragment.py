"""A fragment is what was promised, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_context.testing.asking import fragment_of, fragment_of_example, shortened
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from cosmo_context.testing.subject import ContextNeuronUnderTest

_NO_SUCH_OPTION: Final = {"no_such_option": 1}


@REQUIREMENTS.proves("context:text")
async def check_text(subject: ContextNeuronUnderTest) -> None:
    """Ask in both layouts."""
    neuron = subject.neuron()
    for ctx in (*(example.ctx for example in subject.examples()), subject.nothing_to_say()):
        await fragment_of(neuron, ctx)
        await fragment_of(neuron, ctx, **neuron.cache_options)


@REQUIREMENTS.proves("context:examples")
async def check_examples(subject: ContextNeuronUnderTest) -> None:
    """Compare every example's fragment with what is expected."""
    neuron = subject.neuron()
    for place, example in enumerate(subject.examples()):
        fragment = await fragment_of_example(neuron, example)
        need(
            fragment == example.fragment,
            f"examples()[{place}] expects {example.fragment!r}, and {fragment!r} came",
        )


@REQUIREMENTS.proves("context:nothing-to-say")
async def check_nothing_to_say(subject: ContextNeuronUnderTest) -> None:
    """Ask in the Context in which there is nothing to say."""
    fragment = await fragment_of(subject.neuron(), subject.nothing_to_say())
    if subject.never_empty:
        need(fragment != "", "never_empty = True, but nothing_to_say() makes it empty")
    else:
        need(fragment == "", f"nothing_to_say() makes it say {fragment!r}")


@REQUIREMENTS.proves("context:trailing-newline")
async def check_trailing_newline(subject: ContextNeuronUnderTest) -> None:
    """Look at the end of every example's fragment."""
    neuron = subject.neuron()
    for example in subject.examples():
        fragment = await fragment_of_example(neuron, example)
        need(not fragment.endswith("\n"), f"{fragment!r} ends with what belongs to the builder's separator")


@REQUIREMENTS.proves("context:unknown-option")
async def check_unknown_option(subject: ContextNeuronUnderTest) -> None:
    """Ask with and without an option that no Neuron has."""
    neuron = subject.neuron()
    for example in subject.examples():
        without = await fragment_of_example(neuron, example)
        options = {**example.options, **_NO_SUCH_OPTION}
        fragment = await fragment_of(neuron, example.ctx, **options)
        need(fragment == without, f"{_NO_SUCH_OPTION} makes {fragment!r} of {without!r}")
        await shortened(neuron, example.ctx, lambda text: not text, **options)
