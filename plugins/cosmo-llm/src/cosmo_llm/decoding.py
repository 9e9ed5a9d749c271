"""Decodes the answer of a language model, whole or streamed, to texts and to one output."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cosmo_llm.assembly import assembled, mended
from cosmo_llm.failures import Failures, UnexpectedShapeError, object_in, read_answer
from cosmo_llm.streams import LineParser, ServerSentEvent, SSEParser
from cosmo_llm.wire import is_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cosmo_llm.redaction import Secrets

MAX_BODY_BYTES: Final = 16 << 20
"""The limit on a body that is read whole, decompressed."""

_DONE: Final = "[DONE]"
_BEFORE_JSON: Final = b"\xef\xbb\xbf \t\r\n"
_FAILED: Final = re.compile(r"error|abort|cancel|fail|time_?out|insufficient_system_resource", re.IGNORECASE)
"""What is in the reason for which an answer ended, if it ended because of a failure."""


class TextFilter:
    """Makes the texts of a stream fit to be passed on, as they arrive.

    Halves of surrogate pairs are joined, and secrets are redacted. The end of a text that may be the
    beginning of either is held back until the next text.

    Args:
        secrets: What no text may show.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of the texts so far that can be passed on."""
        text = self._held + text
        end = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
        text, self._held = text[:end], text[end:]
        text = self._secrets.redact(mended(text))
        # Behind a half that is held back, no secret can continue.
        begun = 0 if self._held else self._secrets.begun_at_end(text)
        if begun:
            text, self._held = text[:-begun], text[-begun:]
        return text

    def end(self) -> str:
        """The part that was held back."""
        held, self._held = self._held, ""
        return mended(held)


class AnswerDecoder(ABC):
    """Decodes one answer. A subclass says how the bytes are divided, and what a part means.

    Args:
        failures: Makes the errors, and has the secrets that no answer may show.

    Attributes:
        done: Whether the provider has announced the end of the stream.
    """

    NOTHING: ClassVar[str] = "no answer"
    """What is wrong with a stream without any part of an answer."""

    def __init__(self, failures: Failures) -> None:
        self.done = False
        self._failures = failures
        self._filter = TextFilter(failures.credentials)

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Decode the next bytes and yield the texts that they complete.

        Raises:
            NeuronError: They are malformed, or report an error.
        """
        return self._filtered(self._decoded(chunk))

    def end(self) -> Iterator[str]:
        """Handle the end of the stream, and yield the texts that it completes.

        Raises:
            NeuronError: The answer is not complete.
        """
        yield from self._filtered(self._decoded_end())
        if held := self._filter.end():
            yield held

    def output(self) -> dict[str, Any]:
        """The Neuron's output, the same for a whole answer and for a streamed one.

        Raises:
            NeuronError: The answer is nested too deep.
        """
        try:
            output: dict[str, Any] = assembled(self.joined(), self._failures.credentials.redact)
        except RecursionError:
            failure = self._failures.malformed("nested too deep")
        else:
            return output
        raise failure

    @abstractmethod
    def joined(self) -> dict[str, Any]:
        """The output, made of the parts so far."""

    @abstractmethod
    def add(self, part: dict[str, Any]) -> str:
        """Add a part of the answer and return its text, which may be empty.

        Raises:
            UnexpectedShapeError: It is not a part of an answer of this API.
        """

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether any part of an answer has arrived."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the provider has marked the answer as complete."""

    @abstractmethod
    def _decoded(self, chunk: bytes) -> Iterator[str]: ...

    @abstractmethod
    def _decoded_end(self) -> Iterator[str]: ...

    def _filtered(self, texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            if text and (passed := self._filter.feed(text)):
                yield passed

    def _read(self, data: bytes | str, read: Callable[[dict[str, Any]], str]) -> str:
        return read_answer(data, self._failures, read, halves=True)

    def _check_end(self) -> None:
        if not self.begun:
            raise self._failures.malformed(self.NOTHING)
        if not (self.done or self.complete):
            raise self._failures.cut()


class EventDecoder(AnswerDecoder):
    """Decodes server-sent events, or a whole answer: some servers send one although a stream was asked for.

    What carries nothing is skipped: empty events, values that are not objects, and events of other names.
    """

    KEY: ClassVar[str]
    """The key that each part of an answer has."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(failures)
        self._parser = SSEParser()
        self._first: bytearray | None = bytearray()
        self._is_whole = False
        self._answer: dict[str, Any] | None = None

    @abstractmethod
    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The output from an answer that was not streamed.

        Raises:
            UnexpectedShapeError: It is not an answer of this API.
        """

    @abstractmethod
    def streamed(self) -> dict[str, Any]:
        """The output from the parts of a stream."""

    def joined(self) -> dict[str, Any]:
        """The output, however the answer came."""
        return self.streamed() if self._answer is None else self._answer

    def _decoded(self, chunk: bytes) -> Iterator[str]:
        if self._first is None:
            return self._events(self._parser.feed(chunk))
        self._first += chunk
        if len(self._first) > MAX_BODY_BYTES:
            raise self._failures.too_large(MAX_BODY_BYTES)
        begin = b"{" if self._is_whole else self._first.lstrip(_BEFORE_JSON)[:1]
        self._is_whole = begin == b"{"
        if self._is_whole or not begin:
            return iter(())
        first, self._first = bytes(self._first), None
        return self._events(self._parser.feed(first))

    def _decoded_end(self) -> Iterator[str]:
        if self._is_whole and self._first is not None:
            yield self._read(bytes(self._first), self._add_whole)
            return
        if self._first is not None:
            raise self._failures.malformed("no server-sent events")
        for event in self._parser.end():
            # The connection may have ended in the middle of it.
            if event.data.strip() == _DONE or is_json(event.data):
                yield from self._events([event])
        self._check_end()

    def _add_whole(self, answer: dict[str, Any]) -> str:
        self._answer = self.whole(answer)
        text: str = self._answer["response"]
        return text

    def _events(self, events: Iterable[ServerSentEvent]) -> Iterator[str]:
        for event in events:
            data = event.data.strip()
            if data == _DONE:
                self.done = True
            if self.done:
                return
            yield self._event(event.event, data)

    def _event(self, name: str, data: str) -> str:
        if name == "error":
            reported = object_in(data)
            raise self._failures.reported({"error": data} if reported is None else reported)
        if not data or (name != "message" and (object_in(data) or {}).get(self.KEY) is None):
            return ""
        if data[0] != "{" and is_json(data):
            return ""
        return self._read(data, self.add)


class LineDecoder(AnswerDecoder):
    """Decodes JSON lines. A whole answer is a single line."""

    NOTHING = "no JSON lines"

    def __init__(self, failures: Failures) -> None:
        super().__init__(failures)
        self._parser = LineParser()

    def _decoded(self, chunk: bytes) -> Iterator[str]:
        return self._lines(self._parser.feed(chunk))

    def _decoded_end(self) -> Iterator[str]:
        # The connection may have ended in the middle of the last line.
        yield from self._lines(line for line in self._parser.end() if is_json(line))
        self._check_end()

    def _lines(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            if self.done:
                return
            # As in events, a value that is not an object carries nothing.
            if line[:1] == b"{" or not is_json(line):
                yield self._read(line, self.add)


def text_of(content: object) -> str:
    """The text of a message's content, which is a string, a list of parts, or absent, as beside tool calls.

    Raises:
        UnexpectedShapeError: It is of another type.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_text_of_part, content))
    if isinstance(content, dict) and "type" in content:  # one part without its list
        return _text_of_part(content)
    raise UnexpectedShapeError("content is not a string")


def is_reason(value: object) -> bool:
    """Whether a ``finish_reason`` says that a choice is finished: some servers send an empty one before."""
    return isinstance(value, str) and value.strip().lower() not in ("", "null", "none")


def check_finish(choice: dict[str, Any], reason: object, failures: Failures) -> None:
    """Refuse an answer that ended because of an error, whatever else it holds.

    Raises:
        NeuronError: The provider reports an error in the answer.
    """
    error = choice.get("error")
    if error or (isinstance(reason, str) and _FAILED.search(reason)):
        raise failures.reported({"error": error or f"the answer ended with {reason!r}"})


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    match part:
        case {"type": "text" | "output_text", "text": str(text)}:
            return text
    return ""
