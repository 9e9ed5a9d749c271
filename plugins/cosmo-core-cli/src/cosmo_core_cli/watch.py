"""`cosmo watch`: what passes on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import click

from cosmo_core import MalformedSignalError, Signal
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import check_trace_id
from cosmo_core_cli.completing import neuron_ids
from cosmo_core_cli.connecting import check_reaches_others, connected
from cosmo_core_cli.failing import complain
from cosmo_core_cli.feed import feed
from cosmo_core_cli.options import bus_options, json_option, signal_type
from cosmo_core_cli.printing import compact, print_signal
from cosmo_core_cli.words import printable

if TYPE_CHECKING:
    from cosmo_core_cli.bus import Bus

MAX_GIST: Final = 60


@attrs.frozen
class Wanted:
    """Which Signals are wanted; of what is not said, all are.

    Attributes:
        types: Their types.
        neuron: Whom they are directed to, or come from: an answer is directed as its TASK was.
        trace_id: The trace they are on.
    """

    types: frozenset[str]
    neuron: str | None
    trace_id: str | None

    def __attrs_post_init__(self) -> None:
        if self.neuron is not None:
            check_token("--neuron", self.neuron)
        if self.trace_id is not None:
            check_trace_id(self.trace_id)

    def admits(self, signal: Signal) -> bool:
        """Tell whether a Signal is wanted."""
        if self.types and signal.type not in self.types:
            return False
        if self.trace_id is not None and signal.trace_id != self.trace_id:
            return False
        return self.neuron is None or (signal.directed is not None and signal.directed.id == self.neuron)


@click.command()
@click.option(
    "--type", "types", metavar="TYPE", type=signal_type, multiple=True, help="Only this type; repeatable."
)
@click.option("--trace", "trace_id", metavar="ID", help="Only what is on this trace.")
@click.option("--neuron", metavar="ID", shell_complete=neuron_ids, help="Only what this Neuron gets or says.")
@click.option("--payload", is_flag=True, help="Show payloads whole.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after so many.")
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

    It is shown as it is on the bus, before any middleware of those who receive it. With --json each line is a
    whole Signal, as `cosmo validate` reads them.
    """
    wanted = Wanted(frozenset(types), neuron, trace_id)
    show = print_signal if as_json else lambda signal: click.echo(line(signal, whole=payload))
    asyncio.run(_watch(bus, wanted, show, count))


async def _watch(bus: Bus, wanted: Wanted, show: Callable[[Signal], None], count: int | None) -> None:
    check_reaches_others(bus)
    async with connected(bus) as synapse, feed(synapse, bus.namespace) as passing:
        click.echo(f"watching namespace {bus.namespace} at {bus}", err=True)
        shown = dropped = 0
        async for signal in passing:
            if passing.dropped > dropped:
                complain(f"too slow: {passing.dropped - dropped} Signals were not shown")
                dropped = passing.dropped
            if isinstance(signal, MalformedSignalError):
                complain(f"a frame that is no Signal: {signal}")
            elif wanted.admits(signal):
                show(signal)
                shown += 1
                if shown == count:
                    return


def line(signal: Signal, *, whole: bool) -> str:
    """Return a Signal on one line for people: when, what, who, the trace, and what it says."""
    who = signal.directed.id if signal.directed is not None and signal.directed.id else "-"
    says = compact(signal.payload)
    if not whole and len(says) > MAX_GIST:
        says = says[: MAX_GIST - 1] + "…"
    # Of a trace, the end tells it from others of the same time.
    return printable(
        f"{signal.ts[11:23]}  {signal.type.value:<20}  {who:<16}  …{signal.trace_id[-8:]}  {says}"
    )
