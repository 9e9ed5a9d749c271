"""`cosmo answer`: answer the questions of Neurons, as a person at a terminal or as a program."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import click

from cosmo_core import CosmoError, Dendrite, Signal, SignalType
from cosmo_core.protocol.ids import SeenIds
from cosmo_core_cli.answers import QUESTION_TYPES, AnswerPrinter, exit_status, follow
from cosmo_core_cli.bus import Bus, open_dendrite
from cosmo_core_cli.errors import print_error
from cosmo_core_cli.options import bus_options, complete_neuron, json_option
from cosmo_core_cli.output import print_signal
from cosmo_core_cli.questions import MAX_AGE_S, Questions
from cosmo_core_cli.responding import (
    ProgramResponder,
    Responder,
    StdinLines,
    TerminalResponder,
    respond,
)

MAX_QUEUED: Final = 1000
"""Questions queued at most; further questions are not answered here."""

ANSWER_TYPES: Final = (SignalType.CLARIFICATION_ANSWER, SignalType.PERMISSION_DECISION)


@click.command()
@click.option(
    "--neuron", metavar="ID", shell_complete=complete_neuron, help="Only the questions of this Neuron."
)
@click.option("--trace", "trace_id", metavar="ID", help="Only the questions on this trace.")
@click.option("--once", is_flag=True, help="Exit when the first TASK that asks has ended.")
@json_option
@bus_options
@click.pass_context
def answer(
    ctx: click.Context, neuron: str | None, trace_id: str | None, once: bool, as_json: bool, bus: Bus
) -> None:
    """Answer the questions of Neurons from stdin: those that wait already, and those to come.

    After the answer the Neuron runs again, on the same trace and input, and its answer is printed. Hosts keep
    unanswered questions for a day, while they run and where cosmo-core-cli is installed.

    With --json each question is one line of stdout, a whole Signal, and so is each Signal of the answer;
    each reply is one line of stdin, in JSON: any value for a CLARIFICATION, true or false for a PERMISSION.
    """
    lines = StdinLines()
    started = datetime.now(UTC).isoformat(timespec="milliseconds")[:23]
    responder = ProgramResponder(lines) if as_json else TerminalResponder(lines, since=started)
    session = Session(responder, as_json=as_json, once=once)
    ctx.exit(asyncio.run(session.run(bus, neuron, trace_id)))


class Session:
    """Answers one question after the other.

    Args:
        responder: The source of the replies.
        as_json: Print Signals in place of text.
        once: End with the first TASK that asked.
    """

    def __init__(self, responder: Responder, *, as_json: bool, once: bool) -> None:
        self._responder = responder
        self._as_json = as_json
        self._once = once
        self._trace_id: str | None = None
        # By id: the questions without an answer, the oldest first.
        self._open: dict[str, Signal] = {}
        self._arrived = asyncio.Event()
        # A host sends a question again for every program that begins to answer.
        self._seen = SeenIds(monotonic, window_s=MAX_AGE_S)

    async def run(self, bus: Bus, neuron: str | None, trace_id: str | None) -> int:
        """Answer questions, and return the exit status."""
        async with open_dendrite(bus) as dendrite, AsyncExitStack() as watchers:
            for type in QUESTION_TYPES:
                watcher = await dendrite.watch(type, self._enqueue, neuron=neuron, trace_id=trace_id)
                await watchers.enter_async_context(watcher)
            for type in ANSWER_TYPES:
                await watchers.enter_async_context(await dendrite.watch(type, self._remove))
            click.echo(f"waiting for questions in namespace {bus.namespace} at {bus}", err=True)
            questions: Questions = dendrite.extension("questions")
            await questions.discover(questions=True, neuron=neuron)
            while True:
                request = await self._next()
                try:
                    last = await self._respond(dendrite, request)
                except CosmoError as error:
                    if self._once:
                        raise
                    print_error(f"{request.type.value} {request.id} was not answered: {error}")
                    continue
                finally:
                    self._open.pop(request.id, None)
                if last is not None and self._once and last.type not in QUESTION_TYPES:
                    return exit_status(last)

    async def _next(self) -> Signal:
        while True:
            for request in self._open.values():
                if not self._once or request.trace_id == (self._trace_id or request.trace_id):
                    self._trace_id = request.trace_id
                    return request
            self._arrived.clear()
            await self._arrived.wait()

    def _enqueue(self, request: Signal) -> None:
        if not self._seen.add(request.id):
            return
        if len(self._open) >= MAX_QUEUED:
            print_error(f"{MAX_QUEUED} questions are queued; {request.id} is not answered here")
            return
        self._open[request.id] = request
        self._arrived.set()

    def _remove(self, answer: Signal) -> None:
        self._open.pop(answer.parent_id or "", None)

    async def _respond(self, dendrite: Dendrite, request: Signal) -> Signal | None:
        """Answer a question, and return the Signal that ended the TASK; None if another program answered."""
        reply = await self._responder.reply(request)
        if request.id not in self._open:
            print_error(f"{request.type.value} {request.id} was answered elsewhere meanwhile")
            return None
        pathway = await respond(dendrite, request, reply)
        with AnswerPrinter() as printer:
            show = print_signal if self._as_json else printer.show

            def show_answer(signal: Signal) -> None:
                # A further question arrives through the queue as well.
                if signal.type not in QUESTION_TYPES:
                    show(signal)

            return await follow(pathway, show_answer)
