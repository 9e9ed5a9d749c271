"""Requirements on importing a source, making a Neuron, and its inputs and outputs."""

from __future__ import annotations

import asyncio
import copy
import inspect
import sys
from asyncio.subprocess import PIPE
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from cosmo_core.contracts.neuron import NeuronFn, is_streaming
from cosmo_core.errors import NeuronError
from cosmo_llm import INPUT_INVALID
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.leftovers import living
from cosmo_testing.conformance.properties import objects_like, try_each
from cosmo_testing.conformance.steps import UnmetError, bounded, need
from cosmo_testing.sources.calls import (
    close,
    error_of,
    items_of,
    need_transportable,
    output_of,
    provided,
    running,
)
from cosmo_testing.sources.guard import offline
from cosmo_testing.sources.subject import LLM, STREAMS, SourceUnderTest

IMPORT_S: Final = 60.0
"""Seconds that an import may take."""

_IMPORT: Final = """
import contextlib, importlib, sys
from cosmo_testing.sources.guard import offline
with offline(files=False) as attempts:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(sys.argv[1])
    finally:
        print("; ".join(attempts))
"""
_NO_SUCH_OPTION: Final = "no_such_option"


@requirement("source:import-offline", "Importing a source MUST NOT open a connection or start a process.")
async def check_import_offline(source: SourceUnderTest) -> None:
    """Import the module of the Neuron in a new interpreter, with network and processes forbidden."""
    async with running(source) as (neuron, _):
        module = neuron.__module__
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _IMPORT, module), stdout=PIPE, stderr=PIPE
    )
    try:
        printed, complaints = await bounded(f"import {module}", process.communicate(), IMPORT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    attempts = printed.decode().strip()
    need(not attempts, f"import {module} {attempts}")
    need(process.returncode == 0, f"import {module} failed: {complaints.decode().strip()}")


@requirement(
    "source:construction-offline",
    "Making a Neuron MUST NOT need an event loop, or reach anything outside the process.",
)
async def check_construction_offline(source: SourceUnderTest) -> None:
    """Make a Neuron in a thread without an event loop, with network, processes and files forbidden."""
    async with provided(source) as (scenario, options):
        neuron, attempts = await asyncio.to_thread(_construct, source, options)
        await close(neuron)
        need(not attempts, f"making a Neuron {'; '.join(attempts)}")
        need(scenario.asked == 0, "making a Neuron asks the provider")


def _construct(source: SourceUnderTest, options: dict[str, Any]) -> tuple[NeuronFn, list[str]]:
    before = living()
    with offline(files=True) as attempts:
        neuron = source.neuron(**options)
    return neuron, [*attempts, *(f"leaves {each!r}" for each in living() - before)]


@requirement("source:unknown-option", "An unknown option MUST be refused with a TypeError that names it.")
async def check_unknown_option(source: SourceUnderTest) -> None:
    """Make a Neuron with an unknown option."""
    async with provided(source) as (_, options):
        try:
            neuron = source.neuron(**options, **{_NO_SUCH_OPTION: 1})
        except TypeError as error:
            need(_NO_SUCH_OPTION in str(error), f"the TypeError does not name the option: {error}")
            return
        await close(neuron)
        raise UnmetError(f"{_NO_SUCH_OPTION}=1 was accepted")


@requirement(
    "source:neuron-shape",
    "A Neuron MUST be an async function or, if it streams, an async generator function.",
)
async def check_neuron_shape(source: SourceUnderTest) -> None:
    """Check the kind of function."""
    async with running(source) as (neuron, _):
        streams = is_streaming(neuron)
        need(streams == source.streams, f"streams = {source.streams}, but the Neuron says {streams}")
        need(streams or _is_async(neuron), f"{neuron!r} is not an async function")


def _is_async(neuron: Any) -> bool:
    return inspect.iscoroutinefunction(neuron) or inspect.iscoroutinefunction(type(neuron).__call__)


@requirement("source:aclose-idempotent", "`aclose` MUST be callable before the first call, and twice.")
async def check_aclose_idempotent(source: SourceUnderTest) -> None:
    """Close before the first call, and twice after it."""
    async with running(source) as (neuron, _):
        await close(neuron)
        await output_of(neuron, source.input(0))
        await close(neuron)
        await close(neuron)


@requirement("source:usable-after-aclose", "A closed Neuron MUST be callable again.")
async def check_usable_after_aclose(source: SourceUnderTest) -> None:
    """Call, close, call."""
    async with running(source) as (neuron, _):
        before = source.answer(await output_of(neuron, source.input(0)))
        await close(neuron)
        after = source.answer(await output_of(neuron, source.input(0)))
        need(after == before, f"the answer was {before!r}, and {after!r} once the Neuron was closed")


@requirement("source:input-untouched", "A call MUST NOT change its input or its context.")
async def check_input_untouched(source: SourceUnderTest) -> None:
    """Compare the input and the context with copies from before the call."""
    async with running(source) as (neuron, _):
        input, context = source.input(0), [{"role": "memory", "entries": ["one", "two"]}]
        kept = copy.deepcopy((input, context))
        await items_of(neuron, input, context)
        need(input == kept[0], f"the input was {kept[0]!r} and is now {input!r}")
        need(context == kept[1], f"the context was {kept[1]!r} and is now {context!r}")


@requirement(
    "source:output-json",
    "An output MUST be an object, and MUST arrive over the bus as it was returned.",
)
async def check_output_json(source: SourceUnderTest) -> None:
    """Encode and decode the output."""
    async with running(source) as (neuron, _):
        need_transportable(await output_of(neuron, source.input(0)))


@requirement(
    "source:llm-output",
    "The output of a language model MUST be `response`, a text, and `meta`, an object.",
    when=[LLM],
)
async def check_llm_output(source: SourceUnderTest) -> None:
    """Check the keys of the output and the types of the values."""
    async with running(source) as (neuron, _):
        output = await output_of(neuron, source.input(0))
        shape = {key: type(value).__name__ for key, value in output.items()}
        need(shape == {"response": "str", "meta": "dict"}, f"the output's keys and their types are {shape}")


@requirement(
    "source:stream-order",
    "A stream MUST be texts, then one object, which is the output.",
    when=[STREAMS],
)
async def check_stream_order(source: SourceUnderTest) -> None:
    """Check the types of all the items of a stream."""
    async with running(source) as (neuron, _):
        kinds = [type(item).__name__ for item in await items_of(neuron, source.input(0))]
        need(len(kinds) > 1, f"the stream has only {kinds}")
        need(kinds == ["str"] * (len(kinds) - 1) + ["dict"], f"the stream yields {kinds}")


@requirement(
    "source:stream-joined",
    "The joined texts of a stream MUST equal the `response` of its output.",
    when=[STREAMS],
)
async def check_stream_joined(source: SourceUnderTest) -> None:
    """Compare the joined texts with the response."""
    async with running(source) as (neuron, _):
        *texts, output = await items_of(neuron, source.input(0))
        joined = "".join(text for text in texts if isinstance(text, str))
        need(joined == output["response"], f"joined {joined!r}, but response {output['response']!r}")


@requirement(
    "source:stream-abandoned",
    "A caller MAY abandon a stream after its first text; the Neuron MUST be callable again.",
    when=[STREAMS],
)
async def check_stream_abandoned(source: SourceUnderTest) -> None:
    """Read one text of a stream, close the stream, and call again."""
    async with running(source) as (neuron, _):
        async with aclosing(neuron(source.input(0), [])) as stream:
            await bounded("the first text", anext(stream))
        await output_of(neuron, source.input(0))


@requirement(
    "source:invalid-input",
    "An invalid input MUST raise a NeuronError INPUT_INVALID that is not recoverable.",
)
async def check_invalid_input(source: SourceUnderTest) -> None:
    """Call with each of the invalid inputs."""
    need(bool(source.invalid_inputs), "invalid_inputs is empty: name some inputs that must be rejected")
    async with running(source) as (neuron, _):
        for input in source.invalid_inputs:
            error = await error_of(neuron, copy.deepcopy(input))
            found = (error.code, error.recoverable)
            need(found == INPUT_INVALID, f"{input!r} ends in {error.code}, recoverable={error.recoverable}")


@requirement("source:any-input", "A call with any object MUST end in a valid output or in a NeuronError.")
async def check_any_input(source: SourceUnderTest) -> None:
    """Call with generated inputs."""
    async with running(source) as (neuron, _):
        await try_inputs(neuron, source.input(0))


async def try_inputs(neuron: NeuronFn, valid: dict[str, Any]) -> None:
    """Call a Neuron with generated objects, similar to a valid input and arbitrary.

    Raises:
        UnmetError: A call did not end in a valid output or a NeuronError, or changed its input.
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
