"""`cosmo ask`: answer what Neurons ask back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import click

from cosmo_core import CosmoError, Dendrite, Signal, SignalType
from cosmo_core_cli import statuses
from cosmo_core_cli.answers import AnswerText
from cosmo_core_cli.asker import Person, Program
from cosmo_core_cli.completing import neuron_ids
from cosmo_core_cli.connecting import joined
from cosmo_core_cli.failing import complain
from cosmo_core_cli.following import STATUSES, followed
from cosmo_core_cli.options import bus_options, json_option
from cosmo_core_cli.printing import print_signal
from cosmo_core_cli.terminal import StdinLines

if TYPE_CHECKING:
    from cosmo_core_cli.bus import Bus

MAX_WAITING: Final = 1000
"""How many questions wait to be asked; beyond that, new ones are left to others."""

ASKING: Final = (SignalType.CLARIFICATION, SignalType.PERMISSION)


@click.command()
@click.option("--neuron", metavar="ID", shell_complete=neuron_ids, help="Only what this Neuron asks.")
@click.option("--trace", "trace_id", metavar="ID", help="Only what is asked on this trace.")
@click.option("--once", is_flag=True, help="End when the first that asks has its answer, and is done.")
@json_option
@bus_options
@click.pass_context
def ask(
    ctx: click.Context, neuron: str | None, trace_id: str | None, once: bool, as_json: bool, bus: Bus
) -> None:
    """Wait for CLARIFICATION and PERMISSION, and answer them from stdin.

    A Neuron that gets its answer runs again, on the same trace and input, and what it says then is printed.
    It is heard from when this is started on: start it before what asks.

    With --json each question is a line of stdout, a whole Signal, and so is what comes of it; each answer
    is a line of stdin, in JSON: any value for a CLARIFICATION, true or false for a PERMISSION.
    """
    lines = StdinLines()
    session = Session(Program(lines) if as_json else Person(lines), as_json=as_json, once=once)
    ctx.exit(asyncio.run(session.run(bus, neuron, trace_id)))


class Session:
    """Answers one question after the other.

    Args:
        asker: Who answers.
        as_json: Print Signals in place of text.
        once: End with the first TASK that asked.
    """

    def __init__(self, asker: Person | Program, *, as_json: bool, once: bool) -> None:
        self._asker = asker
        self._as_json = as_json
        self._once = once
        self._trace_id: str | None = None
        self._requests: asyncio.Queue[Signal] = asyncio.Queue(MAX_WAITING)

    async def run(self, bus: Bus, neuron: str | None, trace_id: str | None) -> int:
        """Answer what is asked, and return the exit status."""
        async with joined(bus) as dendrite, AsyncExitStack() as watchers:
            for type in ASKING:
                watcher = await dendrite.watch(type, self._take, neuron=neuron, trace_id=trace_id)
                await watchers.enter_async_context(watcher)
            click.echo(f"waiting for questions in namespace {bus.namespace} at {bus}", err=True)
            while True:
                request = await self._next()
                try:
                    last = await self._respond(dendrite, request)
                except CosmoError as error:
                    if self._once:
                        raise
                    complain(f"{request.type.value} {request.id} was not answered: {error}")
                else:
                    if self._once and last.type not in ASKING:
                        return STATUSES.get(last.type, statuses.DONE)

    async def _next(self) -> Signal:
        request = await self._requests.get()
        while self._once and request.trace_id != (self._trace_id or request.trace_id):
            request = await self._requests.get()
        self._trace_id = request.trace_id
        return request

    def _take(self, request: Signal) -> None:
        if self._requests.full():
            complain(f"{MAX_WAITING} questions wait already; {request.id} is left to others")
        else:
            self._requests.put_nowait(request)

    async def _respond(self, dendrite: Dendrite, request: Signal) -> Signal:
        if request.type is SignalType.CLARIFICATION:
            answer = await self._asker.answer(request)
            pathway = await dendrite.respond_to_clarification(request, answer)
        else:
            decision = await self._asker.decide(request)
            pathway = await dendrite.respond_to_permission(request, decision.granted, decision.reason)
        show = print_signal if self._as_json else AnswerText().show

        def show_answer(signal: Signal) -> None:
            # What asks comes to the queue, like everybody's.
            if signal.type not in ASKING:
                show(signal)

        return await followed(dendrite, pathway, show_answer)
