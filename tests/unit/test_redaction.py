"""URLs and DSNs in messages have no secret, valid or not."""

from __future__ import annotations

import pytest

from cosmo_core.errors import redacted

S = "S3cret"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"nats://u:{S}@h:4222,i:4222", "nats://…@h:4222,i:4222"),
        (f"nats://{S}@h", "nats://…@h"),
        (f"nats://u:{S}/x@h", "nats://…@h"),
        (f"zmq://u:{S}/x@h:1", "zmq://…@h:1"),
        (f"nats://u:{S}?x#y@z@h", "nats://…@h"),
        (f"nats://u:a {S}\n{S}@h", "nats://…@h"),
        (f"nats:u:{S}@h", "…@h"),
        (f"u:{S}@h:1", "…@h:1"),
        (f"nats://u:{S}", "nats://u:…"),
        (f"postgres://me@127.0.0.1:{S}/db", "postgres://…@127.0.0.1:…/db"),
        (f"postgres://me@one:1,two:{S}/db", "postgres://…@one:1,two:…/db"),
        (f"postgres://me@[::1]:{S}/db", "postgres://…@[::1]:…/db"),
        (f"postgres://h/db?password={S}&sslmode=require", "postgres://h/db?password=…&sslmode=require"),
        (f"postgres://h/db?password={S}@{S}&sslpassword={S}#{S}", "postgres://h/db?password=…&sslpassword=…"),
        (f"host=h password={S} port=1", "host=h password=… port=1"),
        (f"host=h password = '{S} \\' {S}' port=1", "host=h password = … port=1"),
        (f"host=h password='{S} {S}", "host=h password=…"),
        (f"host=h password={S} {S}@{S}", "host=h password=…"),
        (f"Server=h;Pwd={S};User=u", "Server=h;Pwd=…"),
        (f"zmq://h:1#{S}", "zmq://h:1#…"),
        ("zmq://[::1]:4222", "zmq://[::1]:4222"),
        ("sqlite:////var/lib/memory.db", "sqlite:////var/lib/memory.db"),
        ("zmq+ipc:///run/cosmo.sock?hub=auto", "zmq+ipc:///run/cosmo.sock?hub=auto"),
        ("nats://h:4222?durable=true", "nats://h:4222?durable=true"),
    ],
)
def test_address_is_shown_without_secrets(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert S not in shown
