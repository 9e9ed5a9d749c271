"""Frames whose fate is not known yet: who is to be told, should they not be delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import Undelivered, UndeliveredHandler

MAX_FRAMES: Final = 1024
MAX_BYTES: Final = 8 * 1024 * 1024


class Window:
    """Keeps the newest frames, and who asked to be told of them.

    What the server or a member has to say of a frame comes soon, or never: an older frame makes room for a
    newer one, and nobody is told of it any more.

    Args:
        max_frames: How many are kept.
        max_bytes: How many bytes they may have together.
    """

    def __init__(self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._bytes = 0
        self._last = 0
        self._kept: dict[int, tuple[bytes, UndeliveredHandler]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def add(self, frame: bytes, tell: UndeliveredHandler) -> int:
        """Keep ``frame``; return the number it is known by."""
        self._last += 1
        self._kept[self._last] = (frame, tell)
        self._bytes += len(frame)
        while len(self._kept) > self._max_frames or self._bytes > self._max_bytes:
            self.forget(next(iter(self._kept)))
        return self._last

    def forget(self, number: int) -> None:
        """Keep a frame no longer; nothing happens if it is not."""
        kept = self._kept.pop(number, None)
        if kept is not None:
            self._bytes -= len(kept[0])

    def tell(self, number: int, why: Undelivered) -> None:
        """Tell who asked that a frame was not delivered; nothing happens if it is not kept."""
        kept = self._kept.get(number)
        if kept is not None:
            self.forget(number)
            frame, tell = kept
            tell(frame, why)
