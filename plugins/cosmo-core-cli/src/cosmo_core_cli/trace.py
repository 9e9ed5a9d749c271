"""`cosmo trace`: the tree of Signals of one trace, with times."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from cosmo_core import MalformedSignalError, Signal, SignalType, decode
from cosmo_core.protocol.signal_type import ANSWER_TYPES
from cosmo_core_cli.bus import Bus, check_shared, open_synapse
from cosmo_core_cli.errors import UserError, print_error
from cosmo_core_cli.neurons import PRESENCE_TYPES
from cosmo_core_cli.options import json_option, optional_bus_options, required
from cosmo_core_cli.output import compact_json, print_json, printable
from cosmo_core_cli.validate import open_file, read_frames
from cosmo_core_cli.watch import COLOURS, MAX_SUMMARY, QUIET_COLOUR, Feed, neurons_of, open_feed

if TYPE_CHECKING:
    from rich.tree import Tree

MAX_SIGNALS: Final = 10_000
"""Signals of a trace that are kept at most; further ones are counted."""

MAX_NAMED: Final = 5
"""Traces of a file that an error names at most."""

REFRESH_S: Final = 0.25
"""Seconds between two pictures of a running trace."""

FULL_WIDTH: Final = 100_000
"""Columns of a tree that is not printed on a terminal."""

# `cosmo watch` shows the last 8 characters.
_ID: Final = re.compile(r"(trc_)?[0-9A-HJKMNP-TV-Z]{6,26}")

_WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_AWARDED})


@click.command()
@click.argument("trace_id", metavar="ID")
@click.option(
    "--from", "file", metavar="FILE|-", help="Read JSON lines that `cosmo watch --json` wrote, and no bus."
)
@json_option
@optional_bus_options
def trace(trace_id: str, file: str | None, as_json: bool, bus: Bus | None) -> None:
    """Show the Signals of one trace as a tree, each below its cause, with times.

    ID is a trace id, or its end, as `cosmo watch` shows it. A running trace is watched until its FINAL or
    Ctrl-C: the tree begins with the next Signal. A bus keeps no Signals, so a trace that is over cannot be
    read back from it; --from reads it from a file. Times are those of the senders' clocks.
    """
    if _ID.fullmatch(trace_id.upper().replace("TRC_", "trc_")) is None:
        raise UserError(f"{trace_id!r} is neither a trace id nor the last 6 characters of one or more")
    shown = Trace(trace_id.upper().removeprefix("TRC_"))
    if file is not None:
        _read(shown, file)
        _print(shown, as_json)
    else:
        try:
            asyncio.run(_watch(shown, required(bus), live=sys.stdout.isatty() and not as_json))
        finally:
            if as_json or not sys.stdout.isatty():
                _print(shown, as_json)


class Trace:
    """The Signals of one trace, each once.

    Args:
        ending: The end of its id; the first Signal that fits decides.

    Attributes:
        ending: The same, or the whole id.
        dropped: How many Signals were not kept, because there were too many.
    """

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.dropped = 0
        self._signals: dict[str, Signal] = {}

    def __bool__(self) -> bool:
        return bool(self._signals)

    def add(self, signal: Signal) -> bool:
        """Add a Signal if it is on the trace; tell whether it is."""
        if not signal.trace_id.endswith(self.ending):
            return False
        self.ending = signal.trace_id
        if len(self._signals) < MAX_SIGNALS:
            self._signals.setdefault(signal.id, signal)
        else:
            self.dropped += signal.id not in self._signals
        return True

    def nodes(self) -> list[Node]:
        """Return the Signals without a known cause, in order of time, each with those that it caused."""
        signals = sorted(self._signals.values(), key=lambda signal: (_moment(signal), signal.id))
        nodes: dict[str, Node] = {}
        for signal in signals:
            nodes[signal.id] = Node(signal, _moment(signal) - _moment(signals[0]))
        roots = []
        for node in nodes.values():
            cause = nodes.get(node.signal.parent_id or "")
            if cause is None or cause is node:
                roots.append(node)
            else:
                cause.add(node)
        return roots


@attrs.define
class Node:
    """A Signal in the tree.

    Attributes:
        signal: The Signal; of several THOUGHT_DELTAs of one TASK, the first.
        at_s: Seconds since the first Signal of the trace.
        took_s: Seconds until its answer; None without one.
        count: How many Signals it stands for.
        children: What it caused.
    """

    signal: Signal
    at_s: float
    took_s: float | None = None
    count: int = 1
    children: list[Node] = attrs.field(factory=list)

    def add(self, child: Node) -> None:
        """Add what this Signal caused."""
        type = child.signal.type
        if type in ANSWER_TYPES and self.signal.type in _WORK:
            self.took_s = child.at_s - self.at_s
        last = self.children[-1] if self.children else None
        if type is SignalType.THOUGHT_DELTA and last is not None and last.signal.type is type:
            last.count += 1
            last.took_s = child.at_s - last.at_s
        else:
            self.children.append(child)

    def times(self) -> str:
        """Return when the Signal was sent, and how long it took."""
        text = f"+{self.at_s:.3f} s"
        if self.took_s is not None:
            return f"{text}, {'took' if self.count == 1 else 'for'} {self.took_s:.3f} s"
        return f"{text}, no answer yet" if self.signal.type in _WORK else text

    def as_json(self) -> dict[str, Any]:
        """Return the node without its children as a JSON object."""
        return {
            "id": self.signal.id,
            "type": self.signal.type.value,
            "neurons": list(neurons_of(self.signal)),
            "at_s": round(self.at_s, 6),
            "took_s": None if self.took_s is None else round(self.took_s, 6),
            "count": self.count,
            "payload": self.signal.payload,
            "children": [],
        }


def _moment(signal: Signal) -> float:
    return datetime.fromisoformat(signal.ts).astimezone(UTC).timestamp()


# --- where the Signals come from ---------------------------------------------------------------------


def _read(shown: Trace, file: str) -> None:
    name = "stdin" if file == "-" else file
    others: dict[str, None] = {}
    broken = 0
    with open_file(file) as opened:
        for frame in read_frames(opened):
            try:
                signal = decode(frame.data)
            except MalformedSignalError:
                broken += 1
                continue
            if not shown.add(signal) and signal.type not in PRESENCE_TYPES:
                others[signal.trace_id] = None
    if broken:
        print_error(
            f"lines of {name} that are not Signals are left out: {broken}; `cosmo validate` shows why"
        )
    if not shown:
        named = ", ".join(list(others)[-MAX_NAMED:]) or "none"
        raise UserError(
            f"{name} has no Signal of a trace that ends in {shown.ending}; the last traces in it: {named}"
        )


async def _watch(shown: Trace, bus: Bus, *, live: bool) -> None:
    check_shared(bus)
    async with open_synapse(bus) as synapse, open_feed(synapse, bus.namespace) as feed:
        click.echo(
            f"watching trace {shown.ending} from now on: earlier Signals are not on the bus any more, and "
            "--from FILE shows what `cosmo watch --json` wrote",
            err=True,
        )
        if live:
            with _picture(shown) as refresh:
                await _follow(shown, feed, refresh)
        else:
            await _follow(shown, feed, lambda: None)


async def _follow(shown: Trace, feed: Feed, refresh: Callable[[], None]) -> None:
    clock = asyncio.get_running_loop().time
    refresh_at = clock()
    ended = False
    while not ended:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(refresh_at):
                signal = await anext(feed)
                ended = isinstance(signal, Signal) and shown.add(signal) and signal.type is SignalType.FINAL
        if ended or clock() >= refresh_at:
            refresh()
            refresh_at = clock() + REFRESH_S


# --- the picture -------------------------------------------------------------------------------------


@contextmanager
def _picture(shown: Trace) -> Iterator[Callable[[], None]]:
    """Yield a function that draws the tree on the terminal, in place of the one before."""
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        yield lambda: live.update(tree(shown), refresh=True)


def _print(shown: Trace, as_json: bool) -> None:
    if as_json:
        print_json({"trace_id": shown.ending, "dropped": shown.dropped, "signals": _as_json(shown)})
    elif shown:
        # Imported on use, here and below: only a picture needs it.
        from rich.console import Console

        console = Console(highlight=False)
        if not sys.stdout.isatty():
            console.width = FULL_WIDTH
        console.print(tree(shown))


def _as_json(shown: Trace) -> list[dict[str, Any]]:
    roots: list[dict[str, Any]] = []
    # Not recursive: a trace may be deeper than the stack.
    waiting = [(node, roots) for node in reversed(shown.nodes())]
    while waiting:
        node, siblings = waiting.pop()
        document = node.as_json()
        siblings.append(document)
        waiting += [(child, document["children"]) for child in reversed(node.children)]
    return roots


def tree(shown: Trace) -> Tree:
    """Return the picture of a trace."""
    from rich.text import Text
    from rich.tree import Tree

    more = f", and {shown.dropped} further Signals" if shown.dropped else ""
    top = Tree(Text(f"{shown.ending}{more}"), guide_style=QUIET_COLOUR)
    waiting = [(node, top) for node in reversed(shown.nodes())]
    while waiting:
        node, above = waiting.pop()
        signal = node.signal
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(signal.type.value, style=COLOURS.get(signal.type, ""))
        line.append(f" ({node.count})" if node.count > 1 else "")
        line.append(printable("".join(f" {neuron}" for neuron in neurons_of(signal))))
        line.append(f"  {node.times()}  ", style=QUIET_COLOUR)
        payload = compact_json(signal.payload)
        line.append(printable(payload if len(payload) <= MAX_SUMMARY else payload[: MAX_SUMMARY - 1] + "…"))
        below = above.add(line)
        waiting += [(child, below) for child in reversed(node.children)]
    return top
