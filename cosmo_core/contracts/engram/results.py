"""What comes back from shared memory."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Hit:
    """An entry that was found.

    Attributes:
        id: Of the entry.
        entry: The entry as it was imprinted, but for its ``embedding``.
        score: How well it fits: the higher, the better; 1 where nothing ranks. Scores of different kinds of
            Engrams do not compare.
        engram_id: The Engram that has it.
    """

    id: str
    entry: dict[str, Any]
    score: float = 1.0
    engram_id: str = ""


@attrs.frozen
class RecallResult:
    """What was found.

    Attributes:
        hits: Best first; with mode ``all``, one Engram after the other.
        truncated: Whether there was more than was asked for, or than fits into one Signal.
        engrams: The ids of the Engrams that answered.
        failed: What went wrong with the others, by id.
    """

    hits: list[Hit]
    truncated: bool = False
    engrams: tuple[str, ...] = ()
    failed: dict[str, str] = attrs.Factory(dict)

    @property
    def partial(self) -> bool:
        """Whether an Engram that was asked did not answer, or failed."""
        return bool(self.failed)


@attrs.frozen
class ImprintReceipt:
    """What was written.

    Attributes:
        engram_id: The Engram that wrote it.
        op: What was done.
        id: Of the entry; None where there was none to delete.
        version: How often the entry was written, this time included; None when it is deleted.
    """

    engram_id: str
    op: str
    id: str | None = None
    version: int | None = None
