"""Telling of what went wrong, without a flood and without secrets."""

from __future__ import annotations

import logging
from collections import Counter

logger = logging.getLogger("cosmo_synapse_nats")


class Troubles:
    """Logs the 1st, 10th, 100th, ... trouble of a kind: thousands must not become thousands of lines.

    Attributes:
        counts: How many there were of each kind.
        denied: How often the server said that this program may not do something.
    """

    def __init__(self, where: str) -> None:
        self.counts: Counter[str] = Counter()
        self.denied = 0
        self._where = where

    def note(self, kind: str, error: BaseException | str) -> None:
        """Count one, and log it if it is its turn."""
        self.counts[kind] += 1
        if "permissions violation" in str(error).lower():
            self.denied += 1
        count = self.counts[kind]
        if str(count).strip("0") == "1":
            logger.warning("%s: %s, %d so far; this one: %s", self._where, kind, count, error)
