"""The Neuron keeps the contract of every Neuron, and that of its kind."""

from __future__ import annotations

import copy
import inspect
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.neuron import is_streaming
from cosmo_llm import INPUT_INVALID
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.sources.calls import (
    close,
    error_of,
    items_of,
    need_transportable,
    output_of,
    running,
)
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.sources.subject import SourceUnderTest


@REQUIREMENTS.proves("source:neuron-shape")
async def check_neuron_shape(source: SourceUnderTest) -> None:
    """Look at what kind of function the Neuron is."""
    async with running(source) as (neuron, _):
        streams = is_streaming(neuron)
        need(streams == source.streams, f"streams = {source.streams}, but the Neuron says {streams}")
        need(streams or _is_async(neuron), f"{neuron!r} is no async function")


def _is_async(neuron: Any) -> bool:
    return inspect.iscoroutinefunction(neuron) or inspect.iscoroutinefunction(type(neuron).__call__)


@REQUIREMENTS.proves("source:aclose-idempotent")
async def check_aclose_idempotent(source: SourceUnderTest) -> None:
    """Close before the first call, and twice after it."""
    async with running(source) as (neuron, _):
        await close(neuron)
        await output_of(neuron, source.input(0))
        await close(neuron)
        await close(neuron)


@REQUIREMENTS.proves("source:usable-after-aclose")
async def check_usable_after_aclose(source: SourceUnderTest) -> None:
    """Call, close, call."""
    async with running(source) as (neuron, _):
        before = source.answer(await output_of(neuron, source.input(0)))
        await close(neuron)
        after = source.answer(await output_of(neuron, source.input(0)))
        need(after == before, f"the answer was {before!r}, and {after!r} once the Neuron was closed")


@REQUIREMENTS.proves("source:input-untouched")
async def check_input_untouched(source: SourceUnderTest) -> None:
    """Compare the input and the context with copies of them."""
    async with running(source) as (neuron, _):
        input, context = source.input(0), [{"role": "memory", "entries": ["one", "two"]}]
        kept = copy.deepcopy((input, context))
        await items_of(neuron, input, context)
        need(input == kept[0], f"the input was {kept[0]!r} and is now {input!r}")
        need(context == kept[1], f"the context was {kept[1]!r} and is now {context!r}")


@REQUIREMENTS.proves("source:output-json")
async def check_output_json(source: SourceUnderTest) -> None:
    """Send the output through the codec."""
    async with running(source) as (neuron, _):
        need_transportable(await output_of(neuron, source.input(0)))


@REQUIREMENTS.proves("source:llm-output")
async def check_llm_output(source: SourceUnderTest) -> None:
    """Look at the keys of the output and their types."""
    async with running(source) as (neuron, _):
        output = await output_of(neuron, source.input(0))
        shape = {key: type(value).__name__ for key, value in output.items()}
        need(shape == {"response": "str", "meta": "dict"}, f"the output's keys and their types are {shape}")


@REQUIREMENTS.proves("source:stream-order")
async def check_stream_order(source: SourceUnderTest) -> None:
    """Look at the types of all that the stream yields."""
    async with running(source) as (neuron, _):
        kinds = [type(item).__name__ for item in await items_of(neuron, source.input(0))]
        need(len(kinds) > 1, f"the stream has nothing but {kinds}")
        need(kinds == ["str"] * (len(kinds) - 1) + ["dict"], f"the stream yields {kinds}")


@REQUIREMENTS.proves("source:stream-joined")
async def check_stream_joined(source: SourceUnderTest) -> None:
    """Join the texts of the stream."""
    async with running(source) as (neuron, _):
        *texts, output = await items_of(neuron, source.input(0))
        joined = "".join(text for text in texts if isinstance(text, str))
        need(joined == output["response"], f"joined {joined!r}, but response {output['response']!r}")


@REQUIREMENTS.proves("source:stream-abandoned")
async def check_stream_abandoned(source: SourceUnderTest) -> None:
    """Take one text of the stream, close it, and call again."""
    async with running(source) as (neuron, _):
        async with aclosing(neuron(source.input(0), [])) as stream:
            await bounded("the first text", anext(stream))
        await output_of(neuron, source.input(0))


@REQUIREMENTS.proves("source:invalid-input")
async def check_invalid_input(source: SourceUnderTest) -> None:
    """Call with each of the invalid inputs."""
    need(bool(source.invalid_inputs), "invalid_inputs is empty: name some inputs that must be refused")
    async with running(source) as (neuron, _):
        for input in source.invalid_inputs:
            error = await error_of(neuron, copy.deepcopy(input))
            found = (error.code, error.recoverable)
            need(found == INPUT_INVALID, f"{input!r} ends in {error.code}, recoverable={error.recoverable}")


@REQUIREMENTS.proves("source:any-input")
async def check_any_input(source: SourceUnderTest) -> None:
    """Call with whatever Hypothesis comes up with."""
    # Imported on use: no other check needs hypothesis.
    from cosmo_testing.sources.arbitrary import try_inputs

    async with running(source) as (neuron, _):
        await try_inputs(neuron, source.input(0))
