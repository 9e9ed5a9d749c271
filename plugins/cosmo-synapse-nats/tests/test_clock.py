"""ServerClock: the age of a moment does not depend on the local clock."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.clock import ServerClock
from cosmo_synapse_nats.options import Servers


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1), timedelta()])
async def test_the_age_of_a_moment_does_not_depend_on_the_local_clock(start: Any, ahead: timedelta) -> None:
    connection = Connection(Servers(hosts=(start().url.removeprefix("nats://"),)), "test")
    await connection.open()
    clock = ServerClock(connection, "skewed")

    def answer(msg: Any) -> None:
        time = (datetime.now(UTC) + ahead).isoformat()
        assert connection.client.send(msg.reply, json.dumps({"ts": time}).encode())

    await connection.subscribe("$JS.API.STREAM.INFO.skewed", answer)
    await clock.open()
    moment = (datetime.now(UTC) + ahead).timestamp()
    assert clock.age_s(moment - 5) == pytest.approx(5, abs=0.1)
    assert clock.age_s(moment + 5) == 0
    clock.refresh()
    await clock.close()
    await connection.close()


async def test_a_server_without_the_stream_is_an_error(server: Any) -> None:
    connection = Connection(Servers(hosts=(server.url.removeprefix("nats://"),)), "test")
    await connection.open()
    with pytest.raises(SynapseError, match="cannot read the server's clock"):
        await ServerClock(connection, "missing").open()
    await connection.close()
    await asyncio.sleep(0)
