"""The Neurons that this source makes: one that returns its answer, and one that streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import Failures, read_answer
from cosmo_llm.http import Transport
from cosmo_source_ollama.chat import PATH, output_of, request_body
from cosmo_source_ollama.failures import Ollama
from cosmo_source_ollama.streamed import ChatDecoder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_llm.http import Call
    from cosmo_source_ollama.options import OllamaOptions


class _ProviderNeuron:
    """What both kinds share: the options and the connections."""

    def __init__(self, options: OllamaOptions) -> None:
        self._options = options
        self._transport = Transport(options)
        self._failures = Failures(
            server=options.endpoint.base,
            timeout_s=options.timeout,
            provider=Ollama(options.model),
            secrets=options.secrets,
        )

    def __repr__(self) -> str:
        model, endpoint = self._options.model, self._options.endpoint.base
        return f"<{type(self).__name__} model={model!r} endpoint={endpoint!r}>"

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones; a client given by the user stays open."""
        await self._transport.aclose()

    def _begin(self, input: Mapping[str, Any]) -> Call:
        options = self._options.for_call(input)
        body = request_body(options, input, stream=options.stream)
        # The model of this call, for that is the one to be pulled.
        return self._transport.call(PATH, body, self._failures.with_provider(Ollama(options.model)))


class OllamaNeuron(_ProviderNeuron):
    """``async (input, context) -> {"response": text, "meta": Ollama's answer}``."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A prompt or messages, and settings for this call alone.
            context: Not used; what belongs into the prompt is in the input.

        Raises:
            NeuronError: The input does not fit, or Ollama failed; see the README for the codes.
        """
        call = self._begin(input)
        return read_answer(await self._transport.fetch(call), call.failures, output_of)


class StreamingOllamaNeuron(_ProviderNeuron):
    """Yields the answer's text as it comes, then the output that an `OllamaNeuron` would return."""

    async def __call__(
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[str | dict[str, Any], None]:
        """Answer one TASK piece by piece.

        Args:
            input: A prompt or messages, and settings for this call alone.
            context: Not used; what belongs into the prompt is in the input.

        Raises:
            NeuronError: The input does not fit, or Ollama failed; see the README for the codes.
        """
        call = self._begin(input)
        answer = ChatDecoder(call.failures)
        async with await self._transport.open(call, answer) as texts:
            async for text in texts:
                yield text
        yield answer.output()
