"""The bus that Synapses of one process meet on."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from typing import Final

from cosmo_core.routing import Letter, Router

MAX_WAITING: Final = 1000
"""How many frames of one subject may wait for a queue group."""


class MemoryBus:
    """Who subscribes to what. Synapses made with the same bus reach each other.

    Args:
        max_waiting: How many frames of one subject may wait for a queue group.
    """

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self.router = Router(max_waiting=max_waiting, room=self._wake)
        self._crowd: dict[tuple[str, str], asyncio.Event] = {}

    async def place(self, letters: Iterable[Letter]) -> None:
        """Return when every one of ``letters`` has found room."""
        for letter in letters:
            while not self.router.place(letter):
                crowd = self._crowd.setdefault((letter.group, letter.subject), asyncio.Event())
                await crowd.wait()

    def _wake(self, letter: Letter) -> None:
        if self._crowd and (crowd := self._crowd.pop((letter.group, letter.subject), None)) is not None:
            crowd.set()


_named: Final[weakref.WeakValueDictionary[str, MemoryBus]] = weakref.WeakValueDictionary()


def named_bus(name: str) -> MemoryBus:
    """Return the bus of this name; it lives as long as a Synapse is on it."""
    bus = _named.get(name)
    if bus is None:
        bus = _named[name] = MemoryBus()
    return bus
