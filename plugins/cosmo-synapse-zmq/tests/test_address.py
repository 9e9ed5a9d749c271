"""Hub addresses: valid URLs, and when keys are required."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from hypothesis import example, given
from hypothesis import strategies as st

from cosmo_core import SynapseError
from cosmo_synapse_zmq import Address, Hub, ZmqSynapse, from_url

if TYPE_CHECKING:
    from tests.conftest import Connect, RunningHub, StartHub


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


def test_the_str_of_an_address_is_its_url() -> None:
    for url in ("zmq://127.0.0.1:7071", "zmq://[::1]:7071", "zmq+ipc:///run/cosmo.sock"):
        assert str(Address.parse(url)) == url


def test_only_hub_auto_asks_for_an_embedded_hub() -> None:
    assert Address.parse("zmq+ipc:///run/cosmo.sock?hub=auto").embedded
    assert not Address.parse("zmq+ipc:///run/cosmo.sock").embedded
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
def test_an_invalid_url_is_rejected_with_an_example(url: str) -> None:
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
def test_parsing_a_url_returns_an_address_or_raises_synapse_error(url: str) -> None:
    try:
        address = Address.parse(url)
    except SynapseError:
        return
    assert address.endpoint.startswith(("tcp://", "ipc://"))
    assert (address.host is None) is not (address.path is None)


def test_an_error_does_not_contain_the_password() -> None:
    with pytest.raises(SynapseError) as caught:
        Address.parse("zmq://name:hunter2@host:7071")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["zmq://127.0.0.1:1", "zmq://127.9.9.9:1", "zmq://[::1]:1", "zmq://localhost:1", "zmq+ipc:///run/a"],
)
def test_no_keys_are_needed_on_loopback(url: str) -> None:
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
def test_keys_are_required_off_loopback_unless_insecure_is_set(url: str) -> None:
    address = Address.parse(url)
    for create in (lambda: Hub(address), lambda: ZmqSynapse(address), lambda: from_url(url)):
        with pytest.raises(SynapseError, match="insecure=True"):
            create()
    Hub(address, insecure=True)
    from_url(url, insecure=True)


async def test_a_hub_and_its_peers_connect_over_ipv6(start_hub: StartHub, connect: Connect) -> None:
    try:
        server = await asyncio.start_server(lambda *_: None, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server.close()
    await server.wait_closed()
    running = await start_hub("zmq://[::1]:0")
    assert running.url.startswith("zmq://[::1]:")
    await connect(running.url)


@pytest.mark.parametrize("url", ["zmq://*:7071", "zmq+ipc:///" + 200 * "a", "zmq://a b:7071"])
async def test_an_endpoint_that_zeromq_rejects_is_a_synapse_error(url: str) -> None:
    with pytest.raises(SynapseError):
        await from_url(url, insecure=True, connect_timeout_s=0.3).connect()


@pytest.mark.parametrize(
    "url", ["zmq://192.0.2.1:0", "zmq+ipc:///" + 200 * "a", "zmq+ipc:///no/such/folder/a"]
)
async def test_a_hub_that_cannot_bind_raises_synapse_error(url: str) -> None:
    with pytest.raises(SynapseError, match="cannot start a hub at zmq"):
        await Hub(Address.parse(url), insecure=True).serve(asyncio.get_running_loop().create_future())


def test_limits_out_of_range_are_rejected() -> None:
    address = Address.parse("zmq://127.0.0.1:1")
    with pytest.raises(ValueError, match="max_in_flight"):
        ZmqSynapse(address, max_in_flight=0)
    with pytest.raises(ValueError, match="max_pending"):
        ZmqSynapse(address, max_pending=-1)
    with pytest.raises(ValueError, match="seconds"):
        ZmqSynapse(address, connect_timeout_s=0)
    with pytest.raises(ValueError, match="max_in_flight"):
        ZmqSynapse(address, max_in_flight=10**400)
    for seconds in (0, -1, math.inf, math.nan, 10**400):
        with pytest.raises(ValueError, match="connect_timeout_s is a number of seconds above 0"):
            ZmqSynapse(address, connect_timeout_s=seconds)
        with pytest.raises(ValueError, match="lease_s is a number of seconds above 0 to 3600"):
            ZmqSynapse(address, lease_s=seconds)
        with pytest.raises(ValueError, match="lease_s is a number of seconds above 0 to 3600"):
            Hub(address, lease_s=seconds)
    for name in ("max_in_flight", "max_pending", "connect_timeout_s", "lease_s"):
        value: Any
        for value in (True, "5", None):
            with pytest.raises(TypeError, match=f"{name} is (a number|an integer), not {value!r}"):
                ZmqSynapse(address, **{name: value})
    for create in (Hub, ZmqSynapse):
        with pytest.raises(TypeError, match="insecure is True or False, not 'no'"):
            create(address, insecure="no")  # type: ignore[arg-type]
    out_of_range: list[dict[str, Any]] = [
        {"max_frame": 0},
        {"max_frame": 10**400},
        {"max_waiting": 0},
        {"max_deliveries": 0},
        {"max_frame": 2**26 + 1},
    ]
    for options in out_of_range:
        with pytest.raises(ValueError, match=f"{next(iter(options))} is an integer of at least 1"):
            Hub(address, **options)


SECRET_URLS = [
    "zmq://name:hunter2@host:7071",
    "zmq://name:hunter2/x@host:7071",
    "zmq://name:hunter2?x@host:7071",
    "zmq://name:hunter2#x@host",
    "zmq://hunter2@host:7071",
    "zmq://name:hunter2@[::1",
    "zmq://name:a@hunter2@host",
    "name:hunter2@host",
    "zmq://host:7071?password=hunter2",
    "zmq+ipc://name:hunter2@/run/cosmo.sock?hub=yes",
    "zmq+ipc:///run/cosmo.sock?hub=hunter2",
    "http://name:hunter2@host",
    "zmq://host:hunter2",
    "zmq://host:7071#hunter2",
    "zmq+ipc:///run/cosmo.sock#hunter2",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_no_error_for_a_url_quotes_a_secret_in_it(url: str) -> None:
    with pytest.raises(SynapseError) as caught:
        from_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "link", "link to a stale socket", "folder", "live socket"])
async def test_a_path_that_is_not_a_stale_socket_is_left_alone(
    tmp_path: Path, start_hub: StartHub, kind: str
) -> None:
    path, target = tmp_path / "hub.sock", tmp_path / "target"
    target.write_text("kept")
    expected = "is not a socket"
    match kind:
        case "file":
            path.write_text("kept")
        case "link":
            path.symlink_to(target)
        case "link to a stale socket":
            path.symlink_to(tmp_path / "stale")
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(tmp_path / "stale"))
        case "folder":
            path.mkdir()
        case _:
            await start_hub(f"zmq+ipc://{path}")
            expected = "a program listens there"
    before = path.lstat()
    for options in ("", "?hub=auto"):
        starting = (
            from_url(f"zmq+ipc://{path}{options}").connect() if options else start_hub(f"zmq+ipc://{path}")
        )
        with pytest.raises(SynapseError, match=expected):
            await starting
    assert path.lstat() == before
    assert target.read_text() == "kept"


async def test_a_stale_socket_is_replaced(tmp_path: Path, start_hub: StartHub, connect: Connect) -> None:
    path = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    running = await start_hub(f"zmq+ipc://{path}")
    await connect(running.url)


async def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "hub.sock.lock").symlink_to(tmp_path / "made by a stranger")
    with pytest.raises(SynapseError, match="cannot run an embedded hub"):
        await from_url(f"zmq+ipc://{tmp_path}/hub.sock?hub=auto").connect()
    assert not (tmp_path / "made by a stranger").exists()


@pytest.mark.parametrize("socket_type", [zmq.DEALER, zmq.ROUTER])
async def test_too_many_open_files_is_a_synapse_error(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch, socket_type: int
) -> None:
    make = zmq.Context.socket

    def full(context: zmq.Context[Any], kind: int, *rest: Any) -> Any:
        if kind == socket_type:
            raise zmq.ZMQError(errno.EMFILE)
        return make(context, kind, *rest)

    monkeypatch.setattr(zmq.Context, "socket", full)
    if socket_type == zmq.DEALER:
        opening = from_url(hub.url).connect()
        with pytest.raises(SynapseError, match="Too many open files"):
            from_url(hub.url).publish_from_thread("a", b"x")
    else:
        second = Hub(Address.parse("zmq://127.0.0.1:0"))
        opening = second.serve(asyncio.get_running_loop().create_future())
    with pytest.raises(SynapseError, match=r"Too many open files; .* raise the limit"):
        await opening


FEW_FILES = """
import asyncio, os, resource, sys
from cosmo_core import SynapseError
from cosmo_synapse_zmq import Address, Hub, from_url

async def attempt(left):
    # The files below 60 are taken, up to a few.
    taken = []
    while not taken or taken[-1] < 59 - left:
        taken.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    loop = asyncio.get_running_loop()
    hub = Hub(Address.parse("zmq://127.0.0.1:0")).serve(loop.create_future())
    for opening in (from_url("zmq://127.0.0.1:1").connect(), hub):
        try:
            await opening
        except SynapseError as error:
            print(error)

asyncio.run(attempt(int(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("left", [0, 2, 8])
def test_too_few_open_files_do_not_end_the_process(left: int) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", FEW_FILES, str(left)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("raise the limit of open files of this process (ulimit -n)") == 2


def test_unknown_options_are_refused_with_a_suggestion() -> None:
    with pytest.raises(SynapseError, match=r"\?hub=auto is the only option in the URL of a hub"):
        from_url("zmq://127.0.0.1:7271?lease_s=3", insecure=True)
    with pytest.raises(SynapseError, match="hub is given twice; give it once"):
        from_url("zmq+ipc:///run/cosmo.sock?hub=auto&hub=auto")
    with pytest.raises(TypeError, match="has no option 'lease'; did you mean lease_s"):
        from_url("zmq://127.0.0.1:7271", insecure=True, lease=3)
