"""Numbers that connect commands of the hub with callbacks and requests of this peer."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cosmo_core import DeadLetter, SynapseError, UndeliveredHandler
from cosmo_synapse_zmq.wire import DeadLetterItem, Undeliverable

MAX_CALLBACKS: Final = 1000
"""How many different callbacks are kept. Beyond that the oldest is removed, and not called any more."""

logger = logging.getLogger("cosmo_synapse_zmq")


class UndeliveredCallbacks:
    """Gives each ``undelivered`` callback a number, by which the hub refers to it."""

    def __init__(self) -> None:
        self._numbers: dict[UndeliveredHandler, int] = {}
        self._by_number: dict[int, UndeliveredHandler] = {}
        self._last = 0

    def number(self, undelivered: UndeliveredHandler) -> int:
        """Return the number of a callback. It is the same as long as the callback is kept."""
        return self._numbers.get(undelivered) or self._register(undelivered)

    def _register(self, undelivered: UndeliveredHandler) -> int:
        if len(self._numbers) >= MAX_CALLBACKS:
            oldest = next(iter(self._numbers))
            del self._by_number[self._numbers.pop(oldest)]
        self._last += 1
        self._numbers[undelivered] = self._last
        self._by_number[self._last] = undelivered
        return self._last

    def call(self, undeliverable: Undeliverable) -> None:
        """Call the callback of an undeliverable frame. Its exceptions are logged."""
        undelivered = self._by_number.get(undeliverable.callback)
        if undelivered is None:
            return
        try:
            undelivered(undeliverable.frame, undeliverable.cause)
        except Exception:
            logger.exception("the callback for undelivered frames failed")


class DeadLetterClient:
    """The open requests for the hub's dead letters, and the letters received so far."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[list[DeadLetter], asyncio.Future[list[DeadLetter]]]] = {}
        self._last = 0

    def start(self) -> tuple[int, asyncio.Future[list[DeadLetter]]]:
        """Return the number of a new request, and the future of its answer."""
        self._last += 1
        answer: asyncio.Future[list[DeadLetter]] = asyncio.get_running_loop().create_future()
        self._open[self._last] = ([], answer)
        return self._last, answer

    def receive(self, item: DeadLetterItem) -> None:
        """Add one dead letter to its answer, or complete the answer."""
        if item.request not in self._open:
            return
        received, answer = self._open[item.request]
        if item.subject is not None:
            received.append(
                DeadLetter(
                    subject=item.subject, frame=item.frame, deliveries=item.deliveries, reason=item.reason
                )
            )
        elif not answer.done():
            answer.set_result(received)

    def restart(self) -> list[int]:
        """Discard incomplete answers, and return the open requests, to repeat them to another hub."""
        for received, _ in self._open.values():
            received.clear()
        return list(self._open)

    def finish(self, request: int) -> None:
        """Close a request."""
        self._open.pop(request, None)

    def fail_all(self, error: SynapseError) -> None:
        """Fail all open requests with ``error``."""
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(error)
