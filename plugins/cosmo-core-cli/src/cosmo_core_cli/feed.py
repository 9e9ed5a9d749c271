"""What passes in a namespace, as it is on the bus."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from cosmo_core import MalformedSignalError, Signal, decode
from cosmo_core.protocol.subjects import Subjects

if TYPE_CHECKING:
    from cosmo_core import Synapse

MAX_WAITING: Final = 10_000
"""How many Signals wait to be printed; beyond that, the oldest go."""


class Feed:
    """Yields what passes, in the order of its arrival, to one who may be slow. It does not end.

    Attributes:
        dropped: How many Signals were given up because the reader was too slow.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[bytes] = deque()
        self._more = asyncio.Event()

    def take(self, frame: bytes) -> None:
        """Take what the bus brings."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(frame)
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signal | MalformedSignalError:
        """Return the next Signal, or what is wrong with a frame that is none."""
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        try:
            return decode(self._waiting.popleft())
        except MalformedSignalError as error:
            return error


@asynccontextmanager
async def feed(synapse: Synapse, namespace: str) -> AsyncIterator[Feed]:
    """Listen to all of a namespace, without being part of it: nobody is asked, and nothing is announced.

    Raises:
        MalformedSignalError: The namespace is not a token.
        SynapseError: The bus would not have it.
    """
    found = Feed()
    subscription = await synapse.subscribe(Subjects(namespace).everything(), found.take)
    try:
        yield found
    finally:
        await subscription.unsubscribe()
