"""Answers that have left, where losing one would cost its caller more than sending it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.signal import Signal, decode

if TYPE_CHECKING:
    from cosmo_core.plugins import Dropped

MAX_TASKS: Final = 1_000
"""Of how many TASKs the answers are kept: the newest."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes they may have together."""

MAX_RETURNED: Final = 1_000
"""How many answers that came back may be on their way again."""

PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6, 1.6, 1.6)
"""Seconds between two attempts to deliver an answer: less than 10 in all."""

logger = logging.getLogger("cosmo_core.dendrite")


@attrs.define(eq=False)
class _Sent:
    """A Signal that ended a TASK, as it was sent.

    Attributes:
        id: Of the Signal.
        subject: Where it went.
        frame: What went there.
        for_one: Whether it went to an inbox that is to have it.
        returned: Why it came back since it was last sent, if it did.
    """

    id: str
    subject: str
    frame: bytes
    for_one: bool
    returned: Undelivered | None = None


class RedeliveryBuffer:
    """Sends what ends TASKs, and sends it again if it came back, or if its TASK comes again.

    It is for a Synapse that has another worker take over. There an answer may be lost, or be early, because a
    connection broke, while its TASK counts as done; or it is lost together with the word that it was sent,
    and the TASK is delivered once more.

    Args:
        link: The way to the bus.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._closed = False
        self._bytes = 0
        # By TASK, oldest first, and by their own ids.
        self._tasks: dict[str, list[_Sent]] = {}
        self._sent: dict[str, _Sent] = {}
        # Those that came back are held here as well, for as long as they are sent again.
        self._returned: dict[str, tuple[_Sent, asyncio.Task[None]]] = {}

    @property
    def pending(self) -> list[asyncio.Task[None]]:
        """What is being sent again."""
        return [sending for _, sending in self._returned.values()]

    def send(
        self, task: Signal, subject: str, answer: Signal, promoted: bool = False
    ) -> Awaitable[Dropped | None]:
        """Send a Signal that ends ``task``, as `Link.send` does, and keep it."""
        # An inbox with back-pressure is a queue group: there a publisher that asks to be told would not wait.
        for_one = subject != self._link.subjects.broadcast(answer.type) and "pulse_to" not in task.meta
        leave = partial(self._leave, task.id, answer.id, subject, for_one)
        return self._link.send_answer(subject, answer, leave, promoted)

    async def _leave(self, task_id: str, id: str, subject: str, for_one: bool, frame: bytes) -> None:
        sent = _Sent(id, subject, frame, for_one)
        # Before it leaves: it may come back before the sending is over.
        self._keep(task_id, sent)
        try:
            await self._publish(sent)
        except SynapseError:
            self._forget(task_id, sent)
            raise

    def _publish(self, sent: _Sent) -> Awaitable[None]:
        return self._link.send_frame(sent.subject, sent.frame, self.take_back if sent.for_one else None)

    # --- its TASK comes again -----------------------------------------------------------------------

    def repeat(self, task_id: str) -> Awaitable[None] | None:
        """Send again what ended a TASK; None if that is not known any more."""
        answers = self._tasks.get(task_id)
        return None if answers is None else self._repeat(task_id, list(answers))

    async def _repeat(self, task_id: str, answers: list[_Sent]) -> None:
        try:
            for sent in answers:
                await self._publish(sent)
        except SynapseError as error:
            logger.warning("the answer to %s, which came again, could not be sent again: %s", task_id, error)

    def _keep(self, task_id: str, sent: _Sent) -> None:
        if (before := self._sent.get(sent.id)) is not None:
            # A middleware sends it twice.
            self._forget(task_id, before)
        self._tasks.setdefault(task_id, []).append(sent)
        self._sent[sent.id] = sent
        self._bytes += len(sent.frame)
        while len(self._tasks) > MAX_TASKS or self._bytes > MAX_BYTES:
            oldest = next(iter(self._tasks))
            for old in list(self._tasks[oldest]):
                self._forget(oldest, old)

    def _forget(self, task_id: str, sent: _Sent) -> None:
        if self._sent.pop(sent.id, None) is None:
            return
        self._bytes -= len(sent.frame)
        answers = self._tasks[task_id]
        answers.remove(sent)
        if not answers:
            del self._tasks[task_id]

    # --- it comes back ------------------------------------------------------------------------------

    def take_back(self, frame: bytes, why: Undelivered) -> None:
        """Take an answer that was not delivered: it is sent again as long as somebody may be there soon."""
        answer = decode(frame)
        if (again := self._returned.get(answer.id)) is not None:
            again[0].returned = why
            return
        sent = self._sent.get(answer.id)
        hopeless = self._closed or why not in {"no_consumers", "overloaded"}
        if sent is None or hopeless or len(self._returned) >= MAX_RETURNED:
            logger.warning("%s %s was not delivered: %s", answer.type.value, answer.id, why)
            return
        sent.returned = why
        sending = asyncio.get_running_loop().create_task(self._send_again(sent))
        self._returned[sent.id] = (sent, sending)
        sending.add_done_callback(lambda _: self._returned.pop(sent.id, None))

    async def _send_again(self, sent: _Sent) -> None:
        attempts = 1
        try:
            for pause_s in PAUSES_S:
                await asyncio.sleep(pause_s)
                if sent.returned is None:
                    return
                sent.returned = None
                attempts += 1
                await self._publish(sent)
            # The last one may come back, too.
            await asyncio.sleep(PAUSES_S[0])
        except SynapseError as error:
            logger.warning("answer %s to %s is given up: %s", sent.id, sent.subject, error)
            return
        if sent.returned is not None:
            logger.warning(
                "answer %s to %s is given up after %d attempts: %s",
                sent.id,
                sent.subject,
                attempts,
                sent.returned,
            )

    def give_up(self) -> None:
        """Send nothing again that comes back from now on, or did before."""
        self._closed = True
        for sent, sending in list(self._returned.values()):
            if sending.cancel():
                logger.warning("answer %s to %s is given up: its host stops", sent.id, sent.subject)
