"""Failing Neurons: the error names the Neuron, and its exception is the cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cosmo_context import Context, ContextNeuronError, Neuron, PromptBuilder, StateNeuron

MakeFixed = Callable[..., Any]


@pytest.fixture
def builder() -> PromptBuilder:
    return PromptBuilder(Context("t"))


async def test_failing_neuron_is_named_and_its_error_is_the_cause(
    builder: PromptBuilder, fixed: MakeFixed
) -> None:
    cause = RuntimeError("boom")
    builder.add("task").add_neuron(fixed(cause, "broken"))
    with pytest.raises(ContextNeuronError) as caught:
        await builder.build()
    assert str(caught.value) == "context Neuron 'broken' failed: RuntimeError: boom"
    assert caught.value.neuron == "broken"
    assert caught.value.__cause__ is cause


class BrokenAtOnce(StateNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return f"{ctx.state['nothing']}"


async def test_failing_state_neuron_is_named(builder: PromptBuilder) -> None:
    builder.add_neuron(BrokenAtOnce("hasty"))
    with pytest.raises(ContextNeuronError, match=r"'hasty' failed: KeyError: 'nothing'$") as caught:
        await builder.build()
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("fragment", [0, False, 7, b"hush", ["hush"], {}, object()])
async def test_fragment_of_another_type_is_an_error_without_the_value(
    builder: PromptBuilder, fixed: MakeFixed, fragment: object
) -> None:
    with pytest.raises(ContextNeuronError) as caught:
        await builder.add_neuron(fixed(fragment, "odd")).build()
    given_type = type(fragment).__name__
    assert str(caught.value) == f"context Neuron 'odd' returned a fragment of type {given_type}, not str"


class Plain(Neuron):
    """Has a plain function `format`, as the seed's guide once showed."""

    def format(self, ctx: Context, **kwargs: Any) -> str:  # type: ignore[override]
        return "a"


async def test_plain_format_is_an_error_that_names_the_neuron(
    builder: PromptBuilder,
) -> None:
    with pytest.raises(ContextNeuronError, match=r"^context Neuron 'plain' failed: TypeError: .*await"):
        await builder.add_neuron(Plain("plain")).build()


async def test_builder_can_build_after_an_error(builder: PromptBuilder, fixed: MakeFixed) -> None:
    neuron = fixed(RuntimeError("boom"))
    builder.add_neuron(neuron)
    with pytest.raises(ContextNeuronError):
        await builder.build()
    neuron.fragment = "well"
    assert await builder.build() == "well"
