"""`cosmo dispatch`: send a TASK to a Neuron, and print the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from cosmo_core import Signal
from cosmo_core_cli.answers import QUESTION_TYPES, AnswerPrinter, exit_status, follow
from cosmo_core_cli.bus import Bus, open_dendrite
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.options import Seconds, bus_options, complete_capability, complete_neuron, json_option
from cosmo_core_cli.output import print_signal
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.responding import ProgramResponder, Responder, StdinLines, TerminalResponder, respond

MAX_STDIN: Final = 16 * 1024 * 1024
"""Bytes read from stdin at most; no Synapse carries a frame of this size."""


@click.command()
@click.argument("input", required=False, metavar="[INPUT|-]")
@click.option("--neuron", metavar="ID", shell_complete=complete_neuron, help="The id of the Neuron.")
@click.option(
    "--capability",
    "capabilities",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_capability,
    help="A capability that the Neuron must have; repeatable.",
)
@click.option("--input", "json_input", metavar="JSON", help="The input, as a JSON object.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=Seconds(positive=True),
    default=30.0,
    show_default=True,
    help="How long to wait for the answer.",
)
@click.option(
    "--interactive", is_flag=True, help="Answer the Neuron's questions here, as `cosmo answer` does."
)
@click.option("--finalize", is_flag=True, help="End the trace after the answer, with FINAL.")
@click.option("--trace", "trace_id", metavar="ID", help="The trace of the TASK; a new one by default.")
@click.option("--context-ref", metavar="REF", help="The reference from which the host fetches the context.")
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
    interactive: bool,
    finalize: bool,
    trace_id: str | None,
    context_ref: str | None,
    as_json: bool,
    bus: Bus,
) -> None:
    """Send a TASK to a Neuron, and print the answer as it arrives.

    INPUT is a JSON object, or text, which becomes {"prompt": text}; - reads either from stdin.

    With --json every Signal of the answer is one line, and the last line is the Signal that ended the TASK.
    The exit status is 0 for an output, 1 for an ERROR, 3 for a question, 124 for a timeout.

    With --interactive each question of the Neuron is asked here, and its reply is read from stdin; the time
    limit begins again with each reply.
    """
    if interactive and input == "-":
        raise UserError("--interactive reads replies from stdin, so INPUT cannot be - as well")
    if not neuron and not capabilities:
        raise UserError(
            "no Neuron is given. Give --neuron ID, or --capability NAME; `cosmo neurons` lists them"
        )
    task: dict[str, Any] = {
        "input": parse_input(input, json_input),
        "neuron": neuron,
        "capabilities": capabilities,
        "trace_id": trace_id,
        "context_ref": context_ref,
        "finalize": finalize,
        "deadline_s": timeout_s,
        # A slow reader of stdout must not lose Signals.
        "backpressure": True,
    }
    lines = StdinLines()
    responder = (ProgramResponder if as_json else TerminalResponder)(lines) if interactive else None
    with AnswerPrinter(interactive=interactive) as printer:

        def show(signal: Signal) -> None:
            if not as_json:
                printer.show(signal)
            elif not (interactive and signal.type in QUESTION_TYPES):
                # The responder prints the questions.
                print_signal(signal)

        last = asyncio.run(_dispatch(bus, task, timeout_s, show, responder))
    ctx.exit(exit_status(last))


def parse_input(given: str | None, as_json: str | None) -> dict[str, Any]:
    """Return the input of a TASK.

    Args:
        given: A JSON object, text that becomes ``{"prompt": text}``, or ``-`` to read either from stdin.
        as_json: A JSON object, and nothing else.

    Raises:
        UserError: Neither or both are given, or the JSON is not an object.
    """
    if (given is None) is (as_json is None):
        raise UserError(
            'exactly one input is required. Give text, a JSON object, - for stdin, or --input "{}" for none'
        )
    if as_json is not None:
        return _json_object(as_json, "--input")
    text, name = (_read_stdin(), "stdin") if given == "-" else (given or "", "INPUT")
    return _json_object(text, name) if text.lstrip().startswith("{") else {"prompt": text}


async def _dispatch(
    bus: Bus,
    task: dict[str, Any],
    timeout_s: float,
    show: Callable[[Signal], Any],
    responder: Responder | None,
) -> Signal:
    finalize = bool(task["finalize"])
    async with open_dendrite(bus) as dendrite:
        with Progress(f"waiting for {task['neuron'] or ' and '.join(task['capabilities'] or ())}") as waiting:

            def show_after_progress(signal: Signal) -> None:
                waiting.stop()
                show(signal)

            pathway = await dendrite.dispatch(**task)
            last = await follow(pathway, show_after_progress, timeout_s=timeout_s, finalize=finalize)
        while responder is not None and last.type in QUESTION_TYPES:
            reply = await responder.reply(last)
            pathway = await respond(dendrite, last, reply, deadline_s=timeout_s)
            last = await follow(pathway, show, timeout_s=timeout_s, finalize=finalize)
        return last


def _json_object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise UserError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{name} is not JSON: {error}; {_json_hint(name)}") from None
    if not isinstance(value, dict):
        raise UserError(f"{name} is not a JSON object but {type(value).__name__}; {_json_hint(name)}")
    return value


def _json_hint(name: str) -> str:
    if name == "--input":
        return """write an object, as in --input '{"prompt": "hello"}'"""
    return """input that begins with { is parsed as JSON: write {"prompt": …} for such text"""


def _read_stdin() -> str:
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise UserError(f"stdin has more than {MAX_STDIN} bytes: store it where the Neuron can fetch it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not UTF-8: {error.reason} at byte {error.start}") from None
