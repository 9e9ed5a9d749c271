"""What the two APIs have in common: the `Dialect` protocol, and the events of a streamed answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from cosmo_llm import Failures, read_answer
from cosmo_llm.streams import SSEParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cosmo_source_huggingface.options import HuggingFaceOptions

_DONE: Final = "[DONE]"


class StreamedAnswer(Protocol):
    """An answer that arrives in events.

    Attributes:
        complete: Whether the provider has marked the answer as complete.
    """

    complete: bool

    def feed(self, event: dict[str, Any]) -> str:
        """Add one event and return its text, which may be empty.

        Raises:
            UnexpectedShapeError: It is not an event of this API.
        """
        ...

    def output(self) -> dict[str, Any]:
        """The Neuron's output, the same as without streaming."""
        ...


class Dialect(Protocol):
    """An API: it builds the body of a request, and reads the answer."""

    def path(self, *, stream: bool) -> str:
        """The path of the API under the endpoint."""
        ...

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The JSON body of the request.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid.
        """
        ...

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The Neuron's output from a whole answer.

        Raises:
            UnexpectedShapeError: It is not an answer of this API.
        """
        ...

    def streamed(self) -> StreamedAnswer:
        """A new, empty answer for streaming."""
        ...


class EventDecoder:
    """Decodes server-sent events and adds them to a streamed answer.

    Attributes:
        done: Whether the provider has announced the end of the stream.
    """

    def __init__(self, answer: StreamedAnswer, failures: Failures) -> None:
        self.done = False
        self._answer = answer
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
            if text := read_answer(event.data, self._failures, self._answer.feed):
                yield text

    def end(self) -> Iterator[str]:
        """Handle the end of the stream; an unfinished event adds nothing.

        Raises:
            NeuronError: The answer is not complete.
        """
        if self._empty:
            raise self._failures.malformed("no server-sent events")
        if not self.done and not self._answer.complete:
            raise self._failures.cut()
        return iter(())
