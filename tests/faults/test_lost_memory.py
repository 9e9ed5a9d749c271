"""The host of an Engram is killed while it writes: every acknowledged write is stored exactly once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Dendrite, EngramError
from cosmo_engram_postgres.testing import NEEDED, PostgresServer, find_postgres
from tests.faults.processes import FOLDER, Child

if TYPE_CHECKING:
    from tests.faults.buses import Bus
    from tests.faults.conftest import Record

WRITES = 10_000
AT_ONCE = 32
# Entries with the same tag: as many as one RECALL returns.
BATCH = 1_000

Host = Callable[[], Awaitable[Child]]


@pytest.fixture
async def host(bus: Bus, store: str) -> AsyncIterator[Host]:
    """Start a process that hosts the Engram; it is killed at the end of the test at the latest."""
    async with AsyncExitStack() as stack:

        async def host() -> Child:
            child = await Child.start(str(FOLDER / "engram_host.py"), bus.url, store)
            stack.push_async_callback(child.kill)
            await child.wait_for_line("^ready")
            return child

        yield host


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store: ``sqlite`` or ``postgres``."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'memory.db'}"
        return
    if find_postgres() is None and not os.environ.get("CI"):
        pytest.skip(NEEDED)
    with PostgresServer.start() as server:
        yield server.dsn


class Writer:
    """Writes entries, repeats each write until it is acknowledged, and counts.

    Attributes:
        acknowledged: How many writes were acknowledged.
        repeated: How many attempts had to be repeated.
    """

    def __init__(self, dendrite: Dendrite) -> None:
        self.acknowledged = 0
        self.repeated = 0
        self._dendrite = dendrite
        self._numbers = iter(range(WRITES))
        self._changed = asyncio.Event()

    async def write(self) -> None:
        """Write one entry after the other, until all are written."""
        for number in self._numbers:
            entry = {"number": number, "tags": [f"batch-{number // BATCH}"]}
            await self._write(op="append", entry=entry, imprint_id=f"write-{number}", timeout_s=2)
            self.acknowledged += 1
            self._changed.set()

    async def _write(self, **write: Any) -> None:
        while True:
            try:
                await self._dendrite.imprint("ctx", **write)
            except EngramError as error:
                if not error.recoverable:
                    raise
                # The write may have happened; its id makes it safe to repeat it.
                self.repeated += 1
            else:
                return

    async def until(self, acknowledged: int) -> None:
        """Wait until this many writes are acknowledged."""
        while self.acknowledged < acknowledged:
            self._changed.clear()
            await self._changed.wait()


@pytest.mark.parametrize(
    ("bus", "store"), [("zmq", "sqlite"), ("nats", "sqlite"), ("zmq", "postgres")], indirect=True
)
async def test_every_write_acknowledged_by_a_killed_host_is_stored_once(
    host: Host, orchestrator: Dendrite, record: Record
) -> None:
    child = await host()
    await orchestrator.wait_until_ready(engram="ctx")
    writer, started = Writer(orchestrator), time.monotonic()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(writer.write())
        for quarter in (1, 2, 3):
            await writer.until(quarter * WRITES // 4)
            await child.kill()
            child = await host()
    record("10,000 imprints, their host killed three times, s", time.monotonic() - started)
    record("attempts that had to be repeated", writer.repeated)
    found: list[int] = []
    for batch in range(WRITES // BATCH):
        query = {"tags": [f"batch-{batch}"], "limit": BATCH}
        result = await orchestrator.recall("ctx", query, timeout_s=30)
        assert not result.truncated
        found += [hit.entry["number"] for hit in result.hits]
    assert sorted(found) == list(range(WRITES))
