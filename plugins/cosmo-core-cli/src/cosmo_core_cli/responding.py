"""Replies to the questions of Neurons, from a person at a terminal or from a program."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from functools import cached_property
from typing import Any, BinaryIO, Final

import attrs
import click

from cosmo_core import Dendrite, Pathway, Signal, SignalType
from cosmo_core_cli.answers import question
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.output import one_line, print_signal

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line of stdin at most; Synapses carry frames of about this size."""

YES: Final = frozenset({"y", "yes"})
NO: Final = frozenset({"n", "no"})


@attrs.frozen
class Decision:
    """The reply to a PERMISSION.

    Attributes:
        granted: Whether the action is permitted.
        reason: The reason, if one is given.
    """

    granted: bool
    reason: str | None = None


@attrs.frozen
class Answer:
    """The reply to a CLARIFICATION: any JSON value."""

    value: Any


class TerminalResponder:
    """Gets replies from a person: prints questions to stderr, and reads what is typed.

    Args:
        lines: The lines that are typed.
        since: The time stamp from which on questions are new; an older one is shown with its time.
    """

    def __init__(self, lines: StdinLines, since: str = "") -> None:
        self._lines = lines
        self._since = since

    async def reply(self, request: Signal) -> Answer | Decision:
        """Ask a person, again and again until the reply to a PERMISSION begins with y or n."""
        if request.type is SignalType.CLARIFICATION:
            return Answer(await self._prompt(request, ""))
        while True:
            decision = typed_decision(await self._prompt(request, "[y/n, and why] "))
            if decision is not None:
                return decision

    async def _prompt(self, request: Signal, choice: str) -> str:
        neuron = request.directed.id if request.directed is not None else "a Neuron"
        asks = f"asked at {request.ts[11:19]} UTC" if request.ts < self._since else "asks"
        text = one_line(question(request))
        click.secho(f"{neuron} {asks}: ", err=True, nl=False, fg="yellow")
        click.echo(f"{text}\n{choice}> ", err=True, nl=False)
        try:
            return await _read_reply(self._lines, request)
        except (asyncio.CancelledError, UserError):
            # What is printed next begins on a line of its own.
            click.echo(err=True)
            raise


class ProgramResponder:
    """Gets replies from a program: prints questions as Signals to stdout, and reads JSON lines."""

    def __init__(self, lines: StdinLines) -> None:
        self._lines = lines

    async def reply(self, request: Signal) -> Answer | Decision:
        """Return what the program writes."""
        print_signal(request)
        line = await _read_reply(self._lines, request)
        return Answer(json_answer(line)) if request.type is SignalType.CLARIFICATION else json_decision(line)


Responder = TerminalResponder | ProgramResponder


async def respond(
    dendrite: Dendrite, request: Signal, reply: Answer | Decision, deadline_s: float | None = None
) -> Pathway:
    """Send a reply, and dispatch the TASK of the question again.

    Raises:
        CosmoError: As `Dendrite.respond_to_clarification` does.
    """
    if isinstance(reply, Answer):
        return await dendrite.respond_to_clarification(request, reply.value, deadline_s=deadline_s)
    return await dendrite.respond_to_permission(request, reply.granted, reply.reason, deadline_s=deadline_s)


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

    def __init__(self) -> None:
        self._pending: asyncio.Future[bytes] | None = None

    @cached_property
    def _stdin(self) -> BinaryIO:
        # Never closed, and not sys.stdin: the interpreter waits at exit for a thread that reads sys.stdin.
        return open(0, "rb", closefd=False)

    async def next(self) -> str | None:
        """Return the next line without its line break; None at the end of stdin.

        Raises:
            UserError: The line is too long, or not UTF-8.
        """
        # A read that was cancelled goes on in its thread, and its line is the next one.
        if self._pending is None:
            self._pending = self._start_reading()
        data = await asyncio.shield(self._pending)
        self._pending = None
        return _decode_line(data)

    def _start_reading(self) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()

        def read() -> None:
            data = self._stdin.readline(MAX_LINE + 1)
            # RuntimeError: the loop is closed, so the line is not needed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(line.set_result, data)

        threading.Thread(target=read, daemon=True).start()
        return line


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
