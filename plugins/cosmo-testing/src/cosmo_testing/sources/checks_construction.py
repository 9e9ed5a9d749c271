"""Making a Neuron is cheap, and reaches nobody."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any, Final

from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.leftovers import living
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.sources.calls import close, provided, running
from cosmo_testing.sources.guard import offline
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing.sources.subject import SourceUnderTest

IMPORT_S: Final = 60.0
"""For how long an import may take."""

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


@REQUIREMENTS.proves("source:import-offline")
async def check_import_offline(source: SourceUnderTest) -> None:
    """Import the module of the Neuron afresh, in another interpreter, with everything else forbidden."""
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


@REQUIREMENTS.proves("source:construction-offline")
async def check_construction_offline(source: SourceUnderTest) -> None:
    """Make a Neuron in a thread without an event loop, with everything else forbidden."""
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


@REQUIREMENTS.proves("source:unknown-option")
async def check_unknown_option(source: SourceUnderTest) -> None:
    """Make a Neuron with an option that no source has."""
    async with provided(source) as (_, options):
        try:
            neuron = source.neuron(**options, **{_NO_SUCH_OPTION: 1})
        except TypeError as error:
            need(_NO_SUCH_OPTION in str(error), f"the TypeError does not name the option: {error}")
            return
        await close(neuron)
        raise UnmetError(f"{_NO_SUCH_OPTION}=1 was accepted")
