"""Whoever answers for the Neurons: a person at the terminal, or a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cosmo_core import SignalType
from cosmo_core_cli.answers import question
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.printing import print_signal
from cosmo_core_cli.replies import Decision, json_answer, json_decision, typed_decision
from cosmo_core_cli.words import one_line, printable

if TYPE_CHECKING:
    from cosmo_core import Signal
    from cosmo_core_cli.terminal import StdinLines


class Person:
    """Reads questions on stderr, and types an answer."""

    def __init__(self, lines: StdinLines) -> None:
        self._lines = lines

    async def answer(self, request: Signal) -> str:
        """Return what is typed to a CLARIFICATION."""
        return await self._ask(request, "")

    async def decide(self, request: Signal) -> Decision:
        """Return what is decided on a PERMISSION; one is asked until it is yes or no."""
        while True:
            decision = typed_decision(await self._ask(request, "[y/n, and why] "))
            if decision is not None:
                return decision

    async def _ask(self, request: Signal, choice: str) -> str:
        who = request.directed.id if request.directed is not None else "somebody"
        click.echo(f"{who} asks: {printable(one_line(question(request)))}\n{choice}> ", err=True, nl=False)
        return await _next(self._lines, request)


class Program:
    """Reads questions as Signals on stdout, one per line, and writes answers as JSON, one per line."""

    def __init__(self, lines: StdinLines) -> None:
        self._lines = lines

    async def answer(self, request: Signal) -> Any:
        """Return the JSON that answers a CLARIFICATION."""
        print_signal(request)
        return json_answer(await _next(self._lines, request))

    async def decide(self, request: Signal) -> Decision:
        """Return the JSON that decides on a PERMISSION."""
        print_signal(request)
        return json_decision(await _next(self._lines, request))


async def _next(lines: StdinLines, request: Signal) -> str:
    line = await lines.next()
    if line is None:
        kind = "answered" if request.type is SignalType.CLARIFICATION else "decided"
        raise Mistake(f"stdin ended before this was {kind}: {question(request)}")
    return line
