"""Who has been heard of lately enough to be trusted with work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)


class Leases(Generic[H]):
    """A lease for each holder, which ends unless it is renewed.

    Args:
        lease_s: For how many seconds a renewal holds.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        # The one that was renewed longest ago comes first, as all last equally long.
        self._renewed: OrderedDict[H, float] = OrderedDict()

    def renew(self, holder: H, now: float) -> None:
        """Let the lease of ``holder`` begin, or begin anew. ``now`` is in monotonic seconds."""
        self._renewed[holder] = now
        self._renewed.move_to_end(holder)

    def end(self, holder: H) -> None:
        """End the lease of ``holder``; nothing happens if there is none."""
        self._renewed.pop(holder, None)

    def expire(self, now: float) -> list[H]:
        """End, and return, the leases that were not renewed in time."""
        expired = []
        for holder, renewed in self._renewed.items():
            if now - renewed < self._lease_s:
                break
            expired.append(holder)
        for holder in expired:
            del self._renewed[holder]
        return expired
