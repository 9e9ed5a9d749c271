"""When a peer sends its commands: at once, or together with others of the same turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import zmq.asyncio

from cosmo_core import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_core.contracts.delivery import DONE
from cosmo_synapse_zmq import ZmqSynapse, from_url, wire
from cosmo_synapse_zmq.synapse import WINDOW


class Wire:
    """The hub's side of a connection, and a Synapse on the other side."""

    def __init__(self, socket: zmq.asyncio.Socket, synapse: ZmqSynapse) -> None:
        self.synapse = synapse
        self._socket = socket
        self._route = b""
        self._number = 0

    async def welcome(self) -> None:
        self._route, raw = await self._socket.recv_multipart()
        assert isinstance(wire.decode_for_hub(raw), wire.Hello)
        await self.send(wire.Welcome(resumed=False, received=0, max_frame=1000))

    async def send(self, message: wire.Message) -> None:
        await self._socket.send_multipart([self._route, wire.encode(message)])

    async def turn(self, *batches: int) -> None:
        """Publish as many frames as said in each of some turns of the event loop."""
        for count in batches:
            for _ in range(count):
                await self.synapse.publish("a", b"x")
            await asyncio.sleep(0)

    async def receive(self, frames: int) -> list[int]:
        """Return how many commands each message has, of those with the next ``frames`` frames."""
        sizes: list[int] = []
        async with asyncio.timeout(10):
            while sum(sizes) < frames:
                _, raw = await self._socket.recv_multipart()
                message = wire.decode_for_hub(raw)
                if isinstance(message, wire.PeerData):
                    sizes.append(len(message.commands))
        return sizes


@pytest.fixture
async def peer() -> AsyncIterator[Wire]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    synapse = from_url(f"zmq://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    connecting = asyncio.create_task(synapse.connect())
    peer = Wire(socket, synapse)
    try:
        await peer.welcome()
        await connecting
        yield peer
    finally:
        await synapse.close()
        context.destroy(0)


async def test_first_frame_is_sent_at_once_and_those_after_it_together(peer: Wire) -> None:
    await peer.turn(5)
    assert await peer.receive(5) == [1, 4]


async def test_busy_peer_sends_the_frames_of_a_turn_together(peer: Wire) -> None:
    await peer.turn(5, 5, 5)
    assert await peer.receive(15) == [1, 4, 5, 5]


async def test_busy_peer_sends_no_message_with_more_than_the_most_commands(peer: Wire) -> None:
    most = wire.MAX_COMMANDS
    await peer.turn(2, 2 * most, 2)
    assert await peer.receive(2 * most + 4) == [1, 1, 1, most, most - 1, 2]


async def test_peer_that_is_not_busy_any_more_sends_at_once_again(peer: Wire) -> None:
    await peer.turn(5, 1, 2)
    assert await peer.receive(8) == [1, 4, 1, 1, 1]


async def test_publishing_is_done_in_the_call_until_it_has_to_wait(peer: Wire) -> None:
    publish = peer.synapse.publish
    assert {publish("a", b"x") for _ in range(WINDOW)} == {DONE}
    waiting = asyncio.ensure_future(publish("a", b"last"))
    await asyncio.sleep(0)
    assert not waiting.done()
    sizes = await peer.receive(WINDOW)
    await peer.send(wire.Heartbeat(len(sizes)))
    async with asyncio.timeout(10):
        await waiting
    assert await peer.receive(1) == [1]


async def test_publishing_raises_when_it_is_awaited(peer: Wire) -> None:
    malformed, large = peer.synapse.publish("a.*", b"x"), peer.synapse.publish("a", 1001 * b"x")
    with pytest.raises(SynapseError, match=r"'a\.\*' is not a valid subject"):
        await malformed
    with pytest.raises(FrameTooLargeError, match="1001 bytes on a exceeds the limit of 1000 bytes"):
        await large
    await peer.synapse.close()
    closed = peer.synapse.publish("a", b"x")
    with pytest.raises(SynapseClosedError):
        await closed
