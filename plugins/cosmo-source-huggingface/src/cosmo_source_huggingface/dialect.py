"""What the two APIs have in common: the events of a streamed answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import Failures, read_answer
from cosmo_llm.streams import SSEParser

if TYPE_CHECKING:
    from collections.abc import Iterator

_DONE: Final = "[DONE]"


class EventDecoder(ABC):
    """Decodes server-sent events and joins them to one answer.

    Attributes:
        done: Whether the provider has announced the end of the stream.
        complete: Whether the provider has marked the answer as complete.
    """

    def __init__(self, failures: Failures) -> None:
        self.done = False
        self.complete = False
        self._failures = failures
        self._parser = SSEParser()
        self._empty = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Decode the next bytes and yield the texts that they complete.

        Raises:
            NeuronError: They are malformed, or report an error.
        """
        for event in self._parser.feed(chunk):
            self._empty = False
            if event.data == _DONE:
                self.done = True
                return
            if text := read_answer(event.data, self._failures, self.add):
                yield text

    def end(self) -> Iterator[str]:
        """Handle the end of the stream; an unfinished event adds nothing.

        Raises:
            NeuronError: The answer is not complete.
        """
        if self._empty:
            raise self._failures.malformed("no server-sent events")
        if not self.done and not self.complete:
            raise self._failures.cut()
        return iter(())

    @abstractmethod
    def add(self, event: dict[str, Any]) -> str:
        """Add one event and return its text, which may be empty.

        Raises:
            UnexpectedShapeError: It is not an event of this API.
        """

    @abstractmethod
    def output(self) -> dict[str, Any]:
        """The Neuron's output, the same as without streaming."""
