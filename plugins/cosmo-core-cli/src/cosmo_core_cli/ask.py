"""`cosmo ask`: answer the questions of Neurons, as a person at a terminal or as a program."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack, suppress
from functools import cached_property
from typing import Any, BinaryIO, Final

import attrs
import click

from cosmo_core import CosmoError, Dendrite, Signal, SignalType
from cosmo_core_cli.answers import AnswerPrinter, exit_status, follow, question
from cosmo_core_cli.bus import Bus, open_dendrite
from cosmo_core_cli.errors import UserError, print_error
from cosmo_core_cli.options import bus_options, complete_neuron, json_option
from cosmo_core_cli.output import one_line, print_signal, printable

MAX_QUEUED: Final = 1000
"""Questions queued at most; further questions are not answered here."""

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line of stdin at most; Synapses carry frames of about this size."""

QUESTION_TYPES: Final = (SignalType.CLARIFICATION, SignalType.PERMISSION)
YES: Final = frozenset({"y", "yes"})
NO: Final = frozenset({"n", "no"})


@click.command()
@click.option(
    "--neuron", metavar="ID", shell_complete=complete_neuron, help="Only the questions of this Neuron."
)
@click.option("--trace", "trace_id", metavar="ID", help="Only the questions on this trace.")
@click.option("--once", is_flag=True, help="Exit when the first TASK that asks has ended.")
@json_option
@bus_options
@click.pass_context
def ask(
    ctx: click.Context, neuron: str | None, trace_id: str | None, once: bool, as_json: bool, bus: Bus
) -> None:
    """Wait for CLARIFICATION and PERMISSION, and answer them from stdin.

    After the answer the Neuron runs again, on the same trace and input, and its answer is printed. Start
    this command before the Neuron asks: earlier questions are not received.

    With --json each question is one line of stdout, a whole Signal, and so is each Signal of the answer;
    each reply is one line of stdin, in JSON: any value for a CLARIFICATION, true or false for a PERMISSION.
    """
    lines = StdinLines()
    responder = ProgramResponder(lines) if as_json else TerminalResponder(lines)
    session = Session(responder, as_json=as_json, once=once)
    ctx.exit(asyncio.run(session.run(bus, neuron, trace_id)))


class Session:
    """Answers one question after the other.

    Args:
        responder: The source of the replies.
        as_json: Print Signals in place of text.
        once: End with the first TASK that asked.
    """

    def __init__(self, responder: TerminalResponder | ProgramResponder, *, as_json: bool, once: bool) -> None:
        self._responder = responder
        self._as_json = as_json
        self._once = once
        self._trace_id: str | None = None
        self._requests: asyncio.Queue[Signal] = asyncio.Queue(MAX_QUEUED)

    async def run(self, bus: Bus, neuron: str | None, trace_id: str | None) -> int:
        """Answer questions, and return the exit status."""
        async with open_dendrite(bus) as dendrite, AsyncExitStack() as watchers:
            for type in QUESTION_TYPES:
                watcher = await dendrite.watch(type, self._enqueue, neuron=neuron, trace_id=trace_id)
                await watchers.enter_async_context(watcher)
            click.echo(f"waiting for questions in namespace {bus.namespace} at {bus}", err=True)
            while True:
                request = await self._next()
                try:
                    last = await self._respond(dendrite, request)
                except CosmoError as error:
                    if self._once:
                        raise
                    print_error(f"{request.type.value} {request.id} was not answered: {error}")
                else:
                    if self._once and last.type not in QUESTION_TYPES:
                        return exit_status(last)

    async def _next(self) -> Signal:
        request = await self._requests.get()
        while self._once and request.trace_id != (self._trace_id or request.trace_id):
            request = await self._requests.get()
        self._trace_id = request.trace_id
        return request

    def _enqueue(self, request: Signal) -> None:
        if self._requests.full():
            print_error(f"{MAX_QUEUED} questions are queued; {request.id} is not answered here")
        else:
            self._requests.put_nowait(request)

    async def _respond(self, dendrite: Dendrite, request: Signal) -> Signal:
        if request.type is SignalType.CLARIFICATION:
            answer = await self._responder.answer(request)
            pathway = await dendrite.respond_to_clarification(request, answer)
        else:
            decision = await self._responder.decide(request)
            pathway = await dendrite.respond_to_permission(request, decision.granted, decision.reason)
        show = print_signal if self._as_json else AnswerPrinter().show

        def show_answer(signal: Signal) -> None:
            # A further question arrives through the queue as well.
            if signal.type not in QUESTION_TYPES:
                show(signal)

        return await follow(dendrite, pathway, show_answer)


