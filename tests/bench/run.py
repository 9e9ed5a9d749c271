"""Measures the speed and memory of the core, each figure beside a baseline taken in the same run.

Nothing is asserted: that a machine is slow today is no reason to fail. Compare the ratios.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

# Run as a script, only this folder is on the path; what is imported below starts at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import (
    codec,
    context,
    crowd,
    engrams,
    growth,
    imports,
    over_nats,
    over_zmq,
    parts,
    pathways,
    round_trips,
    sources,
    tools,
)
from tests.bench.measure import MissingError
from tests.bench.report import Figure, as_json, as_table

FAMILIES: Final[dict[str, Callable[[float], Iterator[Figure]]]] = {
    "round-trips": round_trips.figures,
    "parts": parts.figures,
    "codec": codec.figures,
    "imports": imports.figures,
    "pathways": pathways.figures,
    "growth": growth.figures,
    "crowd": crowd.figures,
    "sources": sources.figures,
    "tools": tools.figures,
    "context": context.figures,
    "zmq": over_zmq.figures,
    "nats": over_nats.figures,
    "engrams": engrams.figures,
}


def main() -> None:
    """Measure what was asked for, saying so on stderr, and print one table, or JSON, on stdout."""
    options = _parser().parse_args()
    _end_in_order()
    start = time.perf_counter()
    results = []
    for family in options.only or FAMILIES:
        for figure in FAMILIES[family](options.scale):
            print(f"{time.perf_counter() - start:6.1f} s  {figure.name}", file=sys.stderr, flush=True)
            try:
                results.append((figure, figure.measure()))
            except MissingError as error:
                print(f"          left out: {error}", file=sys.stderr, flush=True)
    print(as_json(results) if options.json else as_table(results))


def _end_in_order() -> None:
    """Have the servers that were started for the bench end with it, even if it is ended from outside."""
    # A shell's background jobs ignore the one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the work; 1 by default")
    parser.add_argument("--quick", dest="scale", action="store_const", const=0.2, help="means --scale 0.2")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="one family; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    main()
