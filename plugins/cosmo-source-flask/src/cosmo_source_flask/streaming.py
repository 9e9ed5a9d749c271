"""The body of an answer as text, piece by piece, while the app sends it."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EXTENSION: Final = "cosmo_source_flask.pieces"
"""The extension of a request that takes the pieces of its answer."""

_TEXT: Final = re.compile(
    r"\s*(?:text/|application/(?:(?:x-)?(?:ndjson|jsonl|json-?lines|json-stream)|(?:[\w.+-]*\+)?(?:xml|json-seq)"
    r"|javascript)\b|$)",
    re.IGNORECASE,
)
"""The types of text that is of use piece by piece. A body without a type may be such a text, too."""


class Pieces:
    """The pieces of one answer, from the first response that is not a redirect.

    Only text is passed on: JSON is of use only when it is complete.

    The size limit of the body is also that of the pieces that wait.
    """

    def __init__(self) -> None:
        self.on_piece: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._changed = asyncio.Event()
        self._sent: list[str] = []
        self._is_binary = False

    def start(self, status: int, headers: httpx.Headers) -> Callable[[bytes], None] | None:
        """Return a function that takes the chunks of a body, or ``None`` for a body that is not passed on."""
        is_text = _TEXT.match(headers.get("content-type", ""))
        if not is_text or 300 <= status < 400 or headers.get("content-encoding", "identity") != "identity":
            return None
        charset = httpx.Response(status, headers=headers).charset_encoding or "utf-8"
        try:
            decoder = codecs.getincrementaldecoder(charset)("replace" if is_text[0].strip() else "strict")
        except LookupError:
            return None

        def take(chunk: bytes) -> None:
            if self._is_binary:
                return
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError:
                self._is_binary = True
                return
            # Also from the thread of a WSGI app.
            self._loop.call_soon_threadsafe(self._add, text)

        return take

    def end(self) -> None:
        """The answer is over: a piece that still comes extends no time limit."""
        self.on_piece = lambda: None

    def _add(self, text: str) -> None:
        if text:
            self._waiting.append(text)
            self._changed.set()
            self.on_piece()

    async def until(self, task: asyncio.Task[Any]) -> AsyncIterator[str]:
        """The pieces until a task is done."""
        task.add_done_callback(lambda _: self._changed.set())
        while not task.done() or self._waiting:
            while self._waiting:
                self._sent.append(self._waiting.popleft())
                yield self._sent[-1]
            self._changed.clear()
            if not task.done() and not self._waiting:
                await self._changed.wait()

    def finish(self, output: dict[str, Any]) -> str:
        """Put the text into an output, and return what of it was not a piece yet."""
        sent = "".join(self._sent)
        if self._is_binary and sent:
            return ""  # the output has the whole body in base64, and the pieces are its beginning
        if not output["response"].startswith(sent):  # some of its bytes are not text, and were replaced
            output["response"] = sent
            output["meta"] = {**output["meta"], "encoding": "utf-8"}
        return str(output["response"][len(sent) :])
