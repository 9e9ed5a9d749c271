"""The entry point `huggingface` and the Neurons that it makes: one returns its answer, one streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import Failures, Secrets, read_answer
from cosmo_llm.http import Transport
from cosmo_source_huggingface.chat_completions import ChatCompletions
from cosmo_source_huggingface.dialect import EventDecoder
from cosmo_source_huggingface.failures import HuggingFace
from cosmo_source_huggingface.options import HuggingFaceOptions
from cosmo_source_huggingface.text_generation import TextGeneration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_llm.http import Call
    from cosmo_source_huggingface.dialect import Dialect


def huggingface(**options: Any) -> HuggingFaceNeuron | StreamingHuggingFaceNeuron:
    """Make a Neuron that answers with a language model behind HTTP.

    This opens no connection: the first call makes the HTTP client.

    Args:
        **options: ``endpoint``, ``model``, ``api_key``, ``use_chat_api``, ``max_new_tokens``,
            ``temperature``, ``top_p``, ``stop``, ``system``, ``timeout``, ``stream``, ``headers`` and
            ``client``; the README describes each.

    Returns:
        An async callable, or with ``stream=True`` a callable that returns an async generator.

    Raises:
        TypeError: There is no such option; the message lists the options there are.
        ValueError: A value cannot work, or the endpoint needs a key or a model that is missing.
    """
    parsed = HuggingFaceOptions.parse(options)
    return StreamingHuggingFaceNeuron(parsed) if parsed.stream else HuggingFaceNeuron(parsed)


class _ProviderNeuron:
    """The common part of both Neurons: options, dialect and connections."""

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
        """Close the connections. A later call opens new ones. A client given by the user stays open."""
        await self._transport.aclose()

    def _call(self, input: Mapping[str, Any]) -> Call:
        stream = self._options.stream
        body = self._dialect.body(self._options.for_call(input), input, stream=stream)
        return self._transport.call(self._dialect.path(stream=stream), body, self._failures)


class HuggingFaceNeuron(_ProviderNeuron):
    """``async (input, context) -> {"response": text, "meta": the provider's answer}``."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or the provider failed; the README lists the codes.
        """
        call = self._call(input)
        return read_answer(await self._transport.fetch(call), call.failures, self._dialect.output)


class StreamingHuggingFaceNeuron(_ProviderNeuron):
    """Yields the texts of the answer as they arrive, then the output that a `HuggingFaceNeuron` returns."""

    async def __call__(
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[str | dict[str, Any], None]:
        """Answer one TASK piece by piece.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or the provider failed; the README lists the codes.
        """
        call = self._call(input)
        answer = self._dialect.streamed()
        async with await self._transport.open(call, EventDecoder(answer, call.failures)) as texts:
            async for text in texts:
                yield text
        yield answer.output()
