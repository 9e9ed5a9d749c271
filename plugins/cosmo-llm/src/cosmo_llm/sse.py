"""Server-sent events, parsed as they arrive: bytes in, events out, no clock and no socket."""

from __future__ import annotations

from typing import Final, NamedTuple

from cosmo_llm import PROVIDER_MALFORMED

MAX_EVENT_BYTES: Final = 1 << 20
"""How large one event may grow before the stream is refused."""

_BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event; ``id`` and ``retry`` are left out, for nobody resumes a chat completion."""

    data: str
    event: str = "message"


class SSEParser:
    """Turns a byte stream into events, wherever the chunks happen to be cut.

    Follows the HTML standard: lines end in CR LF, LF or CR, comments are skipped, several ``data`` lines make
    one event, and an event that the end of the stream leaves incomplete is dropped.

    Args:
        max_event_bytes: The bound on what is held at any time.
    """

    __slots__ = ("_after_cr", "_data", "_event", "_held", "_line", "_max", "_started")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._line = bytearray()
        self._data: list[str] = []
        self._event = ""
        self._held = 0
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        Raises:
            NeuronError: With code ``PROVIDER_MALFORMED`` when one event is larger than the bound.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        events: list[ServerSentEvent] = []
        for piece in chunk.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            self._hold(len(text))
            self._line += text
            if len(text) < len(piece) and (event := self._end_line()):
                events.append(event)
        return events

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._max:
            raise PROVIDER_MALFORMED.error(f"a streamed event is larger than {self._max} bytes")

    def _end_line(self) -> ServerSentEvent | None:
        line = bytes(self._line)
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._event = text
        else:
            self._held -= len(line)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._held = [], "", 0
        return ServerSentEvent("\n".join(data), event or "message") if data else None
