"""Leases: which holders renewed in time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)


class Leases(Generic[H]):
    """One lease for each holder, which expires unless it is renewed.

    Args:
        lease_s: Seconds for which a renewal is valid.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        # All leases last equally long, so the order of renewal is the order of expiry.
        self._renewed: OrderedDict[H, float] = OrderedDict()

    def renew(self, holder: H, now: float) -> None:
        """Start or renew the lease of ``holder``. ``now`` is in monotonic seconds."""
        self._renewed[holder] = now
        self._renewed.move_to_end(holder)

    def end(self, holder: H) -> None:
        """End the lease of ``holder``; do nothing if it has none."""
        self._renewed.pop(holder, None)

    def expire(self, now: float) -> list[H]:
        """End the leases that were not renewed in time, and return their holders."""
        expired = []
        for holder, renewed in self._renewed.items():
            if now - renewed < self._lease_s:
                break
            expired.append(holder)
        for holder in expired:
            del self._renewed[holder]
        return expired