@attrs.frozen
class Decision:
    """The reply to a PERMISSION.

    Attributes:
        granted: Whether the action is permitted.
        reason: The reason, if one is given.
    """

    granted: bool
    reason: str | None = None


class TerminalResponder:
    """Gets replies from a person: prints questions to stderr, and reads what is typed."""

    def __init__(self, lines: StdinLines) -> None:
        self._lines = lines

    async def answer(self, request: Signal) -> str:
        """Return the line typed for a CLARIFICATION."""
        return await self._prompt(request, "")

    async def decide(self, request: Signal) -> Decision:
        """Return the decision typed for a PERMISSION; ask until it is yes or no."""
        while True:
            decision = typed_decision(await self._prompt(request, "[y/n, and why] "))
            if decision is not None:
                return decision

    async def _prompt(self, request: Signal, choice: str) -> str:
        neuron = request.directed.id if request.directed is not None else "a Neuron"
        text = printable(one_line(question(request)))
        click.echo(f"{neuron} asks: {text}\n{choice}> ", err=True, nl=False)
        return await _read_reply(self._lines, request)


class ProgramResponder:
    """Gets replies from a program: prints questions as Signals to stdout, and reads JSON lines."""

    def __init__(self, lines: StdinLines) -> None:
        self._lines = lines

    async def answer(self, request: Signal) -> Any:
        """Return the JSON written for a CLARIFICATION."""
        print_signal(request)
        return json_answer(await _read_reply(self._lines, request))

    async def decide(self, request: Signal) -> Decision:
        """Return the decision written for a PERMISSION."""
        print_signal(request)
        return json_decision(await _read_reply(self._lines, request))


def typed_decision(line: str) -> Decision | None:
    """Parse a typed decision: ``y`` or ``n``, and a reason; return None if it is neither."""
    word, _, reason = line.strip().partition(" ")
    if word.lower() not in YES | NO:
        return None
    return Decision(word.lower() in YES, reason.strip() or None)


def json_answer(line: str) -> Any:
    """Parse a program's answer to a CLARIFICATION: any JSON.

    Raises:
        UserError: The line is not JSON.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f'an answer is not JSON: {error}; with --json, write text in quotes, as in "Monday"'
        ) from None


def json_decision(line: str) -> Decision:
    """Parse a program's decision: true, false, or an object with ``granted`` and a ``reason``.

    Raises:
        UserError: The line is not one of these.
    """
    match json_answer(line):
        case bool(granted) | {"granted": bool(granted), "reason": None}:
            return Decision(granted)
        case {"granted": bool(granted), "reason": str(reason)}:
            return Decision(granted, reason)
        case {"granted": bool(granted), **others} if not others:
            return Decision(granted)
    raise UserError('a decision must be true, false, or {"granted": true, "reason": "…"}')


class StdinLines:
    """Reads lines from stdin without blocking the event loop.

    A daemon thread reads each line on request. A daemon thread does not delay the end of the process, so
    Ctrl-C works while a read is pending.
    """

    @cached_property
    def _stdin(self) -> BinaryIO:
        # Never closed, and not sys.stdin: the interpreter waits at exit for a thread that reads sys.stdin.
        return open(0, "rb", closefd=False)

    async def next(self) -> str | None:
        """Return the next line without its line break; None at the end of stdin.

        Raises:
            UserError: The line is too long, or not UTF-8.
        """
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()

        def set_line(data: bytes) -> None:
            if not line.done():
                line.set_result(data)

        def read() -> None:
            data = self._stdin.readline(MAX_LINE + 1)
            # RuntimeError: the loop is closed, so the line is not needed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(set_line, data)

        threading.Thread(target=read, daemon=True).start()
        return _decode_line(await line)


def _decode_line(data: bytes) -> str | None:
    if len(data) > MAX_LINE:
        raise UserError(f"a line of stdin has more than {MAX_LINE} bytes")
    try:
        return data.decode("utf-8-sig").rstrip("\r\n") if data else None
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not UTF-8: {error.reason}") from None


async def _read_reply(lines: StdinLines, request: Signal) -> str:
    line = await lines.next()
    if line is None:
        reply = "the answer to" if request.type is SignalType.CLARIFICATION else "the decision on"
        raise UserError(f"stdin ended before {reply}: {question(request)}")
    return line
