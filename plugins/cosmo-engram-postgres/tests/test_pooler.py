"""PgBouncer between the Engram and the server."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.connections import Connections
from cosmo_engram_postgres.dsn import Dsn
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]
    Hold = Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[None]]]]

IGNORED = (
    "search_path, default_transaction_isolation, jit, statement_timeout, idle_in_transaction_session_timeout"
)
MODES = ("session", "transaction", "session, settings ignored", "transaction, settings ignored")
SETTINGS = "SELECT concat_ws(' ', current_setting('search_path'), current_setting('statement_timeout'))"

CONFIG = """
[databases]
postgres = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
default_pool_size = {size}
pool_mode = {mode}
{more}
"""


@pytest.fixture(params=MODES)
def pooled(request: pytest.FixtureRequest, trusted: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """The DSN of a PgBouncer in front of a server."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer not found: apt install pgbouncer")
    mode, _, ignored = request.param.partition(", ")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = trusted.home / f"pgbouncer-{port}"
    folder.mkdir()
    (folder / "users").write_text('"postgres" ""\n')
    # In session mode, each client needs a connection to the server. Otherwise they share a few.
    size = 3 if mode == "transaction" else 30
    more = f"ignore_startup_parameters = {IGNORED}" if ignored else ""
    config = CONFIG.format(server=trusted.port, port=port, size=size, folder=folder, mode=mode, more=more)
    (folder / "ini").write_text(config)
    # It refuses to run as root, as the server does.
    owner = trusted.home.stat()
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    account: dict[str, Any] = {"user": pwd.getpwuid(owner.st_uid).pw_name} if os.geteuid() == 0 else {}
    process = subprocess.Popen(  # noqa: S603
        [program, folder / "ini"], cwd="/", stderr=subprocess.DEVNULL, **account
    )
    yield trusted.dsn.replace(str(trusted.port), str(port))
    process.terminate()
    process.wait(10)


@pytest.fixture
async def engrams(pooled: str, trusted: PostgresServer, schema: str, open: Open) -> list[PostgresEngram]:
    """Two Engrams on one schema, through PgBouncer."""
    return [await open(trusted, dsn=pooled, schema=schema, max_size=8) for _ in range(2)]


async def test_calls_of_all_kinds_work_through_a_pooler(
    engrams: list[PostgresEngram], write: MakeWrite
) -> None:
    one, other = engrams
    await one.imprint(
        write("add", {"id": "e", "text": "bus stop", "tags": ["t"], "embedding": [1.0, 2.0]}, "k")
    )
    merges = [write("merge", {"seen": [number]}, "k", trace_id="trc_1") for number in range(60)]
    await asyncio.gather(*(engrams[number % 2].imprint(merge) for number, merge in enumerate(merges)))
    for query in ({}, {"id": "e"}, {"tags": ["t"]}, {"text": "bus"}, {"vector": [1.0, 2.0]}):
        (found,) = (await other.recall(Query.parse(query))).found
        assert found.id == "e"
    assert await other.roll_back("trc_1") == 60
    await one.commit("trc_1")
    assert (await one.imprint(write("upsert", {}, "k"))).version == 2


async def test_cancelled_call_is_not_done_through_a_pooler(
    engrams: list[PostgresEngram], trusted: PostgresServer, schema: str, write: MakeWrite, hold: Hold
) -> None:
    engram = engrams[0]
    stuck = write("add", {"id": "e"})
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        call = asyncio.create_task(engram.imprint(stuck))
        await until_waiting(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until_waiting(0)
    assert (await engram.recall(Query.parse({}))).found == []
    assert (await engram.imprint(stuck)).id == "e"


async def test_other_clients_of_the_pooler_keep_their_settings(
    engrams: list[PostgresEngram], trusted: PostgresServer, pooled: str, write: MakeWrite
) -> None:
    await asyncio.gather(*(engrams[0].imprint(write("append")) for _ in range(20)))
    direct, *others = [
        await asyncpg.connect(dsn, statement_cache_size=0) for dsn in (trusted.dsn, pooled, pooled, pooled)
    ]
    try:
        shown = {await other.fetchval(SETTINGS) for other in others}
        assert shown == {await direct.fetchval(SETTINGS)}
    finally:
        for connection in (direct, *others):
            await connection.close()


async def test_direct_connection_is_not_taken_for_a_pooler(trusted: PostgresServer) -> None:
    connections = Connections(Dsn(trusted.dsn), application="direct", least=1, most=1)

    async def settings(connection: Any) -> Any:
        names = "current_setting('search_path'), current_setting('jit'), current_setting('application_name')"
        return tuple(await connection.fetchrow(f"SELECT {names}")), connection.is_in_transaction()

    assert await connections.run(settings) == (("pg_catalog", "off", "direct"), False)
    assert await connections.run(settings, in_transaction=True) == (("pg_catalog", "off", "direct"), True)
    await connections.close()
