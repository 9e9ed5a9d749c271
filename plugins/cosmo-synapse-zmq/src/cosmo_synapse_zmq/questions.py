"""Asking the hub for its dead letters."""

from __future__ import annotations

import asyncio

from cosmo_core import DeadLetter, SynapseError
from cosmo_synapse_zmq.wire import Dead


class Questions:
    """The questions that are open, and what was answered so far."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[list[DeadLetter], asyncio.Future[list[DeadLetter]]]] = {}
        self._last = 0

    def ask(self) -> tuple[int, asyncio.Future[list[DeadLetter]]]:
        """Return the number of a new question, and what will be its answer."""
        self._last += 1
        answer: asyncio.Future[list[DeadLetter]] = asyncio.get_running_loop().create_future()
        self._open[self._last] = ([], answer)
        return self._last, answer

    def collect(self, dead: Dead) -> None:
        """Take one dead letter of an answer, or the end of it."""
        if dead.question not in self._open:
            return
        letters, answer = self._open[dead.question]
        if dead.subject is not None:
            letter = DeadLetter(
                subject=dead.subject, frame=dead.frame, deliveries=dead.deliveries, reason=dead.reason
            )
            letters.append(letter)
        elif not answer.done():
            answer.set_result(letters)

    def again(self) -> list[int]:
        """Return the open questions, for another hub; what the last one answered counts no more."""
        for letters, _ in self._open.values():
            letters.clear()
        return list(self._open)

    def forget(self, question: int) -> None:
        """Wait for an answer no more."""
        self._open.pop(question, None)

    def give_up(self, error: SynapseError) -> None:
        """Answer all questions with ``error``."""
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(error)
