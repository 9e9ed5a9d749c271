"""What the checks of a kit raise."""

from __future__ import annotations


class ConformanceError(AssertionError):
    """A requirement is not met.

    Attributes:
        requirement: Its id.
    """

    def __init__(self, requirement: str, reason: str) -> None:
        super().__init__(f"{requirement}: {reason}")
        self.requirement = requirement


class UnmetError(Exception):
    """Raised inside a check: says what was found instead of what must be."""
