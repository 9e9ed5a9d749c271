"""What is known of how a server ended: its status, and what it said besides MCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_source_mcp.limits import MAX_STRAY_LINES, STDERR_TAIL_BYTES

if TYPE_CHECKING:
    from cosmo_source_mcp.redaction import Secrets


class LastWords:
    """Collects them while the server runs.

    Attributes:
        status: Its exit status, negative for a signal; ``None`` when it is not known.
    """

    def __init__(self, secrets: Secrets) -> None:
        self.status: int | None = None
        self._secrets = secrets
        self._stderr = bytearray()
        self._stderr_cut = False
        self._stray = ""
        self._strays_in_a_row = 0

    def hear(self, chunk: bytes) -> None:
        """Take what it wrote to its stderr; only the end of that is kept."""
        self._stderr += chunk
        self._stderr_cut = self._stderr_cut or len(self._stderr) > STDERR_TAIL_BYTES
        del self._stderr[:-STDERR_TAIL_BYTES]

    def stray(self, line: bytes) -> bool:
        """Take a line of its stdout that is not MCP, and tell whether there were too many in a row."""
        if said := self._secrets.quote(line.decode(errors="replace")):
            self._stray = said
        self._strays_in_a_row += 1
        return self._strays_in_a_row > MAX_STRAY_LINES

    def understood(self) -> None:
        """A line of its stdout was MCP."""
        self._strays_in_a_row = 0

    def __str__(self) -> str:
        parts = []
        if self.status is not None:
            parts.append(f"exit status {self.status}" if self.status >= 0 else f"signal {-self.status}")
        if words := self._secrets.quote_end(self._stderr.decode(errors="replace"), cut=self._stderr_cut):
            parts.append(f"its stderr ends: {words}")
        if self._stray:
            parts.append(f"on its stdout, where only MCP belongs, is: {self._stray}")
        return "; ".join(parts)
