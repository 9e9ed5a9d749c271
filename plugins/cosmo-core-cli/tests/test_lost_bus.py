"""A connection to the bus that ends for good while `cosmo run` hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cosmo_core import SynapseAuthError, SynapseError, connect_synapse
from cosmo_core_cli.bus import Bus
from cosmo_core_cli.run import hosting


class Failing:
    """A Synapse whose connection ends for good once it is used."""

    def __init__(self, synapse: Any) -> None:
        self._synapse = synapse
        self.used = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._synapse, name)

    async def wait_failed(self) -> SynapseError:
        await self.used.wait()
        return SynapseAuthError("the credentials have expired")


async def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(await connect_synapse("memory://"))

    @asynccontextmanager
    async def open_failing(*_: object) -> AsyncIterator[Any]:
        yield failing

    monkeypatch.setattr(hosting, "open_synapse", open_failing)
    bus = Bus(url="memory://", namespace="default")
    try:
        await hosting.host(bus, hosting.Components([], []), 1.0, failing.used.set)
    finally:
        await failing.close()


def test_hosting_ends_with_the_error_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SynapseAuthError, match="the credentials have expired"):
        asyncio.run(_host(monkeypatch))
