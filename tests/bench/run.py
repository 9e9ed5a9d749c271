"""Measure the speed and memory of Cosmonapse, each figure beside a baseline of the same run.

Nothing is asserted, because machines differ in speed. Compare the ratios.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

# A script has only its own folder on the path; the imports below start at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import MissingError
from tests.bench.report import as_json, as_table

if TYPE_CHECKING:
    from tests.bench.report import Figure

FAMILIES: Final = {
    "round-trips": "round_trips",
    "tails": "tails",
    "streaming": "streaming",
    "middleware": "middleware",
    "parts": "parts",
    "codec": "codec",
    "imports": "imports",
    "pathways": "pathways",
    "growth": "growth",
    "slopes": "slopes",
    "isolation": "isolation",
    "sources": "sources",
    "tools": "tools",
    "context": "context",
    "zmq": "over_zmq",
    "nats": "over_nats",
    "engrams": "engrams",
}
"""The module of each family. A fresh process imports this script again, and needs none of them."""

OPTIONAL: Final = {"rivals": "rivals"}
"""The families that need further distributions, and are measured only if they are named."""

BUSY: Final = 0.5
"""The load average of the last minute from which on other programs disturb the figures."""


def figures(family: str, scale: float) -> Iterator[Figure]:
    """Return the figures of a family."""
    found: Iterator[Figure] = import_module(f"tests.bench.{(FAMILIES | OPTIONAL)[family]}").figures(scale)
    return found


def warn_if_busy() -> None:
    """Warn on stderr if other programs use the processor, which makes figures worthless."""
    if (load := os.getloadavg()[0]) > BUSY:
        print(
            f"          the load is {load:.1f}: wait until nothing else runs, or ignore the figures",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    """Measure the chosen families, report progress on stderr, and print one table, or JSON, on stdout."""
    options = _parser().parse_args()
    _raise_interrupt_on_signals()
    warn_if_busy()
    start = time.perf_counter()
    results = []
    for family in options.only or FAMILIES:
        for figure in figures(family, options.scale):
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
        "--only", action="append", choices=FAMILIES | OPTIONAL, help="measure one family; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    main()
