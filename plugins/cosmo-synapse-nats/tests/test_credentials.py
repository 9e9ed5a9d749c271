"""Credentials that expire or are replaced while a program runs."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest

from cosmo_core import SynapseAuthError
from cosmo_synapse_nats import connection, from_url

LIFE_S = 2


def key(prefix: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def public(pair: Any) -> str:
    return pair.public_key.decode()  # type: ignore[no-any-return]


def signed(issuer: Any, subject: str, claims: dict[str, Any], **times: int) -> str:
    """Return a JWT of NATS."""

    def part(value: dict[str, Any] | bytes) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = {"jti": "x", "iat": int(time.time()), "iss": public(issuer), "name": "x", "sub": subject, **times}
    text = (
        part({"typ": "JWT", "alg": "ed25519-nkey"}) + "." + part({**body, "nats": {**claims, "version": 2}})
    )
    return text + "." + part(issuer.sign(text.encode()))


class Issuer:
    """An operator and an account, which issues credentials."""

    def __init__(self) -> None:
        self._operator, self._account = key(nkeys.PREFIX_BYTE_OPERATOR), key(nkeys.PREFIX_BYTE_ACCOUNT)
        operator = signed(self._operator, public(self._operator), {"type": "operator"})
        unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        claims = {"type": "account", "limits": {**unlimited, "wildcards": True}}
        account = signed(self._operator, public(self._account), claims)
        self.config = (
            f"operator: {operator}\nresolver: MEMORY\n"
            f"resolver_preload: {{ {public(self._account)}: {account} }}"
        )

    def write(self, path: Path, **times: int) -> None:
        user = key(nkeys.PREFIX_BYTE_USER)
        unlimited = dict.fromkeys(("subs", "data", "payload"), -1)
        jwt = signed(self._account, public(user), {"type": "user", **unlimited}, **times)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        path.chmod(0o600)


async def reconnected(synapse: Any) -> None:
    connection = synapse._connection
    event, on_reconnected = asyncio.Event(), connection._on_reconnected

    def note() -> None:
        on_reconnected()
        event.set()

    connection._on_reconnected = note
    async with asyncio.timeout(20):
        await event.wait()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_renewed_credentials_are_read_when_the_old_ones_expire(
    start: Any, connect: Any, recorder: Any, issuer: Issuer, tmp_path: Path
) -> None:
    path = tmp_path / "user.creds"
    issuer.write(path, exp=int(time.time()) + LIFE_S)
    synapse = await connect(start(config=issuer.config), credentials=path)
    got = recorder()
    await synapse.subscribe("a", got)
    issuer.write(path)
    await reconnected(synapse)
    await synapse.publish("a", b"x")
    assert await got.until(1) == [b"x"]


async def test_expired_credentials_end_the_connection(
    start: Any, connect: Any, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REJECTED_S", 0.5)
    path = tmp_path / "user.creds"
    issuer.write(path, exp=int(time.time()) + LIFE_S)
    synapse = await connect(start(config=issuer.config), credentials=path)
    async with asyncio.timeout(20):
        failure = await synapse.wait_failed()
    assert isinstance(failure, SynapseAuthError)
    assert "does not accept this program any more" in str(failure)
    with pytest.raises(SynapseAuthError, match=r"cannot publish on a: .*renew its credentials"):
        await synapse.publish("a", b"x")


async def test_a_replaced_nkey_seed_is_read_again(
    start: Any, connect: Any, recorder: Any, tmp_path: Path
) -> None:
    path = tmp_path / "seed"
    pairs = [key(nkeys.PREFIX_BYTE_USER) for _ in range(2)]

    def users(pair: Any) -> str:
        path.write_bytes(pair.seed)
        path.chmod(0o600)
        return f"authorization {{ users: [ {{ nkey: {public(pair)} }} ] }}"

    server = start(config=users(pairs[0]))
    synapse = await connect(server, nkeys_seed=path)
    got = recorder()
    await synapse.subscribe("a", got)
    server.set_config(users(pairs[1]))
    os.kill(server.pid, signal.SIGHUP)
    await reconnected(synapse)
    await synapse.publish("a", b"x")
    assert await got.until(1) == [b"x"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
async def test_secrets_that_others_may_read_are_logged(
    start: Any, connect: Any, issuer: Issuer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(config=issuer.config)
    path = tmp_path / "user.creds"
    issuer.write(path)
    with caplog.at_level(logging.WARNING, logger="cosmo_synapse_nats"):
        await connect(server, credentials=path)
        assert caplog.messages == []
        path.chmod(0o644)
        await connect(server, credentials=path)
    (message,) = caplog.messages
    assert f"other users may read the secrets in {path}: chmod 600 it" in message
    with pytest.raises(SynapseAuthError):
        await from_url(server.url).connect()
