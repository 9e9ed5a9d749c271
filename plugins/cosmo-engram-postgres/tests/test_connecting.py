"""Connecting and closing: the schema that is created, connections that fail, and leaked connections."""

from __future__ import annotations

import asyncio
import errno
import socket
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_core.errors import EngramError
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Start = Callable[..., PostgresServer]
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]
    Hold = Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[None]]]]

SECRET = "s3cret/with@signs"


async def refused(dsn: str | None, **options: Any) -> EngramError:
    """Check that connecting fails within seconds without showing the password; return the error."""
    engram = PostgresEngram(**{"engram_id": "ctx", "dsn": dsn, **options})
    async with asyncio.timeout(15):
        with pytest.raises(EngramError) as caught:
            await engram.connect()
        await engram.close()
    shown = "".join(traceback.format_exception(caught.value)) + repr(engram)
    assert SECRET not in shown
    assert "s3cret" not in shown
    return caught.value


async def test_missing_server_fails_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await refused(f"postgresql://me:s3cret@127.0.0.1:{port}/db")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", True)
    assert f"127.0.0.1:{port}/db" in str(error)


async def test_too_many_open_files_are_named(
    trusted: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("asyncio.selector_events.socket.socket", full)
    monkeypatch.setattr("asyncio.base_events.socket.socket", full)
    monkeypatch.setattr("cosmo_engram_postgres.calls.RETRY_S", 0.0)
    error = await refused(trusted.dsn)
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", True)
    assert "raise their limit (ulimit -n)" in str(error)


async def test_silent_server_fails_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_engram_postgres.connections.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = await refused(f"postgresql://me:s3cret@127.0.0.1:{mute.getsockname()[1]}/db")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", True)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:s3cret/x@127.0.0.1/db",
        "postgresql://me:s3cret#x@127.0.0.1/db",
        "postgresql://me:s3cret?x@127.0.0.1/db",
        "postgresql://me@127.0.0.1:s3cret/db",
        "mysql://me:s3cret@127.0.0.1/db",
    ],
)
async def test_invalid_dsn_is_refused_without_quoting_it(dsn: str) -> None:
    error = await refused(dsn)
    assert error.code == "ENGRAM_UNAVAILABLE"


async def test_wrong_password_is_reported_and_not_shown(start: Start) -> None:
    server = start(password="right", fsync=False)
    error = await refused(server.dsn_of("postgres", password="s3cret%2Fwith%40signs"))
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "password" in str(error)


async def test_missing_database_is_reported(trusted: PostgresServer) -> None:
    error = await refused(trusted.dsn_of("postgres", database="nowhere"))
    assert "no such database" in str(error)


