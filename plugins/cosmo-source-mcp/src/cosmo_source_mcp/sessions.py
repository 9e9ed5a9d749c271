"""The sessions of one Neuron: made on first use, kept open, replaced when they end, closed with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cosmo_source_mcp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_source_mcp.failures import Failures
    from cosmo_source_mcp.session import Link


class Sessions:
    """Hands out the session that belongs to the running event loop.

    A session's streams live in the loop that opened them, so each loop gets a session of its own. Usually
    there is one loop, and so one session.

    Args:
        connect: Makes a connection, not open yet.
        failures: Words what goes wrong.
        timeout_s: How long a server may take to get ready.
    """

    def __init__(self, connect: Callable[[], Link], failures: Failures, timeout_s: float) -> None:
        self._connect = connect
        self._failures = failures
        self._timeout_s = timeout_s
        self._by_loop: dict[asyncio.AbstractEventLoop, Session] = {}

    def current(self) -> Session:
        """The session for the running loop, made if there is none that could still be used."""
        loop = asyncio.get_running_loop()
        previous = self._by_loop.get(loop)
        if previous is not None and not previous.is_over:
            return previous
        # Sessions of loops that ended cannot be closed any more, only forgotten.
        self._by_loop = {other: kept for other, kept in self._by_loop.items() if not other.is_closed()}
        self._by_loop[loop] = Session(self._connect(), self._failures, self._timeout_s, previous)
        return self._by_loop[loop]

    async def aclose(self) -> None:
        """Close the running loop's session; the next call opens a new one."""
        session = self._by_loop.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.aclose()
