"""How the checks make Neurons and call them; every wait has an end."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.neuron import is_streaming
from cosmo_core.errors import NeuronError, UnencodableError
from cosmo_core.protocol.codec import decode, encode
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.sources.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing.sources.subject import SourceUnderTest


@asynccontextmanager
async def provided(
    source: SourceUnderTest, fault: str | None = None
) -> AsyncIterator[tuple[Scenario, dict[str, Any]]]:
    """Run the provider, and give the options for a Neuron that is connected to it."""
    scenario = Scenario(fault, words=f"it broke on {' '.join(source.secret_texts())}")
    async with source.provider(scenario) as connected:
        lost = sorted(connected.keys() & source.secrets.keys())
        need(
            not lost, f"provider() replaces the secrets in {', '.join(lost)}: put those of both into secrets"
        )
        try:
            yield scenario, {**source.options, **source.secrets, **connected}
        finally:
            scenario.end()


@asynccontextmanager
async def made(
    source: SourceUnderTest, scenario: Scenario, options: dict[str, Any]
) -> AsyncIterator[NeuronFn]:
    """Make a Neuron, which is closed in the end, when nobody is kept waiting any more."""
    neuron = source.neuron(**options)
    try:
        yield neuron
    finally:
        scenario.end()
        await close(neuron)


@asynccontextmanager
async def running(
    source: SourceUnderTest, fault: str | None = None
) -> AsyncIterator[tuple[NeuronFn, Scenario]]:
    """Run the provider with a Neuron in front of it."""
    async with provided(source, fault) as (scenario, options), made(source, scenario, options) as neuron:
        yield neuron, scenario


async def close(neuron: NeuronFn) -> None:
    """Close a Neuron, if it has anything to close."""
    aclose = getattr(neuron, "aclose", None)
    if aclose is not None:
        await bounded("aclose()", aclose())


async def items_of(neuron: NeuronFn, input: dict[str, Any], context: list[Any] | None = None) -> list[Any]:
    """Call a Neuron; give everything it yields, or the one thing that it returns."""
    return await bounded("the call", _items(neuron, input, [] if context is None else context))


async def output_of(neuron: NeuronFn, input: dict[str, Any]) -> Any:
    """Call a Neuron and give its output.

    Raises:
        UnmetError: It is a stream without anything in it.
    """
    items = await items_of(neuron, input)
    need(bool(items), "the stream ended without an output")
    return items[-1]


async def _items(neuron: NeuronFn, input: dict[str, Any], context: list[Any]) -> list[Any]:
    if not is_streaming(neuron):
        return [await neuron(input, context)]
    async with aclosing(neuron(input, context)) as stream:
        return [item async for item in stream]


async def error_of(neuron: NeuronFn, input: dict[str, Any]) -> NeuronError:
    """Call a Neuron that must fail, and give its error.

    Raises:
        UnmetError: It did not fail, or with another exception.
    """
    try:
        await items_of(neuron, input)
    except NeuronError as error:
        return error
    except UnmetError:
        raise
    except Exception as error:
        raise UnmetError(f"the call raised {type(error).__name__} and not NeuronError: {error}") from error
    raise UnmetError("the call answered as if nothing had gone wrong")


def need_transportable(output: Any) -> None:
    """Refuse an output that does not arrive as it was returned.

    Raises:
        UnmetError: It is no object, or JSON cannot carry it as it is.
    """
    need(isinstance(output, dict), f"the output is a {type(output).__name__}, not an object")
    signal = Signal.new(SignalType.AGENT_OUTPUT, {"output": output})
    try:
        arrived = decode(encode(signal)).payload["output"]
    except UnencodableError as error:
        raise UnmetError(f"JSON cannot carry {output!r}") from error
    need(arrived == output, f"returned was {output!r}, and {arrived!r} arrives")
