"""The redelivery buffer: stores sent answers, and sends one again if it was lost or is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.delivery import DONE, Undelivered
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import FrameTooLargeError, SynapseError
from cosmo_core.protocol.signal import Signal, decode

if TYPE_CHECKING:
    from cosmo_core.plugins import Dropped

MAX_TASKS: Final = 1_000
"""The number of TASKs whose answers are stored; beyond it the oldest are removed."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes in all stored answers; beyond it the oldest are removed."""

MAX_RETURNED: Final = 1_000
"""The number of undelivered answers that may be in redelivery."""

PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6, 1.6, 1.6)
"""Seconds before each further attempt to deliver an answer: less than 10 in all."""


class _Sent(msgspec.Struct, eq=False):
    """A Signal that ended a TASK, as it was sent.

    Attributes:
        id: The id of the Signal.
        subject: The subject that it was published on.
        frame: The frame that was published.
        tracked: Whether the Synapse reports that it was not delivered.
        undelivered: The reason if the latest attempt was not delivered, otherwise None.
    """

    id: str
    subject: str
    frame: bytes
    tracked: bool
    undelivered: Undelivered | None = None


class RedeliveryBuffer:
    """Sends answers, and sends them again if they were not delivered, or if their TASK is delivered again.

    It is used on a Synapse that gives the TASKs of a lost worker to another one. When a connection breaks
    there, an answer may be lost, or reach a caller that is not connected, while its TASK is acknowledged.
    Or the answer is lost together with the acknowledgement, and the TASK is delivered again.

    Args:
        link: The link to the Synapse.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._closed = False
        self._bytes = 0
        # By TASK, oldest first, and by their own ids.
        self._tasks: dict[str, list[_Sent]] = {}
        self._sent: dict[str, _Sent] = {}
        # By id, the undelivered answers and the asyncio tasks that send them again.
        self._redelivering: dict[str, tuple[_Sent, asyncio.Task[None]]] = {}

    @property
    def pending(self) -> list[asyncio.Task[None]]:
        """The asyncio tasks that send answers again."""
        return [sending for _, sending in self._redelivering.values()]

    def begin_send(
        self, task: Signal, subject: str, answer: Signal, skip_role_check: bool = False
    ) -> Awaitable[Dropped | None] | None:
        """Send a Signal that ends ``task``, as `Link.begin_send` does, and store it."""
        # An inbox with back-pressure is a queue group, where a tracked publish would not wait; a stored one
        # waits there for its reader.
        tracked = subject != self._link.subjects.broadcast(answer.type) and (
            self._link.stores_answers or "pulse_to" not in task.meta
        )
        publish = partial(self._publish_first, task.id, answer.id, subject, tracked)
        return self._link.begin_send(subject, answer, skip_role_check, publish)

    def _publish_first(
        self, task_id: str, id: str, subject: str, tracked: bool, frame: bytes
    ) -> Awaitable[None]:
        sent = _Sent(id, subject, frame, tracked)
        # Stored first: that it is undeliverable may be known before `_publish` returns.
        self._store(task_id, sent)
        try:
            sending = self._publish(sent)
        except FrameTooLargeError:
            self._remove(task_id, sent)
            raise
        return sending if sending is DONE else self._finish_first(task_id, sent, sending)

    async def _finish_first(self, task_id: str, sent: _Sent, sending: Awaitable[None]) -> None:
        try:
            await sending
        except FrameTooLargeError:
            self._remove(task_id, sent)
            raise

    def _publish(self, sent: _Sent) -> Awaitable[None]:
        if not sent.tracked:
            return self._link.send_frame(sent.subject, sent.frame)
        return self._link.send_answer(sent.subject, sent.frame, sent.id, self.handle_undelivered)

    # --- a repeated TASK ----------------------------------------------------------------------------

    def repeat(self, task_id: str) -> Awaitable[None] | None:
        """Send the answers of a TASK again; None if they are not stored. Raises SynapseError when awaited."""
        answers = self._tasks.get(task_id)
        return None if answers is None else self._repeat(list(answers))

    async def _repeat(self, answers: list[_Sent]) -> None:
        for sent in answers:
            await self._publish(sent)

    def _store(self, task_id: str, sent: _Sent) -> None:
        if (before := self._sent.get(sent.id)) is not None:
            # A middleware sent it twice.
            self._remove(task_id, before)
        self._tasks.setdefault(task_id, []).append(sent)
        self._sent[sent.id] = sent
        self._bytes += len(sent.frame)
        while len(self._tasks) > MAX_TASKS or self._bytes > MAX_BYTES:
            oldest = next(iter(self._tasks))
            for old in list(self._tasks[oldest]):
                self._remove(oldest, old)

    def _remove(self, task_id: str, sent: _Sent) -> None:
        if self._sent.pop(sent.id, None) is None:
            return
        self._bytes -= len(sent.frame)
        answers = self._tasks[task_id]
        answers.remove(sent)
        if not answers:
            del self._tasks[task_id]

    # --- an undelivered answer ----------------------------------------------------------------------

    def handle_undelivered(self, frame: bytes, why: Undelivered) -> None:
        """Send an undelivered answer again, for as long as its consumer may come back."""
        answer = decode(frame)
        if (again := self._redelivering.get(answer.id)) is not None:
            again[0].undelivered = why
            return
        sent = self._sent.get(answer.id)
        final = self._closed or why not in {"no_consumers", "overloaded"}
        if sent is None or final or len(self._redelivering) >= MAX_RETURNED:
            logger.warning(
                "%s %s was not delivered, and is not sent again: %s", answer.type.value, answer.id, why
            )
            return
        sent.undelivered = why
        sending = asyncio.get_running_loop().create_task(self._send_again(sent))
        self._redelivering[sent.id] = (sent, sending)
        sending.add_done_callback(lambda _: self._redelivering.pop(sent.id, None))

    async def _send_again(self, sent: _Sent) -> None:
        attempts = 1
        try:
            for pause_s in PAUSES_S:
                await asyncio.sleep(pause_s)
                if sent.undelivered is None:
                    return
                sent.undelivered = None
                attempts += 1
                await self._publish(sent)
            # The last attempt may be reported undelivered, too.
            await asyncio.sleep(PAUSES_S[0])
        except SynapseError as error:
            logger.warning("redelivery of answer %s to %s failed: %s", sent.id, sent.subject, error)
            return
        if sent.undelivered is not None:
            logger.warning(
                "redelivery of answer %s to %s ended after %d attempts: %s",
                sent.id,
                sent.subject,
                attempts,
                sent.undelivered,
            )

    def stop(self) -> None:
        """Send no undelivered answer again from now on."""
        self._closed = True
        for sent, sending in list(self._redelivering.values()):
            if sending.cancel():
                logger.warning("redelivery of answer %s to %s ended: its host stops", sent.id, sent.subject)
