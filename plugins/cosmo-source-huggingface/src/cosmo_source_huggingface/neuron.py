"""The Neurons that this source makes: one that returns its answer, and one that streams it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.chat import INPUT_INVALID, parse_object
from cosmo_source_huggingface.chat_completions import ChatCompletions
from cosmo_source_huggingface.dialect import UnexpectedShapeError
from cosmo_source_huggingface.event_stream import EventStream
from cosmo_source_huggingface.text_generation import TextGeneration
from cosmo_source_huggingface.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_source_huggingface.dialect import Dialect, StreamedAnswer
    from cosmo_source_huggingface.options import Options
    from cosmo_source_huggingface.transport import Call

_DONE: Final = "[DONE]"


class _ProviderNeuron:
    """What both kinds share: the options, the dialect and the connections."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._dialect: Dialect = ChatCompletions() if options.use_chat_api else TextGeneration()
        self._transport = Transport(options)

    def __repr__(self) -> str:
        model, endpoint = self._options.settings.model, self._options.endpoint.base
        return f"<{type(self).__name__} model={model!r} endpoint={endpoint!r}>"

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones; a client given by the user stays open."""
        await self._transport.aclose()

    def _begin(self, input: Mapping[str, Any]) -> Call:
        stream = self._options.stream
        settings = self._options.settings.for_call(input)
        body = self._dialect.body(settings, input, stream=stream)
        try:
            content = json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise INPUT_INVALID.error(f"the input cannot be sent as JSON: {error}") from None
        return self._transport.call(self._options.endpoint.url(self._dialect.path(stream=stream)), content)

    def _parse(self, data: bytes | str) -> dict[str, Any]:
        try:
            answer = parse_object(data)
        except ValueError as error:
            failure = self._transport.failures.malformed(error, data)
        else:
            if not answer.get("error"):
                return answer
            failure = self._transport.failures.reported(answer)
        # Raised out here, so that it holds no other exception: that one holds all the provider sent.
        raise failure


class HuggingFaceNeuron(_ProviderNeuron):
    """``async (input, context) -> {"response": text, "meta": the provider's answer}``."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A prompt or messages, and settings for this call alone.
            context: Not used; what belongs into the prompt is in the input.

        Raises:
            NeuronError: The input does not fit, or the provider failed; see the README for the codes.
        """
        call = self._begin(input)
        response = await self._transport.send(call)
        data = await self._transport.read(call, response)
        answer = self._parse(data)
        try:
            return self._dialect.output(answer)
        except UnexpectedShapeError as error:
            raise self._transport.failures.malformed(error, data) from None


class StreamingHuggingFaceNeuron(_ProviderNeuron):
    """Yields the answer's text as it comes, then the output that a `HuggingFaceNeuron` would return."""

    async def __call__(
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[str | dict[str, Any], None]:
        """Answer one TASK piece by piece.

        Args:
            input: A prompt or messages, and settings for this call alone.
            context: Not used; what belongs into the prompt is in the input.

        Raises:
            NeuronError: The input does not fit, or the provider failed; see the README for the codes.
        """
        call = self._begin(input)
        stream = EventStream(self._transport, call, await self._transport.send(call))
        answer = self._dialect.streamed()
        done = False
        try:
            while not done and (events := await stream.read()) is not None:
                for event in events:
                    done = done or event.data == _DONE
                    if not done and (delta := self._feed(answer, event.data)):
                        yield delta
            if stream.empty:
                raise self._transport.failures.malformed("no server-sent events")
            if not done and not answer.complete:
                raise self._transport.failures.cut()
            await stream.drain()
        finally:
            await stream.aclose()
        yield answer.output()

    def _feed(self, answer: StreamedAnswer, data: str) -> str:
        event = self._parse(data)
        try:
            return answer.feed(event)
        except UnexpectedShapeError as error:
            raise self._transport.failures.malformed(error, data) from None
