"""The conformance kit, run on the ZeroMQ Synapse."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import zmq

from cosmo_core import Synapse
from cosmo_synapse_zmq import Address, Hub, ZmqSynapse, from_url, wire
from cosmo_synapse_zmq.synapse import WINDOW
from cosmo_testing import SynapseConformance, TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The long checks take longer in proportion to the scale.
pytestmark = pytest.mark.timeout(120 * SynapseConformance.scale)


class TestZmq(SynapseConformance):
    # Frames on their way to the hub count, too.
    capacity = WINDOW + 300

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._address = Address.parse("zmq://127.0.0.1:0")
        self._proxy_of: dict[Synapse, TcpProxy] = {}
        await self._start()
        try:
            async with AsyncExitStack() as self._proxies:
                self._unused = [await self._new_proxy() for _ in range(3)]
                yield
        finally:
            await self._stop()

    async def _start(self) -> None:
        listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        hub = Hub(self._address, max_waiting=16, lease_s=1.0)
        self._hub = asyncio.create_task(hub.serve(listening))
        self._address = await listening
        self._port = int(str(self._address).rpartition(":")[2])

    async def _new_proxy(self) -> TcpProxy:
        return await self._proxies.enter_async_context(TcpProxy("127.0.0.1", self._port))

    async def _stop(self) -> None:
        self._hub.cancel()
        await asyncio.wait((self._hub,))

    async def connect(self) -> ZmqSynapse:
        proxy = self._unused.pop() if self._unused else await self._new_proxy()
        synapse = from_url(f"zmq://127.0.0.1:{proxy.own_port}", max_in_flight=256, max_pending=8, lease_s=1.0)
        await synapse.connect()
        self._proxy_of[synapse] = proxy
        return synapse

    async def sever(self, synapse: Synapse) -> None:
        self._proxy_of[synapse].cut()

    @asynccontextmanager
    async def congest(self, synapse: Synapse) -> AsyncIterator[None]:
        with self._proxy_of[synapse].stalled():
            yield

    async def inject(self, subject: str, raw: bytes) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(self._address.endpoint)
        socket.send(wire.encode(wire.Datagram(subject, raw)))
        await asyncio.to_thread(context.destroy, 1000)

    async def restart(self) -> None:
        await self._stop()
        await self._start()
