"""Who is told of frames that were not delivered."""

from __future__ import annotations

import logging
from typing import Final

from cosmo_core import UndeliveredHandler
from cosmo_synapse_zmq.wire import Returned

MAX_TELLERS: Final = 1000
"""How many different functions may wait to be told; then the oldest is not told any more."""

logger = logging.getLogger("cosmo_synapse_zmq")


class Tellers:
    """Gives each function a number, by which the hub knows it."""

    def __init__(self) -> None:
        self._numbers: dict[UndeliveredHandler, int] = {}
        self._by_number: dict[int, UndeliveredHandler] = {}
        self._last = 0

    def number(self, undelivered: UndeliveredHandler) -> int:
        """Return the number of a function, always the same while it is known."""
        return self._numbers.get(undelivered) or self._enlist(undelivered)

    def _enlist(self, undelivered: UndeliveredHandler) -> int:
        if len(self._numbers) >= MAX_TELLERS:
            oldest = next(iter(self._numbers))
            del self._by_number[self._numbers.pop(oldest)]
        self._last += 1
        self._numbers[undelivered] = self._last
        self._by_number[self._last] = undelivered
        return self._last

    def tell(self, returned: Returned) -> None:
        """Tell whom it concerns. What they raise is logged."""
        undelivered = self._by_number.get(returned.tell)
        if undelivered is None:
            return
        try:
            undelivered(returned.frame, returned.why)
        except Exception:
            logger.exception("who was told of a frame that was not delivered failed")
