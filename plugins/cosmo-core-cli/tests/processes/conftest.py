"""Real `cosmo` processes on a real bus. Every wait has the limit `WITHIN_S`."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import IO

import pytest

WITHIN_S = 30.0

WORKERS = """
import asyncio

from cosmo_core import Axon, ask_permission, clarify

gate = asyncio.Event()


async def greeter(input, context):
    return {"response": f"Hello, {input['prompt']}!"}


async def release(input, context):
    gate.set()
    return {}


async def counter(input, context):
    yield "one\\n"
    await gate.wait()
    yield "two"


async def worker(input, context):
    yield "started\\n"
    await asyncio.sleep(0.3)
    yield "done"


async def mumbles(input, context):
    yield "no line break"
    await asyncio.Event().wait()


async def talks(input, context):
    said = [message["content"] for message in input["messages"]]
    yield f"{len(said)}: "
    yield " / ".join(said)


async def never(input, context):
    yield "started\\n"
    await asyncio.Event().wait()


async def stubborn(input, context):
    yield "started\\n"
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


async def fails(input, context):
    raise ValueError("only in the log\\x1b[2J")


async def booker(input, context):
    if not input.get("clarifications"):
        return clarify("Which day?", context=["Monday", "Tuesday"])
    if not input.get("permissions"):
        return ask_permission("pay", scope={"euros": 40})
    answer, decision = input["clarifications"][-1], input["permissions"][-1]
    return {"day": answer["answer"], "paid": decision["granted"], "why": decision["reason"]}


everything = [Axon(neuron_id="chatter", neuron_fn=greeter, capabilities=["chat", "small-talk"]),
              greeter, release, counter, worker, never, fails, booker, talks, mumbles]
"""


def _accept_ctrl_c() -> None:
    """Undo what a shell does to programs in its background: they, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A running process, and the lines of its output as they arrive."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._out = _lines(process.stdout)
        self._err = _lines(process.stderr)

    def line(self) -> str:
        """Return the next line of stdout."""
        return self._next(self._out, "stdout")

    def error_line(self) -> str:
        """Return the next line of stderr."""
        return self._next(self._err, "stderr")

    def write(self, text: str) -> None:
        """Write a line to stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> tuple[int, list[str], list[str]]:
        """Wait for the end, after sending a signal if given; return the status and the unread lines."""
        if number is not None:
            self.process.send_signal(number)
        if self.process.stdin is not None:
            self.process.stdin.close()
        status = self.process.wait(WITHIN_S)
        return status, _rest(self._out), _rest(self._err)

    def _next(self, lines: queue.Queue[str | None], name: str) -> str:
        line = lines.get(timeout=WITHIN_S)
        if line is None:
            lines.put(None)
            rest = self.end()
            raise AssertionError(f"{name} ended: {rest}")
        return line


def _lines(stream: IO[str] | None) -> queue.Queue[str | None]:
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with stream or nullcontext(()) as opened:
            for line in opened:
                lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _rest(lines: queue.Queue[str | None]) -> list[str]:
    rest = list(iter(lambda: lines.get(timeout=WITHIN_S), None))
    # The marker of the end stays for further calls.
    lines.put(None)
    return rest


Start = Callable[..., Running]


class Starter:
    """Starts `cosmo` processes, and ends them."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._started: list[Running] = []

    def __call__(self, *arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> Running:
        """Start a command line."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "cosmo_core_cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env={**self._environment, **environment},
            text=True,
            preexec_fn=_accept_ctrl_c,
        )
        self._started.append(Running(process))
        return self._started[-1]

    def end_all(self) -> None:
        """End all processes that still run."""
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
            running.end()


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a hub that `cosmo hub` runs."""
    start = Starter(tmp_path_factory.mktemp("hub"), {})
    line = start("hub", "zmq://127.0.0.1:0").line()
    assert line.startswith("hub at zmq://127.0.0.1:")
    yield line.removeprefix("hub at ")
    start.end_all()


@pytest.fixture(scope="session")
def populated(bus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A namespace in which `cosmo run` hosts all the workers."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "workers.py").write_text(WORKERS)
    start = Starter(folder, {"COSMO_SYNAPSE": bus, "COSMO_NAMESPACE": "populated"})
    hosting = start("run", "workers:everything", "--engram", "sqlite://,notes")
    while hosting.line() != f"hosting Engram notes in populated at {bus}":
        pass
    yield "populated"
    status, _, errors = hosting.end(signal.SIGTERM)
    assert (status, errors[-1]) == (0, "shutting down; running TASKs may finish within 5 s")
    start.end_all()


NAMESPACES = count()


@pytest.fixture
def cosmo(bus: str, tmp_path: Path) -> Iterator[Start]:
    """Start `cosmo` in a folder with `workers.py`, and in an empty namespace."""
    (tmp_path / "workers.py").write_text(WORKERS)
    start = Starter(tmp_path, {"COSMO_SYNAPSE": bus, "COSMO_NAMESPACE": f"own-{next(NAMESPACES)}"})
    yield start
    start.end_all()
