"""Server-sent events, read as the HTML standard specifies, and written again in one form."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class TooLargeError(Exception):
    """An event exceeds the size limit."""


class Event:
    """One event, while it is read.

    Attributes:
        kind: Its type; empty for a message.
        data: The lines of its data.
        id: The id to resume after, if it has one.
        retry: The pause before the client resumes, in milliseconds, if it has one.
        size: The bytes of its data.
    """

    def __init__(self) -> None:
        self.kind = b""
        self.data: list[bytes] = []
        self.id: bytes | None = None
        self.retry: bytes | None = None
        self.size = 0

    @property
    def message(self) -> bytes:
        """Its data, if it is a message. An event of another type, such as ``ping``, has nothing to read."""
        return b"\n".join(self.data) if self.kind in (b"", b"message") else b""

    def add(self, line: bytes) -> None:
        """Add a line that is not empty."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self.kind = value
            case b"data":
                self.data.append(value)
                self.size += len(value) + 1
            case b"id" if b"\0" not in value:
                self.id = value
            case b"retry" if value.isdigit():
                self.retry = value

    def encode(self, data: bytes) -> bytes:
        """This event with other data, as a message; empty if there is nothing in it."""
        lines = [b"id: " + self.id] if self.id is not None else []
        lines += [b"retry: " + self.retry] if self.retry is not None else []
        # A line break in JSON is white space.
        lines += [b"data: " + data.replace(b"\n", b" ")] if data else []
        return b"\n".join(lines) + b"\n\n" if lines else b""


class EventReader:
    """Reads events from the chunks of a body. A line may end in CR LF, LF or CR, and the body in a line.

    Args:
        limit: The size limit of an event in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0
        self._is_after_cr = False
        self._event = Event()

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that a chunk completes.

        Raises:
            TooLargeError: An event exceeds the size limit.
        """
        if self._is_after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        if not chunk:
            return
        self._held += chunk
        # A CR ends its line at once: to wait for the next byte would delay the event.
        self._is_after_cr = chunk.endswith(b"\r")
        start = 0
        for end in _LINE_END.finditer(bytes(self._held), self._searched):
            yield from self._line(bytes(self._held[start : end.start()]))
            start = end.end()
        del self._held[:start]
        self._searched = len(self._held)
        self._check(len(self._held))

    def end(self) -> Event:
        """The event that the end of the body leaves without its empty line."""
        if self._held:
            self._event.add(bytes(self._held))
        return self._event

    def _line(self, line: bytes) -> Iterator[Event]:
        # Not only the first line: a server that joins several streams leaves the mark of each.
        line = line.removeprefix(BOM_UTF8)
        if line:
            self._event.add(line)
            self._check(0)
            return
        event, self._event = self._event, Event()
        yield event

    def _check(self, held: int) -> None:
        if self._event.size + held > self._limit:
            raise TooLargeError
