"""Requirements on failing providers, and on keeping secrets."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cosmo_core.protocol.signal_type import SignalType
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import PATIENCE_S, need
from cosmo_testing.sources.calls import NEURON_ID, error_of, hosted, items_of, output_of, provided, running
from cosmo_testing.sources.faults import FAULTS, RETRY_AFTER_S
from cosmo_testing.sources.subject import RATE_LIMITED, SECRETS, SourceUnderTest


@requirement(
    "source:failure-code",
    "A failing provider MUST end the call in a NeuronError with the declared code.",
)
async def check_failure_code(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and compare the code with the declared one."""
    async with running(source, fault) as (neuron, scenario):
        error = await error_of(neuron, source.input(0))
        need(scenario.asked > 0, f"the call failed before it reached its provider: {error}")
        expected = source.failures[fault].code
        need(error.code == expected, f"{fault} ends in {error.code!r}, not {expected!r}: {error}")


@requirement(
    "source:failure-recoverable",
    "The error MUST be recoverable if and only if the failure may pass by itself.",
)
async def check_failure_recoverable(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and compare ``recoverable`` with what the fault requires."""
    declared = source.failures[fault].recoverable
    truth = FAULTS[fault].failure.recoverable if fault in FAULTS else declared
    need(
        declared is truth,
        f"failures declares {fault} with recoverable={declared}; the fault requires {truth}",
    )
    async with running(source, fault) as (neuron, _):
        error = await error_of(neuron, source.input(0))
        need(error.recoverable is truth, f"{fault} ends with recoverable={error.recoverable!r}: {error}")


@requirement(
    "source:failure-signal",
    "A failure on a Dendrite MUST be an ERROR Signal with the declared code.",
)
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
        need(bool(message.strip()), f"the ERROR for {fault} has no message")


@requirement("source:usable-after-failure", "A Neuron MUST work again when its provider works again.")
async def check_usable_after_failure(source: SourceUnderTest, fault: str) -> None:
    """Call while the provider fails, and again after that."""
    async with running(source, fault) as (neuron, scenario):
        await error_of(neuron, source.input(0))
        scenario.fault = None
        await output_of(neuron, source.input(0))


@requirement(
    "source:retry-after",
    "A provider that asks for an hour's pause MUST get it, and the error MUST say how long.",
    when=[RATE_LIMITED],
)
async def check_retry_after(source: SourceUnderTest) -> None:
    """Call while the provider asks for an hour's pause, and count the calls that reach it."""
    async with running(source, "rate-limited") as (neuron, scenario):
        error = await error_of(neuron, source.input(0))
        need(scenario.asked == 1, f"the provider asked for a pause, and was called {scenario.asked} times")
        seconds = str(RETRY_AFTER_S)
        need(seconds in str(error), f"the error does not say to wait {seconds} s: {error}")


SHORTEST_PART: Final = 8
"""The length of a part of a secret that counts as disclosure, in characters."""


def need_clean(source: SourceUnderTest, where: str, text: str) -> None:
    """Check that a text contains no secret, nor a part of one.

    Raises:
        UnmetError: It does. The error says where, but does not contain the secret.
    """
    for secret in source.secret_texts():
        ends = range(SHORTEST_PART, max(len(secret), SHORTEST_PART) + 1)
        parts = {secret[end - SHORTEST_PART : end] for end in ends}
        need(not any(part in text for part in parts), f"{where} shows a secret, or a part of one")


@requirement("source:secret-repr", "A secret MUST NOT appear in the repr of a Neuron.", when=[SECRETS])
async def check_secret_repr(source: SourceUnderTest) -> None:
    """Search the repr and the str of a Neuron, before and after a call."""
    async with running(source) as (neuron, _):
        need_clean(source, "the repr of a new Neuron", f"{neuron!r} {neuron}")
        await output_of(neuron, source.input(0))
        need_clean(source, "the repr of a Neuron that was called", f"{neuron!r} {neuron}")


@requirement(
    "source:secret-errors",
    "A secret MUST NOT appear in an error, in its cause, or in its traceback.",
    when=[SECRETS],
)
async def check_secret_errors(source: SourceUnderTest, fault: str | None = None) -> None:
    """Search the error of a call, its causes, and its traceback.

    Without a fault these are the errors of the invalid inputs, and of a Neuron that cannot be made.
    """
    if fault is None:
        await _check_refusals(source)
        return
    async with running(source, fault) as (neuron, _):
        _need_clean_error(source, f"the error for {fault}", await error_of(neuron, source.input(0)))


async def _check_refusals(source: SourceUnderTest) -> None:
    async with running(source) as (neuron, _):
        for input in source.invalid_inputs:
            error = await error_of(neuron, copy.deepcopy(input))
            _need_clean_error(source, f"the error for the input {input!r}", error)
    async with provided(source) as (_, options):
        try:
            source.neuron(**options, no_such_option=1)
        except TypeError as error:
            _need_clean_error(source, "the error for an unknown option", error)


def _need_clean_error(source: SourceUnderTest, where: str, error: BaseException) -> None:
    for each in _chain(error):
        need_clean(source, f"{where}, in {type(each).__name__},", f"{each} {each!r} {vars(each)}")
    need_clean(source, f"the traceback of {where}", "".join(traceback.format_exception(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # A suppressed cause is not printed, but an error reporter may still read it.
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__ if error.__context__ is not error.__cause__ else None)
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)


@requirement("source:secret-logs", "A secret MUST NOT be logged, at any level.", when=[SECRETS])
async def check_secret_logs(source: SourceUnderTest, fault: str | None = None) -> None:
    """Search every log record of a Neuron's life, down to DEBUG."""
    with _all_logs() as logs:
        async with running(source, fault) as (neuron, scenario):
            if fault is not None:
                await error_of(neuron, source.input(0))
                scenario.fault = None
            await items_of(neuron, source.input(0))
    for name, text in logs:
        need_clean(source, f"a log of {name}", text)


class _Keeper(logging.Handler):
    """Records each log record, as the name of its logger and all of its texts."""

    def __init__(self, logs: list[tuple[str, str]]) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.append((record.name, f"{self.format(record)} {record.args!r}"))


@contextmanager
def _all_logs() -> Iterator[list[tuple[str, str]]]:
    logs: list[tuple[str, str]] = []
    keeper = _Keeper(logs)
    root = logging.getLogger()
    level = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    try:
        yield logs
    finally:
        root.setLevel(level)
        root.removeHandler(keeper)


@requirement("source:secret-signals", "A secret MUST NOT appear in a Signal.", when=[SECRETS])
async def check_secret_signals(source: SourceUnderTest, fault: str | None = None) -> None:
    """Search every frame of a TASK over a bus, while the provider fails and after that."""
    async with (
        provided(source, fault) as (scenario, options),
        hosted(source, scenario, options) as (dendrite, bus),
    ):
        for _ in range(1 if fault is None else 2):
            await dendrite.dispatch_and_wait(neuron=NEURON_ID, input=source.input(0), timeout_s=PATIENCE_S)
            scenario.fault = None
    for frame in bus.frames:
        need_clean(source, "a Signal", frame.decode())
