"""Parsers for streamed answers: server-sent events and JSON lines.

A parser takes the bytes of a stream as they arrive, in chunks of any size, and returns what they complete. It
does no I/O, and the bytes that it holds are bounded.

Neither parser comes from a library. httpx-sse 0.4 loses the first event of a stream that begins with a byte
order mark, holds back an event whose lines end in CR until more bytes arrive, and holds an event of any size.
httpx's ``aiter_lines`` ends a line at U+0085 and U+2028, which JSON may hold unescaped, and holds a line of
any size. These tests in ``tests/test_streams.py`` show it: ``test_a_byte_order_mark_is_skipped``,
``test_an_event_is_complete_when_its_last_cr_arrives``, ``test_an_event_is_bounded_however_it_comes``,
``test_only_a_line_feed_ends_a_line`` and ``test_a_line_is_bounded_however_it_comes``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cosmo_llm.failures import PROVIDER_MALFORMED

MAX_EVENT_BYTES: Final = 16 << 20
"""The default limit on one event or line, in bytes. An event can hold an image."""

_BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event. The fields ``id`` and ``retry`` are left out: a chat completion is never resumed."""

    data: str
    event: str = "message"


class SSEParser:
    """Parses server-sent events as the HTML standard defines them.

    Lines end in CR LF, LF or CR, comments are skipped, and several ``data`` lines make one event. The
    standard drops an event that has no blank line behind it at the end of the stream; `end` returns it,
    because some servers leave that line out.

    Args:
        max_event_bytes: The limit on the bytes of one event.
    """

    __slots__ = ("_after_cr", "_data", "_event", "_held", "_line", "_max")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._line = bytearray()
        self._data: list[str] = []
        self._event = ""
        self._held = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Parse the next bytes and return the events that they complete.

        Raises:
            NeuronError: With code ``PROVIDER_MALFORMED``, when an event exceeds the limit.
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
            self._count(len(text))
            self._line += text
            if len(text) < len(piece) and (event := self._end_line()):
                events.append(event)
        return events

    def end(self) -> list[ServerSentEvent]:
        """Return the last event, if it has no blank line behind it. It may have been cut."""
        return [event for event in (self._end_line(), self._end_event()) if event]

    def _count(self, size: int) -> None:
        self._held += size
        if self._held > self._max:
            raise PROVIDER_MALFORMED.error(f"a streamed event is larger than {self._max} bytes")

    def _end_line(self) -> ServerSentEvent | None:
        # Not only the first line: a server that joins several streams leaves the mark of each.
        line = bytes(self._line).removeprefix(_BOM)
        self._line.clear()
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._event = text
        else:
            self._held -= len(line)
        return None

    def _end_event(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._held = [], "", 0
        return ServerSentEvent("\n".join(data), event or "message") if data else None


class LineParser:
    """Splits a stream of JSON lines at its line feeds; blank lines are skipped.

    Args:
        max_line_bytes: The limit on the bytes of one line.
    """

    __slots__ = ("_line", "_max", "_started")

    def __init__(self, *, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_line_bytes
        self._line = bytearray()
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Parse the next bytes and return the lines that they complete.

        Raises:
            NeuronError: With code ``PROVIDER_MALFORMED``, when a line exceeds the limit.
        """
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._append(piece)
            lines += self.end()
        self._append(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return the last line if it has no line feed at its end and is not blank."""
        line = bytes(self._line)
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        line = line.strip()
        return [line] if line else []

    def _append(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > self._max:
            raise PROVIDER_MALFORMED.error(f"a streamed line is longer than {self._max} bytes")
        self._line += piece
