"""The command line of `cosmo validate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
import click

from cosmo_core_cli import statuses
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.options import json_option
from cosmo_core_cli.printing import print_json
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.validate.findings import Findings, Invalid
from cosmo_core_cli.validate.frames import frames
from cosmo_core_cli.words import one_line


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE|-")
@click.option("--trace", is_flag=True, help="Check traces, too: what may follow what.")
@json_option
@click.pass_context
def validate(ctx: click.Context, file: str, trace: bool, as_json: bool) -> None:
    """Check that what is in FILE, or comes from stdin, are Signals.

    It may be JSON lines, as `cosmo watch --json` prints them, one Signal, or a list of Signals. The exit
    status is 1 if anything is wrong.
    """
    findings = Findings(keeps=trace)
    with _opened(file) as opened, Progress(f"reading {file}") as reading:
        found = []
        for invalid in _all(findings, opened):
            if as_json:
                found.append(attrs.asdict(invalid))
            else:
                reading.stop()
                click.echo(f"{file}:{invalid.place}: {invalid.field}: {one_line(invalid.reason)}")
    if as_json:
        print_json({"signals": findings.signals, "invalid": found})
    else:
        click.echo(f"Signals: {findings.signals}, faults: {findings.invalid}", err=True)
    if findings.invalid:
        ctx.exit(statuses.FAILED)


def _all(findings: Findings, file: BinaryIO) -> Iterator[Invalid]:
    yield from findings.invalid_frames(frames(file))
    if findings.keeps:
        yield from findings.broken_traces()


def _opened(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise Mistake(f"{file} cannot be read: {error.strerror}; - reads stdin") from None
