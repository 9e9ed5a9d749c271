"""Measure the speed and memory of Cosmonapse, each figure beside a baseline of the same run.

Nothing is asserted, because machines differ in speed. Compare the ratios.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

# A script has only its own folder on the path; the imports below start at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import (
    codec,
    context,
    engrams,
    growth,
    imports,
    isolation,
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
    "isolation": isolation.figures,
    "sources": sources.figures,
    "tools": tools.figures,
    "context": context.figures,
    "zmq": over_zmq.figures,
    "nats": over_nats.figures,
    "engrams": engrams.figures,
}


def main() -> None:
    """Measure the chosen families, report progress on stderr, and print one table, or JSON, on stdout."""
    options = _parser().parse_args()
    _raise_interrupt_on_signals()
    start = time.perf_counter()
    results = []
    for family in options.only or FAMILIES:
        for figure in FAMILIES[family](options.scale):
            print(f"{time.perf_counter() - start:6.1f} s  {figure.name}", file=sys.stderr, flush=True)
            try:
                results.append((figure, figure.measure()))
            except MissingError as error:
                print(f"          skipped: {error}", file=sys.stderr, flush=True)
    print(as_json(results) if options.json else as_table(results))


def _raise_interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGINT and SIGTERM, so that the started servers end with the bench."""
    # Background jobs of a shell ignore SIGINT by default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the work; default: 1")
    parser.add_argument(
        "--quick", dest="scale", action="store_const", const=0.2, help="the same as --scale 0.2"
    )
    parser.add_argument(
        "--only", action="append", choices=FAMILIES, help="measure one family; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    main()