async def test_database_with_another_encoding_is_refused(trusted: PostgresServer, execute: Execute) -> None:
    await execute(
        trusted.dsn, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    error = await refused(trusted.dsn_of("postgres", database="latin"))
    assert error.code == "ENGRAM_UNSUPPORTED"
    assert "ENCODING 'UTF8'" in str(error)


async def test_user_without_create_privilege_needs_a_schema_that_it_owns(
    trusted: PostgresServer, schema: str, open: Open, execute: Execute, write: MakeWrite
) -> None:
    await execute(trusted.dsn, "CREATE ROLE poor LOGIN")
    dsn = trusted.dsn_of("poor", database="postgres")
    error = await refused(dsn, schema=schema)
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "CREATE on the database" in str(error)
    await execute(trusted.dsn, f"CREATE SCHEMA {schema} AUTHORIZATION poor")
    engram = await open(trusted, dsn=dsn, schema=schema)
    assert (await engram.imprint(write("upsert", key="k"))).version == 1


async def test_schema_of_another_engram_is_refused(trusted: PostgresServer, schema: str, open: Open) -> None:
    await open(trusted, schema=schema)
    error = await refused(trusted.dsn, schema=schema, engram_id="other")
    assert error.code == "ENGRAM_CONFLICT"
    assert "belongs to Engram 'ctx'" in str(error)


async def test_schema_with_other_tables_is_refused_and_not_changed(
    trusted: PostgresServer, schema: str, execute: Execute
) -> None:
    await execute(trusted.dsn, f"CREATE SCHEMA {schema}")
    await execute(trusted.dsn, f"CREATE TABLE {schema}.entries (id text)")
    error = await refused(trusted.dsn, schema=schema)
    assert error.code == "ENGRAM_CONFLICT"
    tables = await execute(trusted.dsn, "SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    assert [row[0] for row in tables] == ["entries"]


async def test_newer_schema_is_refused(
    trusted: PostgresServer, schema: str, open: Open, execute: Execute
) -> None:
    await open(trusted, schema=schema)
    await execute(trusted.dsn, f"UPDATE {schema}.meta SET version = version + 1")  # noqa: S608
    error = await refused(trusted.dsn, schema=schema)
    assert error.code == "ENGRAM_UNSUPPORTED"
    assert "newer cosmo-engram-postgres" in str(error)


@pytest.mark.parametrize("version", [0, -1])
async def test_schema_of_an_unknown_version_is_refused(
    trusted: PostgresServer, schema: str, open: Open, execute: Execute, version: int
) -> None:
    await open(trusted, schema=schema)
    await execute(trusted.dsn, f"UPDATE {schema}.meta SET version = {version}")  # noqa: S608
    error = await refused(trusted.dsn, schema=schema)
    assert (error.code, error.recoverable) == ("ENGRAM_UNSUPPORTED", False)
    assert f"has version {version}" in str(error)
    assert "use another schema" in str(error)


async def test_concurrent_hosts_create_one_schema(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engrams = await asyncio.gather(*(open(trusted, schema=schema) for _ in range(8)))
    receipts = [await engram.imprint(write("upsert", key="k")) for engram in engrams]
    assert [receipt.version for receipt in receipts] == list(range(1, 9))


async def test_environment_names_the_database_without_a_dsn(
    trusted: PostgresServer, schema: str, open: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HOST": "127.0.0.1", "PORT": str(trusted.port), "USER": "postgres"}.items():
        monkeypatch.setenv(f"PG{name}", value)
    engram = await open(trusted, dsn=None, schema=schema)
    assert (await engram.recall(Query.parse({}))).found == []


@pytest.fixture
def until_connections(trusted: PostgresServer, execute: Execute) -> Callable[[int], Awaitable[None]]:
    """Wait until the Engram ``counted`` has so many connections."""

    async def until(count: int) -> None:
        connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cosmo-engram counted'"
        async with asyncio.timeout(10):
            while (await execute(trusted.dsn, connected))[0][0] != count:
                pass

    return until


async def test_connection_that_is_lost_while_it_opens_is_closed(
    trusted: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    async def lose(connection: Any) -> bool:
        opened.append(connection)
        raise OSError(errno.ECONNRESET, "lost")

    monkeypatch.setattr("cosmo_engram_postgres.connections._is_direct", lose)
    monkeypatch.setattr("cosmo_engram_postgres.calls.RETRY_S", 0.0)
    await refused(trusted.dsn)
    assert opened
    assert all(connection.is_closed() for connection in opened)


async def test_close_leaves_no_connection(
    trusted: PostgresServer,
    schema: str,
    open: Open,
    until_connections: Callable[[int], Awaitable[None]],
    write: MakeWrite,
) -> None:
    engram = await open(trusted, schema=schema, engram_id="counted", max_size=5)
    await until_connections(1)
    await asyncio.gather(*(engram.imprint(write("append")) for _ in range(50)))
    await until_connections(5)
    await engram.close()
    await until_connections(0)


async def test_idle_connections_are_closed_down_to_min_size(
    trusted: PostgresServer,
    schema: str,
    open: Open,
    until_connections: Callable[[int], Awaitable[None]],
    write: MakeWrite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cosmo_engram_postgres.connections.IDLE_S", 0.1)
    engram = await open(trusted, schema=schema, engram_id="counted", min_size=2, max_size=5)
    await asyncio.gather(*(engram.imprint(write("append")) for _ in range(50)))
    await until_connections(2)
    receipts = await asyncio.gather(*(engram.imprint(write("append")) for _ in range(50)))
    assert {receipt.version for receipt in receipts} == {1}


async def test_close_waits_for_running_calls(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema, max_size=2)
    calls = [asyncio.create_task(engram.imprint(write("append"))) for _ in range(100)]
    await asyncio.sleep(0)
    await engram.close()
    assert {(await call).version for call in calls} == {1}
    with pytest.raises(EngramError, match="is closed") as caught:
        await engram.imprint(write("append"))
    assert caught.value.code == "ENGRAM_UNAVAILABLE"
    await engram.connect()
    assert len((await engram.recall(Query.parse({"limit": 1000}))).found) == 100


async def test_close_cuts_off_a_call_that_hangs(
    trusted: PostgresServer,
    schema: str,
    open: Open,
    hold: Hold,
    write: MakeWrite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cosmo_engram_postgres.calls.CLOSE_S", 0.2)
    engram = await open(trusted, schema=schema)
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        call = asyncio.create_task(engram.imprint(write("append")))
        await until_waiting(1)
        async with asyncio.timeout(10):
            await engram.close()
            with pytest.raises(EngramError, match="is closed"):
                await call
