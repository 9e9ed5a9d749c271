"""Resolves the Neurons, or the Engrams, of a namespace; sends DISCOVER on a miss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.errors import LifecycleError
from cosmo_core.protocol.payloads import without_none

STALL_TURNS: Final = 10
"""How often the event loop may turn, after the time for an answer is up, to bring one that is there."""


class Resolver:
    """Finds the Neurons, or the Engrams, of a namespace.

    Args:
        directory: The known ones.
        discover: Asks who else is there, with the payload of a DISCOVER.
        discovery_s: For how long to listen before there is no route.
    """

    def __init__(
        self,
        directory: Directory,
        discover: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        discovery_s: float,
    ) -> None:
        self._directory = directory
        self._discover = discover
        self._discovery_s = discovery_s
        self._closed = False

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._directory.wake()

    async def wait_until_ready(self, id: str | None, capabilities: Sequence[str], timeout_s: float) -> None:
        """Return when there is somebody who can do that; see `Dendrite.wait_until_ready`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._discover(_wish(id, capabilities))
                while self._directory.find(id, capabilities) is None:
                    await self._change()
        except TimeoutError:
            reason = self._directory.no_route(id, capabilities)
            raise TimeoutError(f"not ready within {timeout_s} s: {reason}") from None

    async def route(self, id: str | None, capabilities: Sequence[str]) -> str:
        """Return the id of somebody alive: the one named, or one that has all the capabilities.

        One that is not known is asked for, in case its announcement was missed.

        Raises:
            NoRouteError: There is none; the error names those that are known.
        """
        found = self._directory.find(id, capabilities)
        if found is not None:
            return found
        await self._discover(_wish(id, capabilities))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._discovery_s):
                while self._directory.find(id, capabilities) is None:
                    await self._change()
        # A process that stalled has answers waiting that it did not come to read.
        for _ in range(STALL_TURNS):
            if (found := self._directory.find(id, capabilities)) is not None:
                return found
            await asyncio.sleep(0)
        raise self._directory.no_route(id, capabilities)

    async def _change(self) -> None:
        if not self._closed:
            await self._directory.changed()
        if self._closed:
            raise LifecycleError("the Dendrite stopped while it waited for somebody to come")


def _wish(id: str | None, capabilities: Sequence[str]) -> dict[str, Any]:
    return without_none(neuron=id, capabilities=list(capabilities) or None)
