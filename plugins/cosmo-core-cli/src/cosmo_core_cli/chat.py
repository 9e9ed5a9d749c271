"""`cosmo chat`: a conversation with a Neuron."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click

from cosmo_core import CosmoError, Dendrite, Signal, SignalType
from cosmo_core_cli.answers import QUESTION_TYPES, AnswerPrinter, as_text, follow
from cosmo_core_cli.bus import DISCOVERY_S, Bus, open_dendrite
from cosmo_core_cli.errors import UserError, print_error
from cosmo_core_cli.options import Seconds, bus_options, complete_neuron
from cosmo_core_cli.responding import StdinLines, TerminalResponder, respond

MAX_MESSAGES: Final = 1_000
"""Messages of a conversation that are kept and sent at most; beyond that, the oldest are left out."""

MAX_TEXT: Final = 500_000
"""Bytes of their texts at most, so that a conversation fits a frame of every bus; the last is always sent."""

T = TypeVar("T")


@click.command()
@click.argument("neuron", metavar="NEURON", shell_complete=complete_neuron)
@click.option("--system", metavar="TEXT", help="The system message, with which the conversation begins.")
@click.option(
    "--prompt", "as_prompt", is_flag=True, help='Send each text alone, as {"prompt": text}, without history.'
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=Seconds(positive=True),
    default=300.0,
    show_default=True,
    help="How long to wait for an answer.",
)
@bus_options
def chat(neuron: str, system: str | None, as_prompt: bool, timeout_s: float, bus: Bus) -> None:
    """Talk with a Neuron: each line that you type is a message, and the answer is printed as it arrives.

    The Neuron gets the whole conversation, as {"messages": [{"role": "user", "content": …}, …]}. Ctrl-C stops
    an answer; what was printed of it stays in the conversation. At the prompt, Ctrl-C or Ctrl-D leaves.
    """
    conversation = Conversation(neuron, system=system, as_prompt=as_prompt, timeout_s=timeout_s)
    asyncio.run(conversation.run(bus))


class Conversation:
    """The messages so far, and how the next ones are got.

    Args:
        neuron: The id of the Neuron.
        system: The system message; None for none.
        as_prompt: Send each text alone.
        timeout_s: Seconds to wait for an answer.
    """

    def __init__(self, neuron: str, *, system: str | None, as_prompt: bool, timeout_s: float) -> None:
        self._neuron = neuron
        self._as_prompt = as_prompt
        self._timeout_s = timeout_s
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self._messages: list[dict[str, str]] = []
        self._lines = StdinLines()
        self._responder = TerminalResponder(self._lines)
        # What Ctrl-C cancels.
        self._current: asyncio.Task[Any] | None = None
        self._leaving = False

    async def run(self, bus: Bus) -> None:
        """Send what is typed, and print the answers, until the end of stdin or Ctrl-C at the prompt."""
        async with open_dendrite(bus) as dendrite:
            try:
                await dendrite.wait_until_ready(neuron=self._neuron, timeout_s=DISCOVERY_S)
            except TimeoutError as error:
                raise UserError(str(error).partition(": ")[2]) from None
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            try:
                click.echo(f"talking with {self._neuron}; Ctrl-C stops an answer, Ctrl-D leaves", err=True)
                while not self._leaving and (text := await self._typed()) is not None:
                    if text.strip():
                        await self._exchange(dendrite, text)
            finally:
                loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        if self._current is None or self._current.cancelling():
            self._leaving = True
        if self._current is not None:
            self._current.cancel()

    async def _until_interrupted(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what ``work`` returns; None if Ctrl-C ended it."""
        self._current = asyncio.create_task(work)
        try:
            await asyncio.wait([self._current])
            return None if self._current.cancelled() else self._current.result()
        finally:
            self._current.cancel()
            self._current = None

    async def _typed(self) -> str | None:
        click.secho("> ", err=True, nl=False, fg="cyan")
        text = await self._until_interrupted(self._lines.next())
        if text is None:
            click.echo(err=True)
        return text

    async def _exchange(self, dendrite: Dendrite, text: str) -> None:
        """Send one message and print the answer; an answer that failed leaves no message behind."""
        self._add("user", text)
        answer = await self._answer(dendrite, text)
        if answer is None:
            self._messages.pop()
        else:
            self._add("assistant", answer)

    def _add(self, role: str, content: str) -> None:
        self._messages.append({"role": role, "content": content})
        free = MAX_TEXT
        for kept, message in enumerate(reversed(self._messages)):
            free -= len(message["content"].encode(errors="replace"))
            if kept and (free < 0 or kept == MAX_MESSAGES):
                del self._messages[:-kept]
                break

    async def _answer(self, dendrite: Dendrite, text: str) -> str | None:
        """Return the text of the answer, or what was printed of one that was stopped; None if it failed."""
        printed: list[str] = []
        with AnswerPrinter(interactive=True) as printer:

            def show(signal: Signal) -> None:
                if signal.type is SignalType.THOUGHT_DELTA:
                    printed.append(signal.payload["delta"])
                printer.show(signal)

            try:
                last = await self._until_interrupted(self._last(dendrite, text, show))
            except (CosmoError, TimeoutError) as error:
                printer.end_line()
                print_error(str(error))
                return None
        if last is None:
            click.secho("stopped", err=True, fg="yellow")
            return "".join(printed) or None
        return None if last.type is SignalType.ERROR else as_text(last.payload["output"])

    async def _last(self, dendrite: Dendrite, text: str, show: Callable[[Signal], None]) -> Signal:
        """Send the conversation, answer the Neuron's questions, and return its last Signal."""
        input = {"prompt": text} if self._as_prompt else {"messages": [*self._system, *self._messages]}
        pathway = await dendrite.dispatch(
            neuron=self._neuron, input=input, deadline_s=self._timeout_s, backpressure=True
        )
        while True:
            last = await follow(pathway, show, timeout_s=self._timeout_s)
            if last.type not in QUESTION_TYPES:
                return last
            reply = await self._responder.reply(last)
            pathway = await respond(dendrite, last, reply, deadline_s=self._timeout_s)
