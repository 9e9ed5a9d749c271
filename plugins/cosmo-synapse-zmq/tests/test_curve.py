"""CURVE keys: a peer with the right keys is accepted, and any other is rejected."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
import zmq.auth

from cosmo_core import SynapseAuthError
from cosmo_synapse_zmq import HubKeys, make_keys, wire

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub, StartHub

REJECTED_S = 2.0
ATTEMPTS = 5


class Keys:
    """The keys of a hub, of an accepted peer, and of an unknown peer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("hub", "known", "unknown"):
            make_keys(folder, name)
        (folder / "clients").mkdir()
        shutil.copy(folder / "known.key", folder / "clients")

    def options(self, mine: str = "known", hub: str = "hub") -> dict[str, str]:
        return {
            "key_file": str(self.folder / f"{mine}.key_secret"),
            "server_key": str(self.folder / f"{hub}.key"),
        }

    def on_socket(self, mine: str, hub: str) -> dict[str, bytes]:
        public, secret = zmq.auth.load_certificate(self.folder / f"{mine}.key_secret")
        assert secret is not None
        server, _ = zmq.auth.load_certificate(self.folder / f"{hub}.key")
        return {"curve_publickey": public, "curve_secretkey": secret, "curve_serverkey": server}

    def secrets(self) -> list[str]:
        files = self.folder.glob("*.key_secret")
        return [(zmq.auth.load_certificate(file)[1] or b"").decode() for file in files]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
async def secured(start_hub: StartHub, keys: Keys) -> RunningHub:
    loaded = HubKeys.load(keys.folder / "hub.key_secret", keys.folder / "clients")
    return await start_hub("zmq://127.0.0.1:0", keys=loaded)


async def test_peers_with_the_right_keys_reach_each_other(
    secured: RunningHub, keys: Keys, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other = await connect(secured.url, **keys.options()), await connect(secured.url, **keys.options())
    got = recorder()
    await other.subscribe("a", got)
    await one.publish("a", b"x")
    one.publish_from_thread("a", b"y")
    assert await got.until(2) == [b"x", b"y"]


@pytest.mark.parametrize("wrong", [{}, {"mine": "unknown"}, {"hub": "unknown"}], ids=["none", "mine", "hub"])
async def test_a_peer_with_wrong_keys_is_rejected_within_two_seconds(
    secured: RunningHub, keys: Keys, connect: Connect, wrong: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    options = keys.options(**wrong) if wrong else {}
    started = time.monotonic()
    with pytest.raises(SynapseAuthError) as caught:
        await connect(secured.url, **options)
    assert time.monotonic() - started < REJECTED_S
    assert secured.url in str(caught.value)
    for secret in keys.secrets():
        assert secret not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    "wrong", [None, ("unknown", "hub"), ("known", "unknown")], ids=["none", "unknown", "hub"]
)
async def test_no_frame_of_a_rejected_peer_is_delivered(
    secured: RunningHub,
    keys: Keys,
    connect: Connect,
    recorder: Callable[[], Recorder],
    raw_peer: Callable[..., RawPeer],
    wrong: tuple[str, str] | None,
) -> None:
    watcher, got = await connect(secured.url, **keys.options()), recorder()
    await watcher.subscribe(">", got)
    attackers = [raw_peer(secured.url, **(keys.on_socket(*wrong) if wrong else {})) for _ in range(ATTEMPTS)]
    for one in attackers:
        # A peer that was already rejected cannot send.
        with suppress(zmq.Again):
            for number in range(200):
                await one.socket.send(wire.encode(wire.Datagram("a", b"%d" % number)), zmq.NOBLOCK)
    for one in attackers:
        await one.wait_disconnected()
    await watcher.publish("a", b"accepted")
    assert await got.until(1) == [b"accepted"]
    assert secured.hub.rejected == 0


async def test_a_peer_that_is_rejected_for_a_while_fails_at_once_and_connects_again(
    start_hub: StartHub, keys: Keys, connect: Connect, recorder: Callable[[], Recorder], eventually: Any
) -> None:
    clients, mine = keys.folder / "clients", keys.folder / "clients" / "known.key"

    def loaded() -> HubKeys:
        return HubKeys.load(keys.folder / "hub.key_secret", clients)

    first = await start_hub("zmq://127.0.0.1:0", keys=loaded())
    synapse, got = await connect(first.url, **keys.options()), recorder()
    await synapse.subscribe("a", got)
    await first.stop()
    mine.rename(keys.folder / "known.key.removed")
    shutil.copy(keys.folder / "unknown.key", clients)
    second = await start_hub(first.url, keys=loaded())

    async def rejected() -> None:
        while True:
            await synapse.publish("a", b"rejected or kept")
            await asyncio.sleep(0.01)

    with pytest.raises(SynapseAuthError, match="does not accept this program"):
        await asyncio.wait_for(rejected(), 10)
    for action in (synapse.subscribe("b", got), synapse.dead_letters(), synapse.publish("a", b"")):
        with pytest.raises(SynapseAuthError, match="does not accept this program"):
            await action
    await second.stop()
    (keys.folder / "known.key.removed").rename(mine)
    await start_hub(first.url, keys=loaded())
    await eventually(lambda: got.frames)
    await synapse.subscribe("b", got)
    await synapse.publish("b", b"accepted")
    await eventually(lambda: got.frames[-1] == b"accepted")
