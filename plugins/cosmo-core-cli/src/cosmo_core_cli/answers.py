"""The answer to a TASK: following it to its last Signal, and printing it as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import click

from cosmo_core import Pathway, PathwayClosedError, Signal, SignalType
from cosmo_core.protocol.signal_type import TERMINAL_TYPES
from cosmo_core_cli.errors import ExitStatus, print_error
from cosmo_core_cli.output import compact_json, printable

QUESTION_TYPES: Final = (SignalType.CLARIFICATION, SignalType.PERMISSION)
"""The types of Signals with which a Neuron asks for something."""


def exit_status(last: Signal) -> ExitStatus:
    """Return the exit status for the Signal that ended a TASK."""
    match last.type:
        case SignalType.ERROR:
            return ExitStatus.FAILED
        case SignalType.CLARIFICATION | SignalType.PERMISSION:
            return ExitStatus.ASKED_BACK
        case _:
            return ExitStatus.DONE


async def follow(
    pathway: Pathway,
    show: Callable[[Signal], None],
    *,
    timeout_s: float | None = None,
    finalize: bool = False,
) -> Signal:
    """Show every Signal of a Pathway, and return the one that ends the TASK.

    On a timeout or a cancellation, the Neuron gets a STOP.

    Args:
        pathway: The Pathway of the TASK.
        show: Called with each Signal.
        timeout_s: Seconds to wait for the end; None waits without a limit.
        finalize: The TASK requested a FINAL: an AGENT_OUTPUT does not end it.

    Raises:
        TimeoutError: The TASK did not end in time.
        PathwayClosedError: The Dendrite stopped before the TASK ended.
    """
    async with pathway:
        try:
            async with asyncio.timeout(timeout_s):
                return await _last(pathway, show, finalize)
        except TimeoutError:
            pathway.stop("the caller timed out")
            raise TimeoutError(
                f"Neuron {pathway.neuron!r} did not answer within {timeout_s:g} s and was told to stop; "
                "raise --timeout to wait longer"
            ) from None
        except asyncio.CancelledError:
            pathway.stop("the caller was interrupted")
            raise


class AnswerPrinter:
    """Prints the text of one answer to stdout as it arrives; errors and questions go to stderr.

    An output that repeats the streamed text is not printed again. Use it as ``with``, which ends a line that
    is still being streamed, so that what follows begins on a line of its own.

    Args:
        interactive: Print no questions, because they are asked and answered here.
    """

    def __init__(self, *, interactive: bool = False) -> None:
        self._streamed: list[str] = []
        self._answered = False
        self._interactive = interactive

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A reader that closed the pipe reads no line break either.
        if not isinstance(error, BrokenPipeError):
            self.end_line()

    def show(self, signal: Signal) -> None:
        """Print what a Signal adds to the answer. Most types add nothing."""
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
                self.end_line()
                retry = "; trying again may help" if payload["recoverable"] else ""
                print_error(f"{payload['code']}: {payload['message']}{retry}")
            case SignalType.CLARIFICATION | SignalType.PERMISSION:
                self.end_line()
                if not self._interactive:
                    print_error(
                        f"the Neuron asks: {question(signal)}; `cosmo answer` answers it, and "
                        "`cosmo dispatch --interactive` asks you at once"
                    )

    def _print(self, output: Any) -> None:
        # FINAL repeats the output of AGENT_OUTPUT.
        if self._answered:
            return
        self._answered = True
        streamed = self.end_line()
        text = as_text(output)
        if text != streamed:
            click.echo(printable(text))

    def end_line(self) -> str:
        """End the line that is being streamed; return all streamed text."""
        text = "".join(self._streamed)
        self._streamed.clear()
        if text and not text.endswith("\n"):
            click.echo()
        return text


def as_text(output: Any) -> str:
    """Return the ``response`` of an output if it is text, and the output as JSON otherwise."""
    response = output.get("response") if isinstance(output, dict) else output
    return response if isinstance(response, str) else compact_json(output)


def question(request: Signal) -> str:
    """Return the question of a CLARIFICATION or a PERMISSION, with its details, on one line."""
    payload = request.payload
    if request.type is SignalType.CLARIFICATION:
        details = {"context": payload.get("context")}
        asked = payload["question"]
    else:
        details = {name: payload.get(name) for name in ("scope", "reason")}
        asked = f"may it {payload['action']}?"
    given = [
        f"{name}: {value if isinstance(value, str) else compact_json(value)}"
        for name, value in details.items()
        if value is not None
    ]
    return f"{asked} ({'; '.join(given)})" if given else asked


async def _last(pathway: Pathway, show: Callable[[Signal], None], finalize: bool) -> Signal:
    ends = TERMINAL_TYPES - {SignalType.AGENT_OUTPUT} if finalize else TERMINAL_TYPES
    async for signal in pathway:
        show(signal)
        if signal.type in ends:
            return signal
    raise PathwayClosedError(f"the Dendrite stopped before Neuron {pathway.neuron!r} answered")
