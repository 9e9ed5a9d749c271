"""Figures, and their output as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import attrs

_HEADER = ("figure", "measured", "baseline of the same run", "ratio", "target", "peer")


@attrs.frozen
class Pair:
    """A measured value and its baseline.

    Attributes:
        value: The measured value.
        baseline: The value of the baseline in the same run.
        ratio: The value divided by the baseline; the only part that can be compared between machines.
    """

    value: float
    baseline: float
    ratio: float


@attrs.frozen(kw_only=True)
class Figure:
    """A figure to measure, and its description.

    Attributes:
        name: The name of the figure.
        unit: The unit of the value and of the baseline.
        against: The name of the baseline.
        measure: Measures the figure.
        target: The target of the project; empty for a figure that explains another one.
        peer: The value of the existing implementation, measured on the machine where the target was set.
    """

    name: str
    unit: str
    against: str
    measure: Callable[[], Pair] = attrs.field(repr=False)
    target: str = ""
    peer: str = ""


Results = Sequence[tuple[Figure, Pair]]


def as_json(results: Results) -> str:
    """Return the figures as JSON."""
    facts = attrs.filters.exclude("measure")
    return json.dumps(
        [attrs.asdict(figure, filter=facts) | attrs.asdict(pair) for figure, pair in results], indent=2
    )


def as_table(results: Results) -> str:
    """Return the figures as a Markdown table."""
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
        figure.target,
        figure.peer,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
