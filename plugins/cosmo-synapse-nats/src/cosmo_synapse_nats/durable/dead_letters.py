"""The stream of dead letters: frames that were delivered as often as allowed, and never acknowledged."""

from __future__ import annotations

from typing import Final

from nats import errors
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from cosmo_core.contracts.delivery import DeadLetter
from cosmo_core.errors import SynapseError

DELIVERIES_HEADER: Final = "Cosmo-Deliveries"
REASON_HEADER: Final = "Cosmo-Reason"
MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"
MAX_REASON: Final = 500


class DeadLetterStream:
    """Stores and reads dead letters."""

    def __init__(self, js: JetStreamContext, stream: str) -> None:
        self._js = js
        self._stream = stream

    async def store(self, dead: DeadLetter, message_id: str) -> None:
        """Store a dead letter. A second one with the same id is not stored.

        Raises:
            nats.errors.Error: It was not stored.
            TimeoutError: It may not have been stored.
        """
        headers = {
            MESSAGE_ID_HEADER: message_id,
            DELIVERIES_HEADER: str(dead.deliveries),
            # A header value is one line of ASCII.
            REASON_HEADER: " ".join(dead.reason.split())[:MAX_REASON]
            .encode("ascii", "backslashreplace")
            .decode(),
        }
        await self._js.publish(f"{self._stream}.{dead.subject}", dead.frame, headers=headers)

    async def read(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first.

        Raises:
            SynapseError: The server does not answer.
        """
        found: list[DeadLetter] = []
        try:
            state = (await self._js.stream_info(self._stream)).state
            sequence = state.first_seq
            while len(found) < state.messages and sequence <= state.last_seq:
                message = await self._js.get_msg(
                    self._stream, seq=sequence, next=True, subject=f"{self._stream}.>"
                )
                found.append(self._dead_letter(message))
                sequence = (message.seq or sequence) + 1
        except NotFoundError:
            # The oldest ones were removed while they were read.
            return found
        except (errors.Error, TimeoutError) as error:
            raise SynapseError(f"cannot read the dead letters in {self._stream}: {error}") from error
        return found

    def _dead_letter(self, message: api.RawStreamMsg) -> DeadLetter:
        headers = message.headers or {}
        return DeadLetter(
            subject=(message.subject or "").removeprefix(f"{self._stream}."),
            frame=message.data or b"",
            deliveries=int(headers.get(DELIVERIES_HEADER, 0)),
            reason=headers.get(REASON_HEADER, ""),
        )
