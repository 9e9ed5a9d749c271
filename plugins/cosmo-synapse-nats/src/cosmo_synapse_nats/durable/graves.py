"""Dead letters: frames that were given to members as often as they may be, and none was done with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nats import errors
from nats.js.errors import NotFoundError

from cosmo_core.contracts.delivery import DeadLetter
from cosmo_core.errors import SynapseError

if TYPE_CHECKING:
    from nats.js import JetStreamContext, api

DELIVERIES: Final = "Cosmo-Deliveries"
REASON: Final = "Cosmo-Reason"
MESSAGE_ID: Final = "Nats-Msg-Id"
MAX_REASON: Final = 500


class Graves:
    """The stream of dead letters."""

    def __init__(self, js: JetStreamContext, stream: str) -> None:
        self._js = js
        self._stream = stream

    async def bury(self, letter: DeadLetter, name: str) -> None:
        """Store a dead letter; one of the same name is stored once.

        Raises:
            nats.errors.Error: It was not stored.
            TimeoutError: It may not have been.
        """
        headers = {
            MESSAGE_ID: name,
            DELIVERIES: str(letter.deliveries),
            # One line, of characters that every client can read.
            REASON: " ".join(letter.reason.split())[:MAX_REASON].encode("ascii", "backslashreplace").decode(),
        }
        await self._js.publish(f"{self._stream}.{letter.subject}", letter.frame, headers=headers)

    async def read(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first.

        Raises:
            SynapseError: The server does not answer.
        """
        letters: list[DeadLetter] = []
        try:
            state = (await self._js.stream_info(self._stream)).state
            sequence = state.first_seq
            while len(letters) < state.messages and sequence <= state.last_seq:
                found = await self._js.get_msg(
                    self._stream, seq=sequence, next=True, subject=f"{self._stream}.>"
                )
                letters.append(self._letter(found))
                sequence = (found.seq or sequence) + 1
        except NotFoundError:
            # The oldest went while they were read.
            return letters
        except (errors.Error, TimeoutError) as error:
            raise SynapseError(f"the dead letters in {self._stream} cannot be read: {error}") from error
        return letters

    def _letter(self, found: api.RawStreamMsg) -> DeadLetter:
        headers = found.headers or {}
        return DeadLetter(
            subject=(found.subject or "").removeprefix(f"{self._stream}."),
            frame=found.data or b"",
            deliveries=int(headers.get(DELIVERIES, 0)),
            reason=headers.get(REASON, ""),
        )
