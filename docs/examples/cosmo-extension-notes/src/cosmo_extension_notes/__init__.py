"""Shares notes about a trace among the Dendrites of a namespace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cosmo_core import LifecycleError, Signal, SignalType
from cosmo_core.dendrite.extension import Extension

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_core.dendrite.extension import Ports

COSMO_API = 1

MAX_TRACES: Final = 1000
"""The number of traces whose notes are kept; the oldest are forgotten first."""


class NotesExtension(Extension):
    """Sends notes as MEMORY_APPEND Signals, and keeps the latest note of each key, by trace.

    Args:
        ports: What the extension may use of its Dendrite.
    """

    name: ClassVar[str] = "notes"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._notes: dict[str, dict[str, Any]] = {}
        self._received = 0
        self._changed = asyncio.Event()
        self._closed = False

    async def append(self, trace_id: str, key: str, value: Any, *, parent_id: str | None = None) -> Signal:
        """Send a note to all Dendrites of the namespace, and return its Signal.

        Raises:
            LifecycleError: The Dendrite is not running.
        """
        payload = {"key": key, "value": value}
        note = Signal.new(SignalType.MEMORY_APPEND, payload, trace_id=trace_id, parent_id=parent_id)
        await self.ports.emit(note)
        return note

    def notes(self, trace_id: str) -> dict[str, Any]:
        """Return the latest note of each key on a trace."""
        return dict(self._notes.get(trace_id, {}))

    async def wait_for_note(self, trace_id: str, key: str) -> Any:
        """Return the note of a key on a trace; wait until there is one.

        Raises:
            LifecycleError: The Dendrite stopped first.
        """
        while key not in self._notes.get(trace_id, {}):
            if self._closed:
                raise LifecycleError(f"the Dendrite stopped before a note {key!r} arrived on {trace_id}")
            self._changed.clear()
            await self._changed.wait()
        return self._notes[trace_id][key]

    async def connect(self) -> None:
        """Subscribe to notes. The Dendrite calls this when it starts."""
        subject = self.ports.subjects.broadcast(SignalType.MEMORY_APPEND)
        await self.ports.listen(subject, self._receive)

    def counters(self) -> Mapping[str, int]:
        """Return the number of received notes, for `Dendrite.counters`."""
        return {"notes_received": self._received}

    def close(self) -> None:
        """End every wait. The Dendrite calls this when it has stopped."""
        self._closed = True
        self._changed.set()

    def _receive(self, note: Signal) -> None:
        if note.trace_id not in self._notes and len(self._notes) == MAX_TRACES:
            del self._notes[next(iter(self._notes))]
        self._notes.setdefault(note.trace_id, {})[note.payload["key"]] = note.payload["value"]
        self._received += 1
        self._changed.set()
