"""`cosmo dispatch`: give a Neuron work, and follow it to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cosmo_core_cli import statuses
from cosmo_core_cli.answers import AnswerText
from cosmo_core_cli.completing import capabilities as known_capabilities
from cosmo_core_cli.completing import neuron_ids
from cosmo_core_cli.connecting import joined
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.following import STATUSES, followed
from cosmo_core_cli.inputs import task_input
from cosmo_core_cli.options import bus_options, json_option
from cosmo_core_cli.printing import print_signal
from cosmo_core_cli.progress import Progress

if TYPE_CHECKING:
    from cosmo_core import Signal
    from cosmo_core_cli.bus import Bus


@click.command()
@click.argument("input", required=False, metavar="[INPUT|-]")
@click.option("--neuron", metavar="ID", shell_complete=neuron_ids, help="Who is to do it.")
@click.option(
    "--capability",
    "capabilities",
    metavar="NAME",
    multiple=True,
    shell_complete=known_capabilities,
    help="What who does it has to be able to do; repeatable.",
)
@click.option("--input", "json_input", metavar="JSON", help="The input, as a JSON object.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="For how long to wait.",
)
@click.option("--finalize", is_flag=True, help="End the trace with the answer, by FINAL.")
@click.option("--trace", "trace_id", metavar="ID", help="The trace to go on with; a new one by default.")
@click.option("--context-ref", metavar="REF", help="What the Neuron's host fetches its context by.")
@json_option
@bus_options
@click.pass_context
def dispatch(
    ctx: click.Context,
    input: str | None,
    json_input: str | None,
    neuron: str | None,
    capabilities: tuple[str, ...],
    timeout_s: float,
    finalize: bool,
    trace_id: str | None,
    context_ref: str | None,
    as_json: bool,
    bus: Bus,
) -> None:
    """Give a Neuron a TASK, and print the answer as it comes.

    INPUT is a JSON object, or text, which becomes {"prompt": text}; - reads either from stdin.

    With --json every Signal of the answer is a line, and the last line is what ended the TASK. The exit
    status is 0 for an output, 1 for an ERROR, 3 if the Neuron asks back, 124 if the time is up.
    """
    if not neuron and not capabilities:
        raise Mistake("who is to do it? Give --neuron ID, or --capability NAME; `cosmo neurons` lists them")
    task: dict[str, Any] = {
        "input": task_input(input, json_input),
        "neuron": neuron,
        "capabilities": capabilities,
        "trace_id": trace_id,
        "context_ref": context_ref,
        "finalize": finalize,
        "deadline_s": timeout_s,
        # A reader of stdout that is slow shall miss nothing.
        "backpressure": True,
    }
    show = print_signal if as_json else AnswerText().show
    last = asyncio.run(_dispatch(bus, task, timeout_s, show))
    ctx.exit(STATUSES.get(last.type, statuses.DONE))


async def _dispatch(
    bus: Bus, task: dict[str, Any], timeout_s: float, show: Callable[[Signal], Any]
) -> Signal:
    async with joined(bus) as dendrite:
        with Progress(f"waiting for {task['neuron'] or ' and '.join(task['capabilities'] or ())}") as waiting:

            def show_alone(signal: Signal) -> None:
                waiting.stop()
                show(signal)

            pathway = await dendrite.dispatch(**task)
            finalize = bool(task["finalize"])
            return await followed(dendrite, pathway, show_alone, timeout_s=timeout_s, finalize=finalize)
