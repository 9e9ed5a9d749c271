"""A chat answer that comes in parts, one JSON object to a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import Failures, UnexpectedShapeError, read_answer, to_output
from cosmo_llm.streams import LineParser
from cosmo_source_ollama.chat import message_in, text_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ChatDecoder:
    """Gives the texts of a streamed answer, and puts its parts together again.

    Attributes:
        done: Whether Ollama has said that this is all.
    """

    def __init__(self, failures: Failures) -> None:
        self.done = False
        self._failures = failures
        self._parser = LineParser()
        self._last: dict[str, Any] = {}
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take the next bytes and give the texts that they complete.

        Raises:
            NeuronError: They are not understood, or report an error.
        """
        return self._read(self._parser.feed(chunk))

    def end(self) -> Iterator[str]:
        """Take notice that no more bytes will be fed, and give the text of a line without an end.

        Raises:
            NeuronError: The answer is not complete.
        """
        yield from self._read(self._parser.end())
        if not self._last:
            raise self._failures.malformed("no JSON lines")
        if not self.done:
            raise self._failures.cut()

    def output(self) -> dict[str, Any]:
        """The text, and as ``meta`` the answer that Ollama would have sent in one piece."""
        text = "".join(self._texts)
        message = {"role": "assistant", **(self._last.get("message") or {}), "content": text}
        if self._thoughts:
            message["thinking"] = "".join(self._thoughts)
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        meta = {**self._last, "message": message}
        if self._logprobs:
            meta["logprobs"] = self._logprobs
        return to_output(text, meta)

    def _read(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            if self.done:
                return
            if text := read_answer(line, self._failures, self._take):
                yield text

    def _take(self, part: dict[str, Any]) -> str:
        done = part.get("done") is True
        # Older versions of Ollama leave the message out of the last part.
        message = {} if done and part.get("message") is None else message_in(part)
        text, thought = text_in(message, "content"), text_in(message, "thinking")
        tool_calls, logprobs = _list_in(message, "tool_calls"), _list_in(part, "logprobs")
        self._last = part
        self.done = done
        self._texts.append(text)
        self._thoughts += [thought] if thought else []
        self._tool_calls += tool_calls
        self._logprobs += logprobs
        return text


def _list_in(holder: dict[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if value is not None and not isinstance(value, list):
        raise UnexpectedShapeError(f"{name} that are not a list")
    return value or []
