"""A store that is there for one check, and the Engrams on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cosmo_testing.conformance.steps import bounded
from cosmo_testing.engrams.client import CROWD_S, Client

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


class Store:
    """The store of one check, and the Engrams that are open on it.

    Attributes:
        under_test: What the author supplied.
    """

    def __init__(self, under_test: EngramUnderTest) -> None:
        self.under_test = under_test
        self._open: list[Client] = []

    async def open(self, *, keeps_writes: int | None = None) -> Client:
        """Open the store once more."""
        opening = self.under_test.open(keeps_writes=keeps_writes)
        client = Client(await bounded("open()", opening, CROWD_S))
        self._open.append(client)
        return client

    async def close(self, client: Client) -> None:
        """Close an Engram."""
        self._open.remove(client)
        await bounded("close()", client.engram.close())

    async def reopen(self) -> Client:
        """Close every Engram, and open the store again."""
        await self.close_all()
        return await self.open()

    async def close_all(self) -> None:
        """Close every Engram that is open."""
        for client in list(self._open):
            await self.close(client)


@asynccontextmanager
async def stored(under_test: EngramUnderTest) -> AsyncIterator[Store]:
    """Have a store, all of whose Engrams are closed in the end."""
    async with under_test.store():
        store = Store(under_test)
        try:
            yield store
        finally:
            await store.close_all()


@asynccontextmanager
async def opened(under_test: EngramUnderTest) -> AsyncIterator[Client]:
    """Have a store with one Engram open."""
    async with stored(under_test) as store:
        yield await store.open()
