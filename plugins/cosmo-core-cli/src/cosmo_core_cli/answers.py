"""Showing what a Neuron answers, piece by piece, to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cosmo_core import SignalType
from cosmo_core_cli.failing import complain
from cosmo_core_cli.printing import compact
from cosmo_core_cli.words import printable

if TYPE_CHECKING:
    from cosmo_core import Signal


class AnswerText:
    """Prints the text of an answer to stdout as it comes, and what is no answer to stderr.

    What was streamed is not printed again when the output repeats it.
    """

    def __init__(self) -> None:
        self._streamed: list[str] = []
        self._answered = False

    def show(self, signal: Signal) -> None:
        """Print what a Signal adds to what was printed before; nothing for most types."""
        payload = signal.payload
        match signal.type:
            case SignalType.THOUGHT_DELTA:
                self._streamed.append(payload["delta"])
                click.echo(printable(payload["delta"]), nl=False)
            case SignalType.AGENT_OUTPUT:
                self._print(payload["output"])
            case SignalType.FINAL:
                self._print(payload["result"])
            case SignalType.ERROR:
                self._end_line()
                again = "; trying again may help" if payload["recoverable"] else ""
                complain(f"{payload['code']}: {payload['message']}{again}")
            case SignalType.CLARIFICATION | SignalType.PERMISSION:
                self._end_line()
                complain(f"asked back: {question(signal)}; `cosmo ask`, started before, answers that")

    def _print(self, output: Any) -> None:
        # FINAL repeats what AGENT_OUTPUT said.
        if self._answered:
            return
        self._answered = True
        text = self._end_line()
        shown = as_text(output)
        if shown != text:
            click.echo(printable(shown))

    def _end_line(self) -> str:
        """End the line that is being streamed; return all that was."""
        text = "".join(self._streamed)
        self._streamed.clear()
        if text and not text.endswith("\n"):
            click.echo()
        return text


def as_text(output: Any) -> str:
    """Return the ``response`` of an output where that is text, and else the output as JSON."""
    response = output.get("response") if isinstance(output, dict) else output
    return response if isinstance(response, str) else compact(output)


def question(request: Signal) -> str:
    """Return on one line what a CLARIFICATION or a PERMISSION asks, and what it says of it."""
    payload = request.payload
    if request.type is SignalType.CLARIFICATION:
        details = {"context": payload.get("context")}
        asked = payload["question"]
    else:
        details = {name: payload.get(name) for name in ("scope", "reason")}
        asked = f"may it {payload['action']}?"
    given = [
        f"{name}: {value if isinstance(value, str) else compact(value)}"
        for name, value in details.items()
        if value is not None
    ]
    return f"{asked} ({'; '.join(given)})" if given else asked
