"""Who has no key, or a wrong one, gets nowhere, and our own client says so."""

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
from tests.faults.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AsyncExitStack
    from pathlib import Path

    from tests.faults.conftest import Record

TOLD_S: Final = 2.0


class Guarded:
    """A hub that lets in who has the right key, and one program that has it and notes what reaches it."""

    def __init__(self, hub: ZmqHub, keys: Path) -> None:
        self.hub = hub
        self.keys = keys
        self.frames: list[bytes] = []

    def options(self, *, mine: str = "known", hub: str = "hub") -> dict[str, Any]:
        """Return how a program says who it is, and whom it trusts."""
        return {
            "key_file": self.keys / "all" / f"{mine}.key_secret",
            "server_key": self.keys / "all" / f"{hub}.key",
        }


@pytest.fixture
async def guarded(tmp_path: Path, stack: AsyncExitStack) -> Guarded:
    clients = tmp_path / "clients"
    clients.mkdir()
    for name in ("hub", "known", "stranger"):
        make_keys(tmp_path / "all", name)
    (clients / "known.key").write_bytes((tmp_path / "all" / "known.key").read_bytes())
    key_file = str(tmp_path / "all" / "hub.key_secret")
    hub = ZmqHub(options=("--key-file", key_file, "--clients", str(clients)))
    await hub.restart()
    stack.push_async_callback(hub.kill)
    guarded = Guarded(hub, tmp_path)
    inside = await connect_synapse(hub.url, **guarded.options())
    stack.push_async_callback(inside.close)
    await inside.subscribe("secrets", guarded.frames.append)
    return guarded


async def test_who_has_the_key_is_let_in(guarded: Guarded, stack: AsyncExitStack) -> None:
    peer = await connect_synapse(guarded.hub.url, **guarded.options())
    stack.push_async_callback(peer.close)
    await peer.publish("secrets", b"hello")
    await until(lambda: guarded.frames == [b"hello"])


@pytest.mark.parametrize("wrong", [{"mine": "stranger"}, {"hub": "stranger"}, None], ids=str)
async def test_a_wrong_key_or_none_is_told_within_two_seconds(
    guarded: Guarded, record: Record, wrong: dict[str, str] | None
) -> None:
    options = {} if wrong is None else guarded.options(**wrong)
    began = time.monotonic()
    with pytest.raises(SynapseAuthError):
        await connect_synapse(guarded.hub.url, **options)
    told = time.monotonic() - began
    record("SynapseAuthError after, s", told)
    assert told <= TOLD_S


async def test_no_frame_of_a_stranger_reaches_anybody_in_ten_seconds(
    guarded: Guarded, strangers: list[zmq.Socket[bytes]]
) -> None:
    for stranger in strangers:
        stranger.connect(guarded.hub.url.replace("zmq://", "tcp://"))
    until_then = time.monotonic() + 10
    while time.monotonic() < until_then:
        for stranger in strangers:
            for parts in ([b"secrets", b"x"], [b"", b"secrets", b"x"]):
                with suppress(zmq.Again):
                    stranger.send_multipart(parts, zmq.NOBLOCK)
        await asyncio.sleep(0.1)
    assert guarded.frames == []


@pytest.fixture
def strangers() -> Iterator[list[zmq.Socket[bytes]]]:
    """Sockets that have no key, and one whose key nobody knows."""
    with zmq.Context() as context:
        sockets = [context.socket(kind) for kind in (zmq.DEALER, zmq.DEALER)]
        public, secret = zmq.curve_keypair()
        sockets[1].curve_publickey, sockets[1].curve_secretkey = public, secret
        sockets[1].curve_serverkey = zmq.curve_keypair()[0]
        yield sockets
        for socket in sockets:
            socket.close(0)


@pytest.fixture
async def locked(stack: AsyncExitStack) -> NatsServer:
    """A NATS server that knows one user."""
    return stack.enter_context(nats_server(config="authorization { user: known, password: secret }"))


@pytest.mark.parametrize("options", [{}, {"user": "known", "password": "wrong"}, {"token": "none"}], ids=str)
async def test_nats_credentials_that_are_wrong_or_missing_are_told_within_two_seconds(
    locked: NatsServer, record: Record, options: dict[str, str]
) -> None:
    began = time.monotonic()
    with pytest.raises(SynapseAuthError) as raised:
        await connect_synapse(locked.url, **options)
    told = time.monotonic() - began
    record("SynapseAuthError after, s", told)
    assert told <= TOLD_S
    assert "wrong" not in str(raised.value).split()
