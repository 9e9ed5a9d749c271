"""A failing provider is told of truthfully, and survived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_core.protocol.signal_type import SignalType
from cosmo_testing.conformance.steps import PATIENCE_S, need
from cosmo_testing.sources.bus import NEURON_ID, hosted
from cosmo_testing.sources.calls import error_of, output_of, provided, running
from cosmo_testing.sources.faults import FAULTS, RETRY_AFTER_S
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_testing.sources.subject import SourceUnderTest


@REQUIREMENTS.proves("source:failure-code")
async def check_failure_code(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and compare the code with the declared one."""
    async with running(source, fault) as (neuron, scenario):
        error = await error_of(neuron, source.input(0))
        need(scenario.asked > 0, f"the call failed before it reached its provider: {error}")
        expected = source.failures[fault].code
        need(error.code == expected, f"{fault} ends in {error.code!r}, not {expected!r}: {error}")


@REQUIREMENTS.proves("source:failure-recoverable")
async def check_failure_recoverable(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and compare ``recoverable`` with the nature of the fault."""
    declared = source.failures[fault].recoverable
    truth = FAULTS[fault].failure.recoverable if fault in FAULTS else declared
    need(declared is truth, f"failures declares {fault} with recoverable={declared}; it is {truth} by nature")
    async with running(source, fault) as (neuron, _):
        error = await error_of(neuron, source.input(0))
        need(error.recoverable is truth, f"{fault} ends with recoverable={error.recoverable!r}: {error}")


@REQUIREMENTS.proves("source:failure-signal")
async def check_failure_signal(source: SourceUnderTest, fault: str) -> None:
    """Dispatch a TASK over a bus while the provider fails."""
    async with (
        provided(source, fault) as (scenario, options),
        hosted(source, scenario, options) as (dendrite, _),
    ):
        reply = await dendrite.dispatch_and_wait(
            neuron=NEURON_ID, input=source.input(0), timeout_s=PATIENCE_S
        )
        need(reply.type is SignalType.ERROR, f"{fault} ends in {reply.type.value}")
        code, message = reply.payload["code"], reply.payload["message"]
        expected = source.failures[fault].code
        need(code == expected, f"{fault} ends in an ERROR {code!r}, not {expected!r}: {message}")
        need(bool(message.strip()), f"the ERROR for {fault} does not say what happened")


@REQUIREMENTS.proves("source:usable-after-failure")
async def check_usable_after_failure(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and again when it works."""
    async with running(source, fault) as (neuron, scenario):
        await error_of(neuron, source.input(0))
        scenario.fault = None
        await output_of(neuron, source.input(0))


@REQUIREMENTS.proves("source:retry-after")
async def check_retry_after(source: SourceUnderTest) -> None:
    """Call while the provider asks for an hour's pause, and count how often it is asked."""
    async with running(source, "rate-limited") as (neuron, scenario):
        error = await error_of(neuron, source.input(0))
        need(scenario.asked == 1, f"the provider asked for a pause, and was called {scenario.asked} times")
        seconds = str(RETRY_AFTER_S)
        need(seconds in str(error), f"the error does not say to wait {seconds} s: {error}")
