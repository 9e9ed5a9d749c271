"""Wrong or missing keys and credentials: the client gets an error in time, and no frame is delivered."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
import zmq

from cosmo_core import SynapseAuthError, connect_synapse
from cosmo_synapse_nats.testing import NatsServer
from cosmo_synapse_zmq import make_keys
from tests.faults.buses import ZmqHub
from tests.faults.conftest import nats_server
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AsyncExitStack
    from pathlib import Path

    from tests.faults.conftest import Record

REJECTED_S: Final = 2.0


class SecuredHub:
    """A hub with keys, and one accepted peer that records the frames it receives."""

    def __init__(self, hub: ZmqHub, keys: Path) -> None:
        self.hub = hub
        self.keys = keys
        self.frames: list[bytes] = []

    def options(self, *, mine: str = "known", hub: str = "hub") -> dict[str, Any]:
        """Return the options with a peer's key and the hub's key."""
        return {
            "key_file": self.keys / "all" / f"{mine}.key_secret",
            "server_key": self.keys / "all" / f"{hub}.key",
        }


@pytest.fixture
async def secured(tmp_path: Path, stack: AsyncExitStack) -> SecuredHub:
    clients = tmp_path / "clients"
    clients.mkdir()
    for name in ("hub", "known", "unknown"):
        make_keys(tmp_path / "all", name)
    (clients / "known.key").write_bytes((tmp_path / "all" / "known.key").read_bytes())
    key_file = str(tmp_path / "all" / "hub.key_secret")
    hub = ZmqHub(options=("--key-file", key_file, "--clients", str(clients)))
    await hub.restart()
    stack.push_async_callback(hub.kill)
    secured = SecuredHub(hub, tmp_path)
    inside = await connect_synapse(hub.url, **secured.options())
    stack.push_async_callback(inside.close)
    await inside.subscribe("secrets", secured.frames.append)
    return secured


async def test_a_peer_with_the_right_key_is_accepted(secured: SecuredHub, stack: AsyncExitStack) -> None:
    peer = await connect_synapse(secured.hub.url, **secured.options())
    stack.push_async_callback(peer.close)
    await peer.publish("secrets", b"hello")
    await wait_until(lambda: secured.frames == [b"hello"])


@pytest.mark.parametrize("wrong", [{"mine": "unknown"}, {"hub": "unknown"}, None], ids=str)
async def test_a_wrong_or_missing_key_is_rejected_within_two_seconds(
    secured: SecuredHub, record: Record, wrong: dict[str, str] | None
) -> None:
    options = {} if wrong is None else secured.options(**wrong)
    started = time.monotonic()
    with pytest.raises(SynapseAuthError):
        await connect_synapse(secured.hub.url, **options)
    delay = time.monotonic() - started
    record("SynapseAuthError after, s", delay)
    assert delay <= REJECTED_S


async def test_no_frame_of_a_rejected_peer_is_delivered_in_ten_seconds(
    secured: SecuredHub, rejected_sockets: list[zmq.Socket[bytes]]
) -> None:
    for socket in rejected_sockets:
        socket.connect(secured.hub.url.replace("zmq://", "tcp://"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for socket in rejected_sockets:
            for parts in ([b"secrets", b"x"], [b"", b"secrets", b"x"]):
                with suppress(zmq.Again):
                    socket.send_multipart(parts, zmq.NOBLOCK)
        await asyncio.sleep(0.1)
    assert secured.frames == []


@pytest.fixture
def rejected_sockets() -> Iterator[list[zmq.Socket[bytes]]]:
    """A socket without a key, and one with an unknown key."""
    with zmq.Context() as context:
        sockets = [context.socket(kind) for kind in (zmq.DEALER, zmq.DEALER)]
        public, secret = zmq.curve_keypair()
        sockets[1].curve_publickey, sockets[1].curve_secretkey = public, secret
        sockets[1].curve_serverkey = zmq.curve_keypair()[0]
        yield sockets
        for socket in sockets:
            socket.close(0)


@pytest.fixture
async def nats_with_user(stack: AsyncExitStack) -> NatsServer:
    """A NATS server with one user."""
    return stack.enter_context(nats_server(config="authorization { user: known, password: secret }"))


@pytest.mark.parametrize("options", [{}, {"user": "known", "password": "wrong"}, {"token": "none"}], ids=str)
async def test_wrong_or_missing_nats_credentials_are_rejected_within_two_seconds(
    nats_with_user: NatsServer, record: Record, options: dict[str, str]
) -> None:
    started = time.monotonic()
    with pytest.raises(SynapseAuthError) as raised:
        await connect_synapse(nats_with_user.url, **options)
    delay = time.monotonic() - started
    record("SynapseAuthError after, s", delay)
    assert delay <= REJECTED_S
    assert "wrong" not in str(raised.value).split()
