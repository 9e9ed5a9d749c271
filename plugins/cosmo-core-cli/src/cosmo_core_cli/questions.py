"""The extension ``questions``: keeps the unanswered questions of hosted Neurons for a later `cosmo answer`.

A bus stores no Signals, so a program that starts after a question could not learn of it otherwise. The host
of the Neuron keeps the question, because it is there as long as an answer can have an effect (P-8.10).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from cosmo_core import CosmoError, Signal, SignalType, UnencodableError, encode
from cosmo_core.dendrite.extension import Extension
from cosmo_core.protocol.payloads import without_none

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from cosmo_core.dendrite.extension import Ports

MAX_QUESTIONS: Final = 1_000
"""Questions that one Dendrite keeps at most; beyond that, the oldest are forgotten."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the kept questions at most; beyond that, the oldest are forgotten. A question has its input."""

MAX_AGE_S: Final = 24 * 3600.0
"""Seconds after which an unanswered question is forgotten."""

_ANSWERS: Final = (SignalType.CLARIFICATION_ANSWER, SignalType.PERMISSION_DECISION)

logger = logging.getLogger("cosmo_core_cli")


class Questions(Extension):
    """Keeps the unanswered questions of one Dendrite's Neurons, and sends them again on request.

    A Dendrite whose Neurons never ask subscribes to nothing for this.
    """

    name = "questions"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        # By id, the oldest first: each question, its size, and when it is forgotten.
        self._kept: dict[str, tuple[Signal, int, float]] = {}
        self._bytes = 0
        self._listening = asyncio.Lock()
        self._listens = False

    # --- at the host --------------------------------------------------------------------------------

    async def neuron_asks(self, question: Signal) -> None:
        """Keep a question. The first one subscribes, before it is sent, so that no answer is missed."""
        try:
            size = len(encode(question))
        except UnencodableError:
            return  # The sender of the TASK gets an ERROR in its place.
        await self._listen()
        self._kept[question.id] = (question, size, self.ports.clock.now() + MAX_AGE_S)
        self._bytes += size
        while len(self._kept) > MAX_QUESTIONS or self._bytes > MAX_BYTES:
            self._forget(next(iter(self._kept)))

    async def _listen(self) -> None:
        async with self._listening:
            if not self._listens:
                broadcast = self.ports.subjects.broadcast
                for type in _ANSWERS:
                    await self.ports.listen(broadcast(type), self._answered)
                await self.ports.listen(broadcast(SignalType.DISCOVER), self._requested)
                self._listens = True

    def _answered(self, answer: Signal) -> None:
        self._forget(answer.parent_id or "")

    async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
        """Forget the questions of a stopped trace."""
        for question in self.pending():
            if question.trace_id == stop.trace_id:
                self._forget(question.id)
        return {}

    def pending(self, neuron: str | None = None) -> list[Signal]:
        """Return the kept questions, of one Neuron or of all, the oldest first."""
        now = self.ports.clock.now()
        for question in [question for question, _, ends in self._kept.values() if ends <= now]:
            self._forget(question.id)
        return [question for question, *_ in self._kept.values() if neuron in {None, _neuron(question)}]

    def _forget(self, id: str) -> None:
        _, size, _ = self._kept.pop(id, (None, 0, 0.0))
        self._bytes -= size

    def _requested(self, discover: Signal) -> Awaitable[None] | None:
        return self._send_again(discover) if discover.meta.get("questions") is True else None

    async def _send_again(self, discover: Signal) -> None:
        for question in self.pending(discover.payload.get("neuron")):
            try:
                await self.ports.send(self.ports.reply_subject(discover, question.type), question)
            except CosmoError as error:
                logger.warning("%s could not be sent again: %s", question.id, error)

    # --- at the program that answers ----------------------------------------------------------------

    async def discover(self, *, questions: bool = False, neuron: str | None = None) -> None:
        """Ask hosts to announce their Neurons again, and with ``questions`` to send what is unanswered."""
        meta = {"reply_to": self.ports.dendrite_id, **({"questions": True} if questions else {})}
        await self.ports.emit(Signal.new(SignalType.DISCOVER, without_none(neuron=neuron), meta=meta))


def _neuron(question: Signal) -> str | None:
    return None if question.directed is None else question.directed.id
