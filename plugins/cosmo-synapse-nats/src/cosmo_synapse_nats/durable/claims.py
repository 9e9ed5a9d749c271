"""Which subjects a queue group has a place for: frames on others would wait for nobody."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from nats import errors
from nats.js.errors import ServiceUnavailableError

from cosmo_core.errors import SynapseError
from cosmo_core.routing import SubjectTable
from cosmo_synapse_nats.durable.streams import every_consumer

if TYPE_CHECKING:
    from nats.js import JetStreamContext


AGAIN_S: Final = 0.05
"""Seconds until a server that did not answer is asked again."""

PLAIN_S: Final = 1.0
"""Seconds for which a subject that only others than queue groups listen to is taken for one."""

MAX_PLAIN: Final = 1_024


class Claims:
    """Remembers the places of queue groups; asks the server about a subject for which it knows of none.

    A group keeps its place when its members go, so what was found once need not be asked for again.
    """

    def __init__(self, js: JetStreamContext, stream: str) -> None:
        self._js = js
        self._stream = stream
        self._table: SubjectTable[str] = SubjectTable()
        self._asking = asyncio.Lock()
        self._asked_at = -1.0
        self._plain: dict[str, float] = {}

    def known(self, subject: str) -> bool:
        """Tell whether a queue group is known to have a place for ``subject``."""
        return bool(self._table.route(subject).targets)

    async def found(self, subject: str) -> bool:
        """Ask the server whether a queue group has a place for ``subject``, until it answers.

        Raises:
            SynapseError: It refuses to say.
        """
        since = monotonic()
        async with self._asking:
            # What another one asked for meanwhile is as good.
            while not self.known(subject) and self._asked_at < since:
                begun = monotonic()
                if await self._asked():
                    self._asked_at = begun
                else:
                    await asyncio.sleep(AGAIN_S)
            return self.known(subject)

    def is_plain(self, subject: str, *, online: bool) -> bool:
        """Tell whether a subject had subscribers a moment ago, and no queue group a place for it.

        Without the server, what was so before still holds.
        """
        since = self._plain.get(subject)
        if since is None or self.known(subject):
            return False
        return not online or monotonic() - since < PLAIN_S

    def note_plain(self, subject: str) -> None:
        """Remember that a subject has subscribers, and no queue group a place for it."""
        self._plain.pop(subject, None)
        self._plain[subject] = monotonic()
        if len(self._plain) > MAX_PLAIN:
            del self._plain[next(iter(self._plain))]

    async def _asked(self) -> bool:
        try:
            consumers = await every_consumer(self._js, self._stream)
        except (ServiceUnavailableError, TimeoutError):
            # It is gone, or it has not opened its store yet.
            return False
        except errors.Error as error:
            raise SynapseError(f"nobody knows who has a place in {self._stream}: {error}") from error
        table: SubjectTable[str] = SubjectTable()
        for consumer in consumers:
            pattern = (consumer.config.filter_subject or "").removeprefix(f"{self._stream}.")
            if pattern:
                table.add(pattern, consumer.name)
        self._table = table
        return True
