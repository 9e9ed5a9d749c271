"""`cosmo validate`: check that a file holds valid Signals and valid traces."""

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import attrs
import click

from cosmo_core import MalformedSignalError, Signal, SignalType, decode
from cosmo_core.plugins.advice import from_clone
from cosmo_core_cli.answers import QUESTION_TYPES
from cosmo_core_cli.errors import ExitStatus, UserError
from cosmo_core_cli.options import json_option
from cosmo_core_cli.output import one_line, print_json
from cosmo_core_cli.progress import Progress

_NOT_SIGNALS: Final = "; no line is a JSON object: give a file that `cosmo watch --json` wrote"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE|-")
@click.option("--trace", is_flag=True, help="Check the order of Signals on each trace, too.")
@json_option
@click.pass_context
def validate(ctx: click.Context, file: str, trace: bool, as_json: bool) -> None:
    """Check the Signals in FILE; - reads stdin.

    The file holds JSON lines, as `cosmo watch --json` prints them, one Signal, or a list of Signals. The exit
    status is 1 if a fault is found.
    """
    validator = Validator(check_traces=trace)
    with open_file(file) as opened, Progress(f"reading {file}") as reading:
        found = []
        for fault in validator.faults(read_frames(opened)):
            if as_json:
                found.append(attrs.asdict(fault))
            else:
                reading.stop()
                click.echo(f"{file}:{fault.place}: {fault.field}: {one_line(fault.reason)}")
    if as_json:
        print_json({"signals": validator.signals, "invalid": found})
    else:
        click.echo(f"Signals: {validator.signals}, faults: {validator.invalid}", err=True)
    if validator.invalid:
        ctx.exit(ExitStatus.FAILED)


@attrs.frozen
class Frame:
    """A piece of a file that should be a Signal.

    Attributes:
        place: Its line number, or its index in a list.
        data: Its bytes.
        hint: The end of the reason, if it is not a Signal.
    """

    place: str
    data: bytes
    hint: str = ""


@attrs.frozen
class Fault:
    """A frame that is not a Signal, or a Signal that breaks a rule of its trace.

    Attributes:
        place: The line number, or the index in a list.
        field: The path of the field, or the name of the rule.
        reason: What is wrong.
    """

    place: str
    field: str
    reason: str


@attrs.define
class Validator:
    """Checks frames, and counts what it finds.

    Attributes:
        check_traces: Check traces as well; this needs the memory for all Signals.
        signals: How many frames are Signals.
        invalid: How many faults were found.
    """

    check_traces: bool
    signals: int = 0
    invalid: int = 0
    _traces: dict[str, list[tuple[str, Signal]]] = attrs.field(factory=dict)

    def faults(self, frames: Iterable[Frame]) -> Iterator[Fault]:
        """Yield every frame that is not a Signal, and then the first fault of each trace.

        Raises:
            UserError: Traces are to be checked, and cosmo-testing is not installed.
        """
        for fault in chain(self._malformed(frames), self._invalid_traces()):
            self.invalid += 1
            yield fault

    def _malformed(self, frames: Iterable[Frame]) -> Iterator[Fault]:
        for frame in frames:
            try:
                signal = decode(frame.data)
            except MalformedSignalError as error:
                yield Fault(frame.place, error.field, error.reason + frame.hint)
            else:
                self.signals += 1
                if self.check_traces:
                    self._traces.setdefault(signal.trace_id, []).append((frame.place, signal))

    def _invalid_traces(self) -> Iterator[Fault]:
        if not self.check_traces:
            return
        try:
            from cosmo_testing.life_cycle import PRESENCE
            from cosmo_testing.traces import InvalidTraceError, assert_valid_trace
        except ImportError as error:
            raise UserError(
                f"--trace needs cosmo-testing: {from_clone('cosmo-testing')} ({error})"
            ) from error
        for placed in self._traces.values():
            try:
                # Announcements are not part of a trace, but `cosmo watch` prints them as well. It also prints
                # a question again that its host sends again, for a program that begins to answer.
                assert_valid_trace(_without_repeated_questions(placed, PRESENCE))
            except InvalidTraceError as error:
                place = next(place for place, signal in placed if signal is error.signal)
                yield Fault(place, error.rule, str(error).removeprefix(f"{error.rule}: "))


def _without_repeated_questions(
    placed: Iterable[tuple[str, Signal]], left_out: frozenset[SignalType]
) -> Iterator[Signal]:
    asked: dict[str, Signal] = {}
    for _, signal in placed:
        repeats = signal.type in QUESTION_TYPES and asked.setdefault(signal.id, signal) is not signal
        if signal.type not in left_out and not (repeats and asked[signal.id] == signal):
            yield signal


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a file. JSON lines are read one by one.

    If the first line is not a JSON object, the whole file is parsed as one JSON document. If it is not one,
    each line is a frame, and the check reports its fault; a file without any JSON object is one frame.
    """
    # Some editors begin a file with a byte order mark.
    lines = ((number, line.removeprefix(BOM_UTF8)) for number, line in enumerate(file, 1) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    if isinstance(_parse(first[1]), dict):
        yield from _line_frames(chain([first], lines))
        return
    rest = [first, *lines]
    document = _parse(b"".join(line for _, line in rest))
    if isinstance(document, list):
        for index, item in enumerate(document):
            yield Frame(f"[{index}]", json.dumps(item).encode())
    elif isinstance(document, dict):
        yield Frame(str(first[0]), b"".join(line for _, line in rest))
    elif any(isinstance(_parse(line), dict) for _, line in rest):
        yield from _line_frames(iter(rest))
    else:
        # One fault for the whole file, which may be a program or a picture, and not one for each line.
        yield Frame(str(first[0]), b"".join(line for _, line in rest), _NOT_SIGNALS)


def _line_frames(lines: Iterator[tuple[int, bytes]]) -> Iterator[Frame]:
    for number, line in lines:
        yield Frame(str(number), line)


def _parse(text: bytes) -> object:
    """Return the JSON value; None if the text is not JSON, or is nested too deeply for a Signal."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def open_file(file: str) -> BinaryIO:
    """Open a file; ``-`` is stdin.

    Raises:
        UserError: The file cannot be read.
    """
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; - reads stdin") from None
