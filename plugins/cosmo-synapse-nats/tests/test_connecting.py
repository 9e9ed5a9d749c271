"""Connecting: it succeeds or fails in time with a useful error, and no secret is shown."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest

from cosmo_core import SynapseAuthError, SynapseError
from cosmo_synapse_nats import NatsSynapse, Servers, from_url
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.failures import connect_failure

SECRET = "s3cret-Pa55"
USERS = f'authorization {{ user: ann, password: "{SECRET}" }}'
TOKEN = f'authorization {{ token: "{SECRET}" }}'


async def fails_to_connect(synapse: NatsSynapse, error: type[SynapseError], within_s: float = 2) -> str:
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        await synapse.connect()
    assert time.monotonic() - begun < within_s
    message = str(caught.value)
    assert SECRET not in message
    return message


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("config", "userinfo", "options"),
    [
        (USERS, f"ann:{SECRET}@", {}),
        (USERS, "", {"user": "ann", "password": SECRET}),
        (TOKEN, f"{SECRET}@", {}),
        (TOKEN, "", {"token": SECRET}),
    ],
)
async def test_valid_credentials_are_accepted(start: Any, config: str, userinfo: str, options: Any) -> None:
    server = start(config=config)
    synapse = from_url(f"nats://{userinfo}127.0.0.1:{server.port}", **options)
    await synapse.connect()
    assert SECRET not in repr(synapse)
    await synapse.close()


@pytest.mark.parametrize("config", [USERS, TOKEN])
@pytest.mark.parametrize("userinfo", ["", "ann:wrong@", "wrong@", f"bob:{SECRET}@"])
async def test_invalid_credentials_are_rejected_within_two_seconds(
    start: Any, config: str, userinfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(config=config)
    caplog.set_level(logging.DEBUG)
    before = asyncio.all_tasks()
    message = await fails_to_connect(from_url(f"nats://{userinfo}127.0.0.1:{server.port}"), SynapseAuthError)
    assert f"nats://127.0.0.1:{server.port} does not accept this program" in message
    assert SECRET not in caplog.text
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_only_the_right_nkey_is_accepted(start: Any, tmp_path: Path) -> None:
    public = ""
    for name in ("other", "ours"):
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        (tmp_path / name).write_bytes(seed)
        public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    server = start(config=f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    synapse = from_url(server.url, nkeys_seed=tmp_path / "ours")
    await synapse.connect()
    await synapse.close()
    await fails_to_connect(from_url(server.url, nkeys_seed=tmp_path / "other"), SynapseAuthError)
    await fails_to_connect(from_url(server.url), SynapseAuthError)


@pytest.mark.parametrize("option", ["nkeys_seed", "credentials"])
async def test_the_error_for_an_unusable_key_names_the_problem(
    server: Any, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "key"
    assert f"cannot read {option} from" in await fails_to_connect(
        from_url(server.url, **{option: path}), SynapseAuthError
    )
    path.write_text(SECRET)
    assert "is not a" in await fails_to_connect(from_url(server.url, **{option: path}), SynapseAuthError)


async def test_without_a_server_connecting_fails_at_once(free_port: int) -> None:
    before = asyncio.all_tasks()
    message = await fails_to_connect(
        from_url(f"nats://u:{SECRET}@127.0.0.1:{free_port}"), SynapseError, within_s=1
    )
    assert message.startswith(f"no server listens at nats://127.0.0.1:{free_port}: start nats-server")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_one_reachable_server_of_several_is_enough(server: Any, free_port: int) -> None:
    for hosts in (f"127.0.0.1:{free_port},127.0.0.1:{server.port}", f"127.0.0.1:{server.port},[::1]:1"):
        synapse = from_url(f"nats://{hosts}")
        await synapse.connect()
        await synapse.close()


async def test_connecting_to_another_kind_of_server_fails_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        synapse = from_url(f"nats://127.0.0.1:{mute.getsockname()[1]}", connect_timeout_s=0.3)
        assert "cannot connect to" in await fails_to_connect(synapse, SynapseError)


async def test_a_flush_is_sent_after_the_commands_before_it() -> None:
    commands: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","max_payload":1048576,"headers":true}\r\n')
        while line := await reader.readline():
            commands.append(line.split()[0])
            if commands[-1] == b"PING":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(Servers(hosts=(f"127.0.0.1:{port}",)), "test")
        await connection.open()
        commands.clear()
        subscription = await connection.subscribe("a", _ignore)
        await connection.flush()
        await connection.unsubscribe(subscription)
        assert commands == [b"SUB", b"PING", b"UNSUB", b"PING"]
        await connection.close()


def _ignore(message: object) -> None:
    return None


async def test_a_message_that_cannot_be_processed_does_not_end_the_reader(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(Servers(hosts=(server.url.removeprefix("nats://"),)), "test")
    await connection.open()
    seen: list[bytes] = []

    def fail_first(msg: Any) -> None:
        seen.append(msg.data)
        if len(seen) == 1:
            raise RuntimeError("the first one fails")

    await connection.subscribe("a", fail_first)
    for number in range(3):
        assert connection.client.send("a", b"%d" % number)
    await connection.flush()
    assert seen == [b"0", b"1", b"2"]
    assert "a message on a could not be processed" in caplog.text
    assert connection.error_log.counts["a message could not be processed"] == 1
    await connection.close()


async def test_an_answer_to_a_flush_that_was_given_up_does_not_break_the_connection(
    server: Any, connect: Any, recorder: Any
) -> None:
    synapse = await connect(server)
    got = recorder()
    client = synapse._connection.client
    flushes = [asyncio.create_task(client.flush()) for _ in range(3)]
    await asyncio.sleep(0)
    flushes[1].cancel()
    await asyncio.wait(flushes)
    await synapse.subscribe("a", got)
    await synapse.publish("a", b"x")
    assert await got.until(1) == [b"x"]


async def test_a_subscription_without_permission_raises(start: Any, connect: Any) -> None:
    allowed = 'publish: ">", subscribe: ["_INBOX.>", "open.>"]'
    synapse = await connect(
        start(
            config=f"authorization {{ users: [ {{ user: u, password: p, permissions: {{ {allowed} }} }} ] }}"
        ),
        user="u",
        password="p",
    )
    await synapse.subscribe("open.a", print)
    with pytest.raises(SynapseError, match="does not allow this user to subscribe to shut"):
        await synapse.subscribe("shut", print)


async def test_the_error_for_a_store_that_is_too_small_says_what_to_change(
    start: Any, tmp_path: Path
) -> None:
    folder = json.dumps(str(tmp_path))
    server = start(config=f"jetstream: {{store_dir: {folder}, max_mem: 1M, max_file: 1M}}")
    with pytest.raises(SynapseError, match=r"cosmo-tasks: insufficient storage .*; lower max_bytes, or"):
        await from_url(server.url + "?durable=true").connect()


async def test_a_durable_synapse_needs_jetstream(server: Any) -> None:
    message = await fails_to_connect(from_url(server.url + "?durable=true"), SynapseError)
    assert "has no JetStream, which durable=true needs: start nats-server with -js" in message


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    making = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    making += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(  # noqa: S603 - our own command
        [*making, "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem"


async def test_a_connection_is_encrypted_with_a_trusted_certificate(
    start: Any, certificate: Path, recorder: Any
) -> None:
    key = certificate.with_name("key.pem")
    server = start(config=f'{USERS}\ntls {{ cert_file: "{certificate}", key_file: "{key}" }}')
    url = f"tls://ann:{SECRET}@127.0.0.1:{server.port}"
    synapse = from_url(url, tls=ssl.create_default_context(cafile=certificate))
    await synapse.connect()
    got = recorder()
    await synapse.subscribe("a", got)
    await synapse.publish("a", b"x")
    assert await got.until(1) == [b"x"]
    synapse.publish_from_thread("a", b"y")
    assert await got.until(2) == [b"x", b"y"]
    await synapse.close()
    assert "certificate verify failed" in await fails_to_connect(from_url(url), SynapseError)


async def test_the_error_for_a_missing_client_certificate_names_it(start: Any, certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    files = f'cert_file: "{certificate}", key_file: "{key}", ca_file: "{certificate}"'
    server = start(config=f"tls {{ {files}, verify: true }}")
    context = ssl.create_default_context(cafile=certificate)
    message = await fails_to_connect(
        from_url(f"tls://127.0.0.1:{server.port}", tls=context), SynapseAuthError, within_s=3
    )
    assert "wants a certificate of this program: load one into the context of tls=" in message


@pytest.mark.parametrize("ended", [BrokenPipeError(32, "Broken pipe"), ConnectionResetError()])
def test_a_server_that_verifies_clients_may_end_the_connection_before_it_is_read(ended: Exception) -> None:
    def failure(verifies_clients: bool) -> SynapseError:
        return connect_failure("tls://host", 2.0, [ended], verifies_clients)

    assert isinstance(failure(True), SynapseAuthError)
    assert not isinstance(failure(False), SynapseAuthError)


async def test_no_secret_is_sent_to_a_server_that_offers_no_tls() -> None:
    received = bytearray()

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","max_payload":1048576,"auth_required":true,"headers":true}\r\n')
        received.extend(await reader.read(-1))
        writer.close()

    async with await asyncio.start_server(trap, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for userinfo in (f"ann:{SECRET}@", f"{SECRET}@"):
            message = await fails_to_connect(from_url(f"tls://{userinfo}127.0.0.1:{port}"), SynapseError)
            assert "does not offer TLS" in message
    assert SECRET.encode() not in received


async def test_closing_ends_also_those_tasks_of_which_nats_knows_newer_ones(server: Any) -> None:
    before = asyncio.all_tasks()
    connection = Connection(Servers(hosts=(server.url.removeprefix("nats://"),)), "test")
    await connection.open()
    # As when two attempts to reconnect succeed.
    for work in (connection.client._ping_interval, connection.client._flusher):
        asyncio.ensure_future(work())  # noqa: RUF006 - closing has to find it
    await connection.close()
    assert asyncio.all_tasks() == before
