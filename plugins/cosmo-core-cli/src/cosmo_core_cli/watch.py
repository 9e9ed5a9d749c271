"""`cosmo watch`: print the Signals of a namespace."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import attrs
import click

from cosmo_core import MalformedSignalError, Signal, SignalType, Synapse, decode
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import check_trace_id
from cosmo_core.protocol.subjects import Subjects
from cosmo_core_cli.bus import Bus, check_shared, open_synapse
from cosmo_core_cli.errors import print_error
from cosmo_core_cli.options import bus_options, complete_neuron, json_option, signal_type
from cosmo_core_cli.output import compact_json, print_signal, printable

if TYPE_CHECKING:
    from rich.text import Text

MAX_SUMMARY: Final = 60
"""Characters of a payload in a line without --payload."""

WIDE: Final = 100
"""Columns of a terminal from which on the full time and wide columns are shown."""

MEDIUM: Final = 75
"""Columns of a terminal from which on the trace is shown."""

QUIET_COLOUR: Final = "bright_black"
COLOURS: Final[Mapping[SignalType, str]] = {
    SignalType.TASK: "cyan",
    SignalType.AGENT_OUTPUT: "green",
    SignalType.FINAL: "green",
    SignalType.ERROR: "red",
    SignalType.CLARIFICATION: "yellow",
    SignalType.PERMISSION: "yellow",
    SignalType.STOP: "red",
    SignalType.THOUGHT_DELTA: QUIET_COLOUR,
    SignalType.DISCOVER: QUIET_COLOUR,
    SignalType.REGISTER: QUIET_COLOUR,
    SignalType.HEARTBEAT: QUIET_COLOUR,
    SignalType.DEREGISTER: QUIET_COLOUR,
}
"""The colours of types on a terminal; other types have its own colour."""

MAX_BUFFERED: Final = 10_000
"""Frames buffered for printing at most; beyond that, the oldest are dropped."""


@click.command()
@click.option(
    "--type", "types", metavar="TYPE", type=signal_type, multiple=True, help="Only this type; repeatable."
)
@click.option("--trace", "trace_id", metavar="ID", help="Only Signals on this trace.")
@click.option(
    "--neuron", metavar="ID", shell_complete=complete_neuron, help="Only Signals to or from this Neuron."
)
@click.option("--payload", is_flag=True, help="Show payloads in full.")
@click.option("--all", "show_all", is_flag=True, help="Show DISCOVER and the answers to it, too.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="Exit after N Signals.")
@json_option
@bus_options
def watch(
    types: tuple[str, ...],
    trace_id: str | None,
    neuron: str | None,
    payload: bool,
    show_all: bool,
    count: int | None,
    as_json: bool,
    bus: Bus,
) -> None:
    """Print every Signal of the namespace as it passes, until Ctrl-C.

    Signals are shown as they are on the bus, before the middleware of any receiver. Each program that joins
    asks who is there; these questions and their answers are left out, unless --all, --type, --trace or
    --json asks for them. With --json each line is a whole Signal, which `cosmo validate` and `cosmo trace`
    read.
    """
    quiet = not (show_all or types or trace_id or as_json)
    wanted = SignalFilter(frozenset(types), neuron, trace_id, quiet)
    show = print_signal if as_json else _line_printer(full=payload)
    asyncio.run(_watch(bus, wanted, show, count))


def _line_printer(*, full: bool) -> Callable[[Signal], None]:
    """Return a function that prints a Signal on one line: coloured and cut to the width on a terminal."""
    if not sys.stdout.isatty():
        return lambda signal: click.echo(summary(signal, full=full))
    # Imported on use: only a terminal needs it.
    from rich.console import Console

    console = Console(highlight=False)

    def print_line(signal: Signal) -> None:
        line = coloured(signal, console.width, full=full)
        console.print(line, no_wrap=not full, overflow="fold" if full else "ellipsis", crop=not full)

    return print_line


@attrs.frozen
class SignalFilter:
    """Selects Signals. A condition that is None or empty selects all.

    Attributes:
        types: The types.
        neuron: The Neuron that a Signal is directed to; an answer has the same direction as its TASK.
        trace_id: The trace.
        quiet: Whether DISCOVER and the answers to it are left out.
    """

    types: frozenset[str]
    neuron: str | None
    trace_id: str | None
    quiet: bool = False

    def __attrs_post_init__(self) -> None:
        if self.neuron is not None:
            check_token("--neuron", self.neuron)
        if self.trace_id is not None:
            check_trace_id(self.trace_id)

    def matches(self, signal: Signal) -> bool:
        """Tell whether a Signal meets every condition."""
        if self.types and signal.type not in self.types:
            return False
        if self.trace_id is not None and signal.trace_id != self.trace_id:
            return False
        if self.quiet and (
            signal.type is SignalType.DISCOVER
            or (signal.type is SignalType.REGISTER and signal.parent_id is not None)
        ):
            return False
        return self.neuron is None or self.neuron in neurons_of(signal)


def neurons_of(signal: Signal) -> Sequence[str]:
    """Return the Neurons that a Signal is directed to or describes; a work heartbeat may name several."""
    if signal.directed is not None and signal.directed.id is not None:
        return [signal.directed.id]
    named = signal.meta.get("neurons")
    is_work = signal.type is SignalType.HEARTBEAT and isinstance(named, list)
    return [name for name in named or () if isinstance(name, str)] if is_work else []


class Feed:
    """Endless asynchronous iterator over frames in order of arrival, with a bounded buffer.

    Attributes:
        dropped: How many frames were dropped because the reader was too slow.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()

    def push(self, frame: bytes) -> None:
        """Buffer a frame; drop the oldest frame if the buffer is full."""
        if len(self._frames) >= MAX_BUFFERED:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(frame)
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signal | MalformedSignalError:
        """Return the next Signal, or the error of a frame that cannot be decoded."""
        while not self._frames:
            self._arrived.clear()
            await self._arrived.wait()
        try:
            return decode(self._frames.popleft())
        except MalformedSignalError as error:
            return error


