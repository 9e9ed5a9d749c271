"""Where a hub is: which URLs are taken, and when keys are required."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosmo_core import SynapseError
from cosmo_synapse_zmq import Address, Hub, ZmqSynapse, from_url

if TYPE_CHECKING:
    from tests.conftest import Join, StartHub


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("zmq://127.0.0.1:7071", "tcp://127.0.0.1:7071"),
        ("zmq://127.0.0.1:7071/", "tcp://127.0.0.1:7071"),
        ("zmq://localhost:0", "tcp://localhost:0"),
        ("zmq://hub.example:65535", "tcp://hub.example:65535"),
        ("zmq://[::1]:7071", "tcp://[::1]:7071"),
        ("zmq+ipc:///run/cosmo.sock", "ipc:///run/cosmo.sock"),
        ("zmq+ipc://here/cosmo.sock", "ipc://here/cosmo.sock"),
        ("zmq+ipc:///run/cosmo.sock?hub=auto", "ipc:///run/cosmo.sock"),
    ],
)
def test_a_url_names_an_endpoint(url: str, endpoint: str) -> None:
    assert Address.parse(url).endpoint == endpoint


def test_an_address_reads_as_the_url_it_came_from() -> None:
    for url in ("zmq://127.0.0.1:7071", "zmq://[::1]:7071", "zmq+ipc:///run/cosmo.sock"):
        assert str(Address.parse(url)) == url


def test_only_hub_auto_asks_for_a_hub_to_be_carried() -> None:
    assert Address.parse("zmq+ipc:///run/cosmo.sock?hub=auto").carried
    assert not Address.parse("zmq+ipc:///run/cosmo.sock").carried
    assert Address.parse("zmq+ipc:///run/cosmo.sock?hub=auto").path == Path("/run/cosmo.sock")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "zmq://",
        "zmq://host",
        "zmq://:7071",
        "zmq://host:port",
        "zmq://host:65536",
        "zmq://host:-1",
        "zmq://host:7071/path",
        "zmq://host:7071#part",
        "zmq://host:7071?hub=auto",
        "zmq://host:7071?lease=3",
        "zmq://name@host:7071",
        "zmq://[::1",
        "zmq+ipc://",
        "zmq+ipc:///run/cosmo.sock?hub=yes",
        "zmq+ipc:///run/cosmo.sock?hub=",
        "zmq+ipc:///run/cosmo.sock?hub=auto&lease=3",
        "memory://here",
        "tcp://127.0.0.1:7071",
    ],
)
def test_what_names_no_hub_is_refused_and_the_error_says_what_to_write(url: str) -> None:
    with pytest.raises(SynapseError, match="zmq"):
        Address.parse(url)


PARTS = st.sampled_from(
    [
        "zmq",
        "zmq+ipc",
        ":",
        "//",
        "[",
        "]",
        "::1",
        "@",
        "?",
        "hub=auto",
        "#",
        "/",
        "%",
        "7",
        "99999",
        "a",
        "℀",
    ]
)


@given(st.text() | st.lists(PARTS).map("".join) | st.text().map("zmq://{}".format))
@example("zmq://[")
@example("zmq://℀:1")
def test_a_url_is_an_address_or_an_error_of_ours(url: str) -> None:
    try:
        address = Address.parse(url)
    except SynapseError:
        return
    assert address.endpoint.startswith(("tcp://", "ipc://"))
    assert (address.host is None) is not (address.path is None)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(SynapseError) as caught:
        Address.parse("zmq://name:hunter2@host:7071")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["zmq://127.0.0.1:1", "zmq://127.9.9.9:1", "zmq://[::1]:1", "zmq://localhost:1", "zmq+ipc:///run/a"],
)
def test_nobody_needs_keys_on_this_machine(url: str) -> None:
    address = Address.parse(url)
    assert address.is_local
    Hub(address)
    ZmqSynapse(address)


@pytest.mark.parametrize(
    "url",
    [
        "zmq://0.0.0.0:1",
        "zmq://*:1",
        "zmq://[::]:1",
        "zmq://10.0.0.1:1",
        "zmq://hub.example:1",
        "zmq://localhost.example:1",
        "zmq://127.0.0.1.example:1",
    ],
)
def test_keys_are_required_off_loopback_unless_insecure_is_asked_for(url: str) -> None:
    address = Address.parse(url)
    for refused in (lambda: Hub(address), lambda: ZmqSynapse(address), lambda: from_url(url)):
        with pytest.raises(SynapseError, match="insecure=True"):
            refused()
    Hub(address, insecure=True)
    from_url(url, insecure=True)


async def test_a_hub_and_its_peers_meet_over_ipv6(start_hub: StartHub, join: Join) -> None:
    try:
        server = await asyncio.start_server(lambda *_: None, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server.close()
    await server.wait_closed()
    running = await start_hub("zmq://[::1]:0")
    assert running.url.startswith("zmq://[::1]:")
    await join(running.url)


@pytest.mark.parametrize("url", ["zmq://*:7071", "zmq+ipc:///" + 200 * "a", "zmq://a b:7071"])
async def test_where_zeromq_cannot_connect_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(SynapseError):
        await from_url(url, insecure=True, connect_timeout_s=0.3).connect()


@pytest.mark.parametrize(
    "url", ["zmq://192.0.2.1:0", "zmq+ipc:///" + 200 * "a", "zmq+ipc:///no/such/folder/a"]
)
async def test_where_a_hub_cannot_listen_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(SynapseError, match="no hub at zmq"):
        await Hub(Address.parse(url), insecure=True).serve(asyncio.get_running_loop().create_future())


def test_limits_that_make_no_sense_are_refused() -> None:
    address = Address.parse("zmq://127.0.0.1:1")
    with pytest.raises(ValueError, match="max_in_flight"):
        ZmqSynapse(address, max_in_flight=0)
    with pytest.raises(ValueError, match="max_pending"):
        ZmqSynapse(address, max_pending=-1)
    with pytest.raises(ValueError, match="seconds"):
        ZmqSynapse(address, connect_timeout_s=0)
    with pytest.raises(ValueError, match="seconds"):
        ZmqSynapse(address, lease_s=0)
