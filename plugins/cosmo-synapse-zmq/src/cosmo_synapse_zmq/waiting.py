"""The frames that wait for queue groups in a hub: each publisher has a share of the space for them."""

from __future__ import annotations

import attrs

from cosmo_core.routing import Delivery
from cosmo_synapse_zmq.limits import FREE_WAITING_BYTES, MAX_PEER_WAITING_BYTES, MAX_WAITING_BYTES


@attrs.define
class WaitingFrames:
    """Counts the bytes of the frames that wait, in all and of each publisher.

    A publisher is a session id, or None for all datagrams together. Frames that are redelivered are not
    counted: they were limited while they were worked on.

    Attributes:
        total: The bytes of all frames that wait.
    """

    total: int = 0
    _of: dict[bytes | None, int] = attrs.field(factory=dict)
    # The publisher and the bytes of each delivery, by its number.
    _deliveries: dict[int, tuple[bytes | None, int]] = attrs.field(factory=dict)

    def is_free(self, publisher: bytes | None, size: int) -> bool:
        """Return whether a frame of ``size`` bytes of a publisher may wait however many others do."""
        return self._of.get(publisher, 0) + size <= FREE_WAITING_BYTES

    def has_space(self, publisher: bytes | None, size: int) -> bool:
        """Return whether a frame of ``size`` bytes of a publisher may wait.

        There is space for frames that a publisher has sent before it knew that it must pause.
        """
        return self.is_free(publisher, size) or (
            self._of.get(publisher, 0) + size <= 2 * MAX_PEER_WAITING_BYTES
            and self.total + size <= MAX_WAITING_BYTES * 3 // 2
        )

    def is_scarce(self, publisher: bytes | None, size: int = 0) -> bool:
        """Return whether a publisher must pause once a frame of ``size`` bytes of it waits."""
        return not self.is_free(publisher, size) and (
            self._of.get(publisher, 0) + size > MAX_PEER_WAITING_BYTES
            or self.total + size > MAX_WAITING_BYTES
        )

    def add(self, delivery: Delivery, publisher: bytes | None, size: int) -> None:
        """Count a delivery that waits from now on."""
        self._deliveries[delivery.number] = publisher, size
        self._of[publisher] = self._of.get(publisher, 0) + size
        self.total += size

    def remove(self, delivery: Delivery) -> bytes | None:
        """Count a delivery no more, and return its publisher; do nothing if it is not counted."""
        publisher, size = self._deliveries.pop(delivery.number, (None, 0))
        if size:
            self.total -= size
            self._of[publisher] -= size
            if not self._of[publisher]:
                del self._of[publisher]
        return publisher
