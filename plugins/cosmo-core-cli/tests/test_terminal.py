"""Colours and widths: on terminals, with NO_COLOR, and in pipes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest
from rich.console import Console

from cosmo_core import Directed, Signal, SignalType
from cosmo_core_cli.output import rich_table
from cosmo_core_cli.watch import coloured

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WIDTHS = [40, 60, 80, 200]


def on_terminal(width: int, *arguments: str, **environment: str) -> str:
    """Return what a command prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    command = [sys.executable, "-m", "cosmo_core_cli", *arguments]
    known = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    child = subprocess.Popen(  # noqa: S603 - our own
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**known, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    read = b""
    # The end of the terminal is an error on Linux.
    with suppress(OSError):
        while data := os.read(ours, 65536):
            read += data
    os.close(ours)
    child.wait(60)
    return read.decode().replace("\r\n", "\n")


def test_table_is_coloured_and_fits_the_terminal() -> None:
    shown = on_terminal(60, "plugins")
    assert ESCAPE.search(shown)
    assert max(len(line) for line in ESCAPE.sub("", shown).splitlines()) <= 60


def test_no_color_turns_colours_off() -> None:
    assert not ESCAPE.search(on_terminal(80, "plugins", NO_COLOR="1"))
    assert not ESCAPE.search(on_terminal(80, "schema", "--what", NO_COLOR="1"))
    assert ESCAPE.search(on_terminal(80, "schema", "--what"))


def test_pipe_has_no_colours_and_whole_lines() -> None:
    command = [sys.executable, "-m", "cosmo_core_cli", "plugins"]
    shown = subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, check=True, text=True, env={**os.environ, "COLUMNS": "40"}
    ).stdout
    assert not ESCAPE.search(shown)
    assert re.search(r"^cosmo\.synapses +zmq\+ipc +cosmo-synapse-zmq +\S+ +available$", shown, re.MULTILINE)


@pytest.mark.parametrize("width", WIDTHS)
def test_watched_signal_is_one_line_that_fits(width: int) -> None:
    console = Console(width=width, highlight=False)
    task = Signal.new(SignalType.TASK, {"input": {"text": "日本" * 200}}, directed=Directed(id="greeter"))
    answer = task.reply(
        SignalType.CLARIFICATION_ANSWER, {"answer": "\x1b[2J"}, directed=Directed(id="n" * 64)
    )
    for signal in (task, answer):
        with console.capture() as printed:
            console.print(coloured(signal, width, full=False), no_wrap=True, overflow="ellipsis", crop=True)
        (line,) = printed.get().splitlines()
        assert console.measure(line).maximum <= width
        assert signal.type.value in line
        assert "\x1b" not in line
    assert "greeter" in str(coloured(task, width, full=False))
    assert "日本" * 200 in str(coloured(task, width, full=True))


@pytest.mark.parametrize("width", WIDTHS)
def test_long_cell_takes_several_lines(width: int) -> None:
    console = Console(width=width)
    capabilities = ", ".join(f"capability-{n}" for n in range(20))
    with console.capture() as printed:
        console.print(rich_table(("NEURON", "CAPABILITIES", "LOAD"), [("greeter", capabilities, "12")]))
    lines = printed.get().splitlines()
    assert lines[0].split() == ["NEURON", "CAPABILITIES", "LOAD"]
    assert max(map(len, lines)) <= width
    assert "".join(capabilities.split()) in "".join("".join(line[9:-4].split()) for line in lines[1:])
    assert lines[1].split()[0] == "greeter"
    assert lines[1].split()[-1] == "12"
