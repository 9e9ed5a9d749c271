"""JSON lines, cut apart as they arrive: bytes in, lines out, no clock and no socket."""

from __future__ import annotations

from typing import Final

from cosmo_llm import PROVIDER_MALFORMED

MAX_LINE_BYTES: Final = 1 << 20
"""How long one line may grow before the stream is refused."""


class LineParser:
    """Turns a byte stream into lines, wherever the chunks happen to be cut; blank lines are skipped.

    Args:
        max_line_bytes: The bound on what is held at any time.
    """

    __slots__ = ("_held", "_max")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._held = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they complete.

        Raises:
            NeuronError: With code ``PROVIDER_MALFORMED`` when one line is longer than the bound.
        """
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._hold(piece)
            lines += self.end()
        self._hold(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return the line that nothing follows, unless it is blank."""
        line = bytes(self._held).strip()
        self._held.clear()
        return [line] if line else []

    def _hold(self, piece: bytes) -> None:
        if len(self._held) + len(piece) > self._max:
            raise PROVIDER_MALFORMED.error(f"a streamed line is longer than {self._max} bytes")
        self._held += piece
