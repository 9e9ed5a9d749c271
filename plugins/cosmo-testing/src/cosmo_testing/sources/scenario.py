"""The thread between a check and the provider behind the Neuron it checks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cosmo_testing.conformance.steps import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Scenario:
    """What the provider is to do, and which calls have reached it.

    The kit makes one for every check, in the running loop. The provider that a test puts behind its source
    calls `reached` for every call, and then does what `fault` says.

    Attributes:
        fault: What goes wrong at the provider now; ``None`` when nothing does. It may end between two calls,
            and never becomes another one.
        words: What the provider says when it fails. Every secret of the source is in it, for providers do
            repeat what they were sent.
        asked: How many calls have reached the provider.
    """

    def __init__(self, fault: str | None = None, *, words: str = "it broke") -> None:
        self.fault = fault
        self.words = words
        self.asked = 0
        self._loop = asyncio.get_running_loop()
        self._arrival = asyncio.Condition()
        self._gate = asyncio.Event()
        self._gate.set()
        self._over = asyncio.Event()

    # --- for the provider ---------------------------------------------------------------------------

    async def reached(self) -> None:
        """Say that a call has reached the provider, and wait until it may be answered."""
        async with self._arrival:
            self.asked += 1
            self._arrival.notify_all()
        await self._gate.wait()

    async def stall(self) -> None:
        """Wait until the check is over, as a provider does that never answers."""
        await self._over.wait()

    def reached_in_thread(self) -> None:
        """Do as `reached` does, for a provider that answers in a thread."""
        self._block_on(self.reached())

    def stall_in_thread(self) -> None:
        """Do as `stall` does, for a provider that answers in a thread."""
        self._block_on(self.stall())

    def _block_on(self, waiting: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result()

    # --- for the checks -----------------------------------------------------------------------------

    def hold(self) -> None:
        """Let no call be answered until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let all calls be answered."""
        self._gate.set()

    def end(self) -> None:
        """Let go of everything that waits for this scenario."""
        self._gate.set()
        self._over.set()

    async def wait_asked(self, count: int) -> None:
        """Return when ``count`` calls have reached the provider.

        Raises:
            TimeoutError: They have not within half of `PATIENCE_S`, while the calls themselves still wait.
        """
        async with asyncio.timeout(PATIENCE_S / 2), self._arrival:
            await self._arrival.wait_for(lambda: self.asked >= count)
