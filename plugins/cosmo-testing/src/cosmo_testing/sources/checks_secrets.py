"""The secrets of a source are where they must be, and nowhere else."""

from __future__ import annotations

import copy
import logging
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.steps import PATIENCE_S, need
from cosmo_testing.sources.bus import NEURON_ID, hosted
from cosmo_testing.sources.calls import error_of, items_of, output_of, provided, running
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmo_testing.sources.subject import SourceUnderTest

SHORTEST_PART: Final = 8
"""How many characters of a secret in a row give it away."""


def need_clean(source: SourceUnderTest, where: str, text: str) -> None:
    """Refuse a text that shows a secret, or a part of one as a cut at some length leaves it.

    Raises:
        UnmetError: It does. The error says where, but not what.
    """
    for secret in source.secret_texts():
        ends = range(SHORTEST_PART, max(len(secret), SHORTEST_PART) + 1)
        parts = {secret[end - SHORTEST_PART : end] for end in ends}
        need(not any(part in text for part in parts), f"{where} shows a secret, or a part of one")


@REQUIREMENTS.proves("source:secret-repr")
async def check_secret_repr(source: SourceUnderTest) -> None:
    """Look at how a Neuron shows itself, before and after a call."""
    async with running(source) as (neuron, _):
        need_clean(source, "the repr of a new Neuron", f"{neuron!r} {neuron}")
        await output_of(neuron, source.input(0))
        need_clean(source, "the repr of a Neuron that was called", f"{neuron!r} {neuron}")


@REQUIREMENTS.proves("source:secret-errors")
async def check_secret_errors(source: SourceUnderTest, fault: str | None = None) -> None:
    """Look at the error of a call, at everything in its chain, and at its traceback.

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
    # What is suppressed is not printed, but whoever reports errors may walk there.
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__ if error.__context__ is not error.__cause__ else None)
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)


@REQUIREMENTS.proves("source:secret-logs")
async def check_secret_logs(source: SourceUnderTest, fault: str | None = None) -> None:
    """Read every log record of a Neuron's life, down to DEBUG."""
    with _all_logs() as logs:
        async with running(source, fault) as (neuron, scenario):
            if fault is not None:
                await error_of(neuron, source.input(0))
                scenario.fault = None
            await items_of(neuron, source.input(0))
    for name, text in logs:
        need_clean(source, f"a log of {name}", text)


class _Keeper(logging.Handler):
    """Keeps each record as the name of its logger and all that it can show."""

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


@REQUIREMENTS.proves("source:secret-signals")
async def check_secret_signals(source: SourceUnderTest, fault: str | None = None) -> None:
    """Read every frame of a TASK over a bus, with the provider failing and then well."""
    async with (
        provided(source, fault) as (scenario, options),
        hosted(source, scenario, options) as (dendrite, bus),
    ):
        for _ in range(1 if fault is None else 2):
            await dendrite.dispatch_and_wait(neuron=NEURON_ID, input=source.input(0), timeout_s=PATIENCE_S)
            scenario.fault = None
    for frame in bus.frames:
        need_clean(source, "a Signal", frame.decode())
