"""`cosmo watch`: print the Signals of a namespace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Self

import attrs
import click

from cosmo_core import MalformedSignalError, Signal, Synapse, decode
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import check_trace_id
from cosmo_core.protocol.subjects import Subjects
from cosmo_core_cli.bus import Bus, check_shared, open_synapse
from cosmo_core_cli.errors import print_error
from cosmo_core_cli.options import bus_options, complete_neuron, json_option, signal_type
from cosmo_core_cli.output import compact_json, print_signal, printable

MAX_SUMMARY: Final = 60
"""Characters of a payload in a line without --payload."""

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
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="Exit after N Signals.")
@json_option
@bus_options
def watch(
    types: tuple[str, ...],
    trace_id: str | None,
    neuron: str | None,
    payload: bool,
    count: int | None,
    as_json: bool,
    bus: Bus,
) -> None:
    """Print every Signal of the namespace as it passes, until Ctrl-C.

    Signals are shown as they are on the bus, before the middleware of any receiver. With --json each line is
    a whole Signal, in the format that `cosmo validate` reads.
    """
    wanted = SignalFilter(frozenset(types), neuron, trace_id)
    show = print_signal if as_json else lambda signal: click.echo(summary(signal, full=payload))
    asyncio.run(_watch(bus, wanted, show, count))


@attrs.frozen
class SignalFilter:
    """Selects Signals. A condition that is None or empty selects all.

    Attributes:
        types: The types.
        neuron: The Neuron that a Signal is directed to; an answer has the same direction as its TASK.
        trace_id: The trace.
    """

    types: frozenset[str]
    neuron: str | None
    trace_id: str | None

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
        return self.neuron is None or (signal.directed is not None and signal.directed.id == self.neuron)


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
    neuron = signal.directed.id if signal.directed is not None and signal.directed.id else "-"
    payload = compact_json(signal.payload)
    if not full and len(payload) > MAX_SUMMARY:
        payload = payload[: MAX_SUMMARY - 1] + "…"
    # The end of a trace id is random; its beginning is the time, which many traces share.
    return printable(
        f"{signal.ts[11:23]}  {signal.type.value:<20}  {neuron:<16}  …{signal.trace_id[-8:]}  {payload}"
    )


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
