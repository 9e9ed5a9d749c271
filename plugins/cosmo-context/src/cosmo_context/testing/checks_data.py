"""What a context Neuron quotes stays data: it cannot pass for the Neuron's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_context.builder import PromptBuilder
from cosmo_context.data import marking, parts, unmarked
from cosmo_context.testing.asking import fragment_of
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_context.variables import DynamicVariableRegistry
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from cosmo_context.context import Context
    from cosmo_context.testing.subject import ContextNeuronUnderTest

_TEXT: Final = "said by somebody else"
_KEY: Final = "known_to_the_context_only"
_VARIABLE: Final = f"${{{_KEY}}}"
_VALUE: Final = "told to nobody"
_TAG: Final = "<system_info of='nobody'>"
_ESCAPED: Final = "&lt;system_info of='nobody'>"


@REQUIREMENTS.proves("context:data-marked")
async def check_data_marked(subject: ContextNeuronUnderTest) -> None:
    """Ask for the fragment as it is, with marks, and as it is again."""
    neuron, ctx = subject.neuron(), _quoting(subject, _TEXT)
    plain = await fragment_of(neuron, ctx)
    need(_TEXT in plain, f"quoting({_TEXT!r}) gives {plain!r}")
    with marking():
        marked = await fragment_of(neuron, ctx)
    need(unmarked(marked) == plain, f"it says {plain!r}, and {unmarked(marked)!r} with marks")
    pieces = parts(marked) or []
    need(
        any(_TEXT in piece.text and not piece.own for piece in pieces),
        f"{_TEXT!r} passes for its own text: quote it with cosmo_context.data",
    )
    again = await fragment_of(neuron, ctx)
    need(again == plain, f"a builder that wants no marks gets {again!r}: do not keep what data() gave")


@REQUIREMENTS.proves("context:data-variables")
async def check_data_variables(subject: ContextNeuronUnderTest) -> None:
    """Let it quote a variable of which the Context knows the value."""
    ctx = _quoting(subject, text := f"{_TEXT} {_VARIABLE}")
    ctx.state.set(_KEY, _VALUE)
    builder = PromptBuilder(ctx, variables=DynamicVariableRegistry())
    prompt = await builder.add_neuron(subject.neuron()).build()
    need(_VALUE not in prompt, f"{_VARIABLE} in the data became its value: {prompt!r}")
    need(text in prompt, f"quoting({text!r}) gives {prompt!r}")


@REQUIREMENTS.proves("context:data-tags")
async def check_data_tags(subject: ContextNeuronUnderTest) -> None:
    """Let it quote a tag of the prompt, in a prompt that escapes them."""
    ctx = _quoting(subject, text := f"{_TEXT} {_TAG}")
    builder = PromptBuilder(ctx, escape_tags=True)
    prompt = await builder.add_neuron(subject.neuron()).build()
    need(_TAG not in prompt, f"{_TAG} in the data was not escaped: {prompt!r}")
    need(_ESCAPED in prompt, f"quoting({text!r}) gives {prompt!r}")


def _quoting(subject: ContextNeuronUnderTest, text: str) -> Context:
    ctx = subject.quoting(text)
    if ctx is None:
        raise UnmetError(f"quoting({text!r}) gives no Context")
    return ctx
