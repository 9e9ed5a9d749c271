"""The resolver: finds a live Neuron or Engram in the directory, and sends DISCOVER on a miss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs

from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.errors import LifecycleError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.payloads import without_none

STALL_TURNS: Final = 10
"""Turns of the event loop, after the time limit, in which an answer that has arrived may be read."""


@attrs.define(eq=False)
class Resolver:
    """Resolves the Neurons, or the Engrams, of a namespace.

    Args:
        directory: The directory to search.
        discover: Sends DISCOVER with a payload.
        discovery_s: Seconds to wait for an announcement before `NoRouteError`.
    """

    _directory: Directory
    _discover: Callable[[dict[str, Any]], Awaitable[None]]
    _discovery_s: float
    _closed: bool = attrs.field(default=False, init=False)

    def close(self) -> None:
        """End every wait with LifecycleError."""
        self._closed = True
        self._directory.notify()

    async def wait_until_ready(
        self, id: str | None, capabilities: Sequence[str], timeout_s: float | None
    ) -> None:
        """Return when there is a match; see `Dendrite.wait_until_ready`."""
        if id is not None:
            check_token("id", id)
        try:
            async with asyncio.timeout(timeout_s):
                await self._discover(_criteria(id, capabilities))
                while self._directory.find(id, capabilities) is None:
                    await self._wait_for_change()
        except TimeoutError:
            if timeout_s is not None and self._directory.find(id, capabilities) is None:
                reason = self._directory.no_route(id, capabilities)
                limit = max(0, round(timeout_s, 3))
                raise TimeoutError(f"not ready within {limit} s: {reason}") from None

    async def resolve(self, id: str | None, capabilities: Sequence[str]) -> str:
        """Return a live id: the given one, or one that has all the capabilities.

        On a miss it sends DISCOVER, in case an announcement was missed.

        Raises:
            NoRouteError: There is no match; the error names those that are known.
        """
        found = self._directory.find(id, capabilities)
        if found is not None:
            return found
        await self._discover(_criteria(id, capabilities))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._discovery_s):
                while self._directory.find(id, capabilities) is None:
                    await self._wait_for_change()
        # After a stall of this process, answers may have arrived that were not read yet.
        for _ in range(STALL_TURNS):
            if (found := self._directory.find(id, capabilities)) is not None:
                return found
            await asyncio.sleep(0)
        raise self._directory.no_route(id, capabilities)

    async def _wait_for_change(self) -> None:
        if not self._closed:
            await self._directory.wait_for_change()
        if self._closed:
            raise LifecycleError("the Dendrite stopped while it waited for an announcement")


def _criteria(id: str | None, capabilities: Sequence[str]) -> dict[str, Any]:
    return without_none(neuron=id, capabilities=list(capabilities) or None)
