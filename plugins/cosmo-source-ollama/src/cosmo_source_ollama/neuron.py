"""The entry point `ollama` and the Neurons that it makes: one returns its answer, one streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import Failures, read_answer
from cosmo_llm.http import Transport
from cosmo_source_ollama.chat import PATH, ChatDecoder, output_of, request_body
from cosmo_source_ollama.failures import Ollama
from cosmo_source_ollama.options import OllamaOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_llm.http import Call


def ollama(**options: Any) -> OllamaNeuron | StreamingOllamaNeuron:
    """Make a Neuron that answers with a model in Ollama.

    This opens no connection: the first call makes the HTTP client.

    Args:
        **options: ``model``, which is required, ``endpoint``, ``system``, ``temperature``, ``max_tokens``,
            ``options``, ``keep_alive``, ``timeout``, ``stream``, ``headers`` and ``client``; the README
            describes each.

    Returns:
        An async callable, or with ``stream=True`` a callable that returns an async generator.

    Raises:
        TypeError: There is no such option; the message lists the options there are.
        ValueError: An option, or ``OLLAMA_HOST``, has a value that cannot work, or ``model`` is missing.
    """
    parsed = OllamaOptions.parse(options)
    return StreamingOllamaNeuron(parsed) if parsed.stream else OllamaNeuron(parsed)


class _ProviderNeuron:
    """The common part of both Neurons: options and connections."""

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
        """Close the connections. A later call opens new ones. A client given by the user stays open."""
        await self._transport.aclose()

    def _call(self, input: Mapping[str, Any]) -> Call:
        options = self._options.for_call(input)
        body = request_body(options, input, stream=options.stream)
        # Advice names the model of this call, which may not be the model of the Neuron.
        return self._transport.call(PATH, body, self._failures.with_provider(Ollama(options.model)))


class OllamaNeuron(_ProviderNeuron):
    """``async (input, context) -> {"response": text, "meta": Ollama's answer}``."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or Ollama failed; the README lists the codes.
        """
        call = self._call(input)
        return read_answer(await self._transport.fetch(call), call.failures, output_of)


class StreamingOllamaNeuron(_ProviderNeuron):
    """Yields the texts of the answer as they arrive, then the output that an `OllamaNeuron` returns."""

    async def __call__(
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[str | dict[str, Any], None]:
        """Answer one TASK piece by piece.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or Ollama failed; the README lists the codes.
        """
        call = self._call(input)
        answer = ChatDecoder(call.failures)
        async with await self._transport.open(call, answer) as texts:
            async for text in texts:
                yield text
        yield answer.output()
