"""The Neurons that this source makes: one that returns its answer, and one that streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import Failures, Secrets, read_answer
from cosmo_llm.http import Transport
from cosmo_source_huggingface.chat_completions import ChatCompletions
from cosmo_source_huggingface.events import EventDecoder
from cosmo_source_huggingface.failures import HuggingFace
from cosmo_source_huggingface.text_generation import TextGeneration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_llm.http import Call
    from cosmo_source_huggingface.dialect import Dialect
    from cosmo_source_huggingface.options import HuggingFaceOptions


class _ProviderNeuron:
    """What both kinds share: the options, the dialect and the connections."""

    def __init__(self, options: HuggingFaceOptions) -> None:
        key = options.api_key
        self._options = options
        self._dialect: Dialect = ChatCompletions() if options.use_chat_api else TextGeneration()
        self._transport = Transport(options, {"authorization": f"Bearer {key}"} if key else None)
        self._failures = Failures(
            server=options.endpoint.base,
            timeout_s=options.timeout,
            provider=HuggingFace(),
            secrets=options.secrets | Secrets([key] if key else ()),
        )

    def __repr__(self) -> str:
        model, endpoint = self._options.model, self._options.endpoint.base
        return f"<{type(self).__name__} model={model!r} endpoint={endpoint!r}>"

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones; a client given by the user stays open."""
        await self._transport.aclose()

    def _begin(self, input: Mapping[str, Any]) -> Call:
        stream = self._options.stream
        body = self._dialect.body(self._options.for_call(input), input, stream=stream)
        return self._transport.call(self._dialect.path(stream=stream), body, self._failures)


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
        return read_answer(await self._transport.fetch(call), call.failures, self._dialect.output)


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
        answer = self._dialect.streamed()
        async with await self._transport.open(call, EventDecoder(answer, call.failures)) as texts:
            async for text in texts:
                yield text
        yield answer.output()
