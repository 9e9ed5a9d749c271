"""Work heartbeats of thousands of TASKs: in steps, between which the event loop turns."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any, cast

import pytest

from cosmo_core import Signal, SignalType
from cosmo_core.dendrite.hosting.host import PULSE_S, Host
from cosmo_core.dendrite.reliability.work_heartbeat import MAX_NAMED, WorkHeartbeat
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.protocol.signal import address
from cosmo_core.protocol.subjects import Subjects
from cosmo_testing import FakeClock


class ManyTasks:
    """A host with TASKs of several senders, which counts how many were looked at."""

    def __init__(self, count: int, senders: int) -> None:
        self.looked_at = 0
        self.all = [
            Signal.new(
                SignalType.TASK,
                {"input": {}},
                directed=address("n"),
                meta={"reply_to": f"inbox{number % senders}"},
            )
            for number in range(count)
        ]

    def tasks(self) -> Iterator[Signal]:
        for task in self.all:
            self.looked_at += 1
            yield task


class SendingLink:
    """A link that lists what was sent, with what the test counts at that moment."""

    def __init__(self, counts: Any) -> None:
        self.subjects = Subjects("space")
        self.in_middleware: dict[int, Signal] = {}
        self.sent: list[tuple[str, list[str], Any]] = []
        self._counts = counts

    async def send(self, subject: str, signal: Signal) -> None:
        self.sent.append((subject, signal.meta["tasks"], self._counts()))


@pytest.mark.clause("P-4.14")
@pytest.mark.parametrize("senders", [1, 3, 500])
async def test_heartbeats_of_thousands_of_tasks_are_sent_in_steps(senders: int) -> None:
    host = ManyTasks(3 * MAX_NAMED + 1, senders)
    turns = 0
    link = SendingLink(lambda: (turns, host.looked_at))
    heartbeat, clock = WorkHeartbeat(cast("Link", link), cast("Host", host), "dendrite"), FakeClock()
    running = asyncio.create_task(heartbeat.run(clock))
    expected = sum(-(-len(host.all[sender::senders]) // MAX_NAMED) for sender in range(senders))
    await asyncio.sleep(0)
    advancing = asyncio.create_task(clock.advance(PULSE_S))
    looked_at = [0]
    while len(link.sent) < expected:
        await asyncio.sleep(0)
        turns += 1
        looked_at.append(host.looked_at)
    running.cancel()
    await advancing
    # Of each sender: all its TASKs, each once.
    for sender in range(senders):
        subject = f"cosmonapse.space.HEARTBEAT.inbox.inbox{sender}"
        named = [id for each, ids, _ in link.sent if each == subject for id in ids]
        assert named == [task.id for task in host.all[sender::senders]]
    assert max(len(ids) for _, ids, _ in link.sent) <= MAX_NAMED
    # In each turn of the event loop: one Signal, and a limited number of TASKs.
    assert len({turn for _, _, (turn, _) in link.sent}) == len(link.sent)
    assert max(after - before for before, after in itertools.pairwise(looked_at)) <= MAX_NAMED
