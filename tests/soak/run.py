"""Soaks every bus, and prints a table: ``python tests/soak/run.py [--seconds 600] [--bus zmq …] [--seed 1]``.

The time is shared by the buses. The exit status is 1 if a promise was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cosmo_synapse_nats.testing import NatsServer
from tests.faults.buses import Bus, Nats, ZmqHub
from tests.soak.soak import Outcome, Soak

BUSES: Final = ("zmq", "nats", "nats-durable")


async def soak(name: str, *, seconds: float, seed: int, callers: int) -> Outcome:
    """Soak one bus by name."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        bus: Bus
        if name == "zmq":
            bus = ZmqHub()
            await bus.restart()
            stack.push_async_callback(bus.kill)
        else:
            durable = name == "nats-durable"
            server = stack.enter_context(NatsServer.start(jetstream=durable))
            bus = Nats(server, name, "?durable=true" if durable else "")
        store = f"sqlite:///{Path(folder) / 'memory.db'}"
        return await Soak(bus, store, seconds=seconds, seed=seed, callers=callers).run(show)


def show(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - this is a command


def show_outcome(outcome: Outcome) -> None:
    """Print what happened as a table."""
    show(f"\n{outcome.bus}, {outcome.seconds:.0f} s: {'BROKEN' if outcome.broken else 'every promise kept'}")
    rows = [
        ("disturbances", outcome.disturbances),
        ("calls", outcome.calls),
        ("writes", outcome.writes),
        ("last third ÷ first", {name: f"{ratio:.3f}" for name, ratio in outcome.growth.items()}),
    ]
    for title, values in rows:
        for name, value in values.items():
            show(f"  {title:<20}{name:<40}{value:>8}")
    for promise in outcome.broken:
        show(f"  BROKEN              {promise}")


def main() -> int:
    """Parse the arguments and soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all buses together")
    parser.add_argument("--bus", choices=BUSES, action="append", help="soak this bus only; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="determines the disturbances")
    parser.add_argument("--callers", type=int, default=16, help="calls that are open at a time")
    options = parser.parse_args()
    buses = options.bus or BUSES
    seconds = options.seconds / len(buses)
    outcomes = []
    for name in buses:
        outcomes.append(asyncio.run(soak(name, seconds=seconds, seed=options.seed, callers=options.callers)))
        show_outcome(outcomes[-1])
    return int(any(outcome.broken for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
