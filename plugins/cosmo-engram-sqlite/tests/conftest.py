"""Temporary stores, writes for them, and child processes that use them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cosmo_core.contracts.engram import Write
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_sqlite import SqliteEngram

Open = Callable[..., Awaitable[SqliteEngram]]
Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a temporary store."""
    return tmp_path / "store.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Open]:
    """Open Engrams on the store at ``path``; they are closed after the test."""
    engrams: list[SqliteEngram] = []

    async def open_store(**options: Any) -> SqliteEngram:
        engram = SqliteEngram(**{"engram_id": "ctx", "path": path, **options})
        engrams.append(engram)
        await engram.connect()
        return engram

    yield open_store
    for engram in engrams:
        await engram.close()


@pytest.fixture
def write() -> Callable[..., Write]:
    """Make a write with a new id."""

    def make(op: str, entry: dict[str, Any], key: str | None = None, trace_id: str | None = None) -> Write:
        return Write.parse(op, entry, imprint_id=f"imp_{new_ulid()}", merge_key=key, trace_id=trace_id)

    return make


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Run ``child.py`` with these arguments; it is killed after the test."""
    children: list[Process] = []

    async def run(*arguments: object, under: tuple[str, ...] = ()) -> Process:
        script = Path(__file__).with_name("child.py")
        command = [*under, sys.executable, str(script), *map(str, arguments)]
        child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        children.append(child)
        return child

    yield run
    for child in children:
        if child.returncode is None:
            child.kill()
        # Reads the remaining output, so that the pipes are closed.
        await child.communicate()
