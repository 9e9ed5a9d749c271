"""What is shown while something takes long, and what a slow reader misses."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable

import pytest

from cosmo_core import MalformedSignalError, Signal, connect_synapse, encode
from cosmo_core.protocol.subjects import Subjects
from cosmo_core_cli import feed as feeds
from cosmo_core_cli import progress
from cosmo_core_cli.feed import Feed, feed
from cosmo_core_cli.progress import Progress


class Terminal(io.StringIO):
    """A terminal that tells when something is written on it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "counting" in text:
            self.written.set()
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Make stderr a terminal; in the test, since pytest sets stderr anew between a fixture and its test."""

    def make() -> Terminal:
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setenv("TERM", "xterm")
        return shown

    return make


def test_a_terminal_shows_what_takes_long(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.01)
    shown = terminal()
    with Progress("counting") as counting:
        assert shown.written.wait(10)
        counting.stop()
        before = shown.getvalue()
    assert shown.getvalue() == before


def test_what_is_quick_shows_nothing(terminal: Callable[[], Terminal]) -> None:
    shown = terminal()
    with Progress("counting"):
        pass
    assert shown.getvalue() == ""


def test_what_is_no_terminal_is_shown_nothing() -> None:
    before = threading.active_count()
    with Progress("counting"):
        assert threading.active_count() == before


async def test_a_slow_reader_loses_the_oldest_and_is_told(
    task: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MAX_WAITING", 2)
    passing = Feed()
    for frame in (b"lost", b"{", encode(task)):
        passing.take(frame)
    assert passing.dropped == 1
    assert isinstance(await anext(passing), MalformedSignalError)
    assert await anext(passing) == task


async def test_a_feed_brings_what_passes_in_its_namespace(task: Signal) -> None:
    synapse = await connect_synapse("memory://")
    async with feed(synapse, "mine") as passing:
        for namespace in ("other", "mine"):
            await synapse.publish(Subjects(namespace).everyone(task.type), encode(task))
        assert await anext(passing) == task
    await synapse.close()
