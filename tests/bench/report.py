"""What a figure is, and the one table they are all printed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import attrs

_HEADER = ("figure", "measured", "baseline of the same run", "ratio", "reach", "peer")


@attrs.frozen
class Pair:
    """What was measured, and what it is compared with.

    Attributes:
        value: How much of what was to be measured.
        baseline: How much of what cannot be avoided, taken in the same run.
        ratio: The one to the other; the only part that means something on another machine.
    """

    value: float
    baseline: float
    ratio: float


@attrs.frozen(kw_only=True)
class Figure:
    """Something to measure, and what to print beside it.

    Attributes:
        name: What is measured.
        unit: Of the value and of the baseline.
        against: What the baseline is.
        measure: Does it.
        reach: What the project asks of itself; empty for a figure that explains another one.
        peer: What the existing implementation of the protocol does, measured where the reach was set.
    """

    name: str
    unit: str
    against: str
    measure: Callable[[], Pair] = attrs.field(repr=False)
    reach: str = ""
    peer: str = ""


Results = Sequence[tuple[Figure, Pair]]


def as_json(results: Results) -> str:
    """Return the figures for a program to read."""
    facts = attrs.filters.exclude("measure")
    return json.dumps(
        [attrs.asdict(figure, filter=facts) | attrs.asdict(pair) for figure, pair in results], indent=2
    )


def as_table(results: Results) -> str:
    """Return the figures for a person to read, as a Markdown table."""
    rows = [_HEADER, *(_cells(figure, pair) for figure, pair in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def _cells(figure: Figure, pair: Pair) -> tuple[str, ...]:
    return (
        figure.name,
        f"{_number(pair.value)} {figure.unit}",
        f"{_number(pair.baseline)} {figure.unit} ({figure.against})",
        f"{pair.ratio:.3f}",
        figure.reach,
        figure.peer,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
