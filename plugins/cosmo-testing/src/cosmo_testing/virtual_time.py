"""An event loop whose time passes only when there is nothing else to do."""

from __future__ import annotations

import asyncio
import selectors


class _Jumping(selectors.DefaultSelector):
    """Never waits: what it would have waited for passes at once on its clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs time-outs, sleeps and heartbeats at once, and in their order.

    For what happens inside one process: whoever waits for a socket, a thread or another process sees its
    time-outs pass before the answer comes.
    """

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds, from 0 on."""
        return self._jumping.now
