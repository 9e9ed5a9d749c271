"""The spinner of slow steps, and the buffer of `cosmo watch`."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable

import pytest

from cosmo_core import MalformedSignalError, Signal, connect_synapse, encode
from cosmo_core.protocol.subjects import Subjects
from cosmo_core_cli import progress, watch
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.watch import Feed, open_feed


class Terminal(io.StringIO):
    """A terminal that sets an event when the text of the spinner is written to it."""

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
    """Return a function that makes stderr a terminal; pytest replaces stderr after the fixtures."""

    def make() -> Terminal:
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setenv("TERM", "xterm")
        return shown

    return make


def test_slow_step_shows_a_spinner_on_a_terminal(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY_S", 0.01)
    shown = terminal()
    with Progress("counting") as counting:
        assert shown.written.wait(10)
        counting.stop()
        before = shown.getvalue()
    assert shown.getvalue() == before


def test_quick_step_shows_no_spinner(terminal: Callable[[], Terminal]) -> None:
    shown = terminal()
    with Progress("counting"):
        pass
    assert shown.getvalue() == ""


def test_spinner_is_off_without_a_terminal() -> None:
    before = threading.active_count()
    with Progress("counting"):
        assert threading.active_count() == before


async def test_full_buffer_drops_and_counts_the_oldest_frame(
    task: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_BUFFERED", 2)
    feed = Feed()
    for frame in (b"lost", b"{", encode(task)):
        feed.push(frame)
    assert feed.dropped == 1
    assert isinstance(await anext(feed), MalformedSignalError)
    assert await anext(feed) == task


async def test_feed_yields_the_signals_of_its_namespace(task: Signal) -> None:
    synapse = await connect_synapse("memory://")
    async with open_feed(synapse, "mine") as feed:
        for namespace in ("other", "mine"):
            await synapse.publish(Subjects(namespace).broadcast(task.type), encode(task))
        assert await anext(feed) == task
    await synapse.close()
