"""The server-sent events of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_llm import Failures, read_answer
from cosmo_llm.streams import SSEParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmo_source_huggingface.dialect import StreamedAnswer

_DONE: Final = "[DONE]"


class EventDecoder:
    """Feeds events to the answer that they are parts of.

    Attributes:
        done: Whether the provider has said that no more events follow.
    """

    def __init__(self, answer: StreamedAnswer, failures: Failures) -> None:
        self.done = False
        self._answer = answer
        self._failures = failures
        self._parser = SSEParser()
        self._empty = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take the next bytes and give the texts that they complete.

        Raises:
            NeuronError: They are not understood, or report an error.
        """
        for event in self._parser.feed(chunk):
            self._empty = False
            if event.data == _DONE:
                self.done = True
                return
            if text := read_answer(event.data, self._failures, self._answer.feed):
                yield text

    def end(self) -> Iterator[str]:
        """Take notice that no more bytes will be fed; an event without its end adds nothing.

        Raises:
            NeuronError: The answer is not complete.
        """
        if self._empty:
            raise self._failures.malformed("no server-sent events")
        if not self.done and not self._answer.complete:
            raise self._failures.cut()
        return iter(())
