"""The conformance kit on the PostgreSQL Engram, with and without pgvector."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg
import pytest

from cosmo_engram_postgres import PostgresEngram
from cosmo_testing import EngramConformance, TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cosmo_core import Engram
    from cosmo_engram_postgres.testing import PostgresServer

# The long checks take longer in proportion to the scale.
pytestmark = pytest.mark.timeout(300 * EngramConformance.scale)

SECRET = "s3cret-of-the-conformance-kit"

_numbers = itertools.count()


class OnPostgres(EngramConformance):
    secrets = (SECRET,)
    __test__ = False

    server: ClassVar[PostgresServer]

    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        self._schema = f"store {next(_numbers)}"
        self._proxy_of: dict[Engram, TcpProxy] = {}
        async with AsyncExitStack() as self._proxies:
            # Opened before the Engrams, so that the kit does not count their sockets as leaks of an Engram.
            self._spare = [await self._new_proxy() for _ in range(3)]
            yield
        await self._execute(f'DROP SCHEMA IF EXISTS "{self._schema}" CASCADE')

    async def open(self, *, keeps_writes: int | None = None) -> PostgresEngram:
        options: dict[str, Any] = {} if keeps_writes is None else {"keeps_writes": keeps_writes}
        proxy = self._spare.pop() if self._spare else await self._new_proxy()
        dsn = f"postgresql://postgres:{SECRET}@127.0.0.1:{proxy.own_port}/postgres"
        engram = PostgresEngram(engram_id="ctx", dsn=dsn, schema=self._schema, max_size=2, **options)
        await engram.connect()
        self._proxy_of[engram] = proxy
        return engram

    async def break_connection(self, engram: Engram) -> None:
        self._proxy_of[engram].cut()

    async def damage(self) -> None:
        await self._execute(f'DROP SCHEMA "{self._schema}" CASCADE')

    async def _new_proxy(self) -> TcpProxy:
        return await self._proxies.enter_async_context(TcpProxy("127.0.0.1", self.server.port))

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.server.dsn)
        await connection.execute(sql)
        await connection.close()


class TestPlain(OnPostgres):
    __test__ = True

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _start(cls, trusted: PostgresServer) -> None:
        cls.server = trusted


class TestVector(OnPostgres):
    __test__ = True

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _start(cls, vectorial: PostgresServer) -> None:
        cls.server = vectorial