@asynccontextmanager
async def open_feed(synapse: Synapse, namespace: str) -> AsyncIterator[Feed]:
    """Subscribe to every Signal of a namespace, without a Dendrite: nothing is announced or sent.

    Raises:
        MalformedSignalError: The namespace is not a token.
        SynapseError: The Synapse rejected the subscription.
    """
    feed = Feed()
    subscription = await synapse.subscribe(Subjects(namespace).namespace_pattern(), feed.push)
    try:
        yield feed
    finally:
        await subscription.unsubscribe()


def summary(signal: Signal, *, full: bool) -> str:
    """Return a Signal on one line: time, type, Neuron, trace and payload.

    Args:
        signal: The Signal.
        full: Do not shorten the payload.
    """
    neuron = ",".join(neurons_of(signal)) or "-"
    payload = compact_json(signal.payload)
    if not full and len(payload) > MAX_SUMMARY:
        payload = payload[: MAX_SUMMARY - 1] + "…"
    return printable(
        f"{signal.ts[11:23]}  {signal.type.value:<20}  {neuron:<16}  {_short(signal.trace_id)}  {payload}"
    )


def coloured(signal: Signal, width: int, *, full: bool) -> Text:
    """Return a Signal as a line for a terminal; the narrower it is, the fewer columns it has.

    Args:
        signal: The Signal.
        width: The columns of the terminal.
        full: Do not shorten the payload.
    """
    from rich.text import Text

    wide = width >= WIDE
    neuron = ",".join(neurons_of(signal)) or "-"
    line = Text(signal.ts[11 : 23 if wide else 19], style=QUIET_COLOUR)
    line.append(f"  {signal.type.value:<{20 if wide else 13}}", style=COLOURS.get(signal.type, ""))
    line.append(printable(f"  {neuron:<{16 if wide else 10}}"))
    if width >= MEDIUM:
        line.append(f"  {_short(signal.trace_id)}", style=QUIET_COLOUR)
    # No more than fits is escaped and measured: a payload may have a megabyte.
    payload = compact_json(signal.payload)
    line.append("  " + printable(payload if full else payload[: width + 1]))
    return line


def _short(trace_id: str) -> str:
    # The end of a trace id is random; its beginning is the time, which many traces share.
    return f"…{trace_id[-8:]}"


async def _watch(bus: Bus, wanted: SignalFilter, show: Callable[[Signal], None], count: int | None) -> None:
    check_shared(bus)
    async with open_synapse(bus) as synapse, open_feed(synapse, bus.namespace) as feed:
        click.echo(f"watching namespace {bus.namespace} at {bus}", err=True)
        shown = dropped = 0
        async for signal in feed:
            if feed.dropped > dropped:
                print_error(f"output is too slow: {feed.dropped - dropped} Signals were dropped")
                dropped = feed.dropped
            if isinstance(signal, MalformedSignalError):
                print_error(f"a frame is not a valid Signal: {signal}")
            elif wanted.matches(signal):
                show(signal)
                shown += 1
                if shown == count:
                    return
