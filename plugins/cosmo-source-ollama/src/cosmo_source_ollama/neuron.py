"""The entry point `ollama` and the Neurons that it makes: one returns its answer, one streams it."""

from __future__ import annotations

from typing import Any

from cosmo_llm.http.neuron import HttpNeuron, StreamingHttpNeuron
from cosmo_source_ollama.chat import Chat
from cosmo_source_ollama.failures import Ollama
from cosmo_source_ollama.options import OllamaOptions


class OllamaNeuron(HttpNeuron[OllamaOptions]):
    """``async (input, context) -> {"response": text, "meta": Ollama's answer}``."""


class StreamingOllamaNeuron(StreamingHttpNeuron[OllamaOptions]):
    """Yields the texts of the answer as they arrive, then the output that an `OllamaNeuron` returns."""


def ollama(**options: Any) -> OllamaNeuron | StreamingOllamaNeuron:
    """Make a Neuron that answers with a model in Ollama.

    This opens no connection: the first call makes the HTTP client.

    Args:
        **options: ``model``, which is required, ``endpoint``, ``system``, ``temperature``, ``max_tokens``,
            ``options``, ``keep_alive``, ``extra``, ``timeout``, ``idle_timeout``, ``max_retries``,
            ``stream``, ``headers`` and ``client``; the README describes each.

    Returns:
        An async callable, or with ``stream=True`` a callable that returns an async generator.

    Raises:
        TypeError: There is no such option; the message lists the options there are.
        ValueError: An option, or ``OLLAMA_HOST``, has a value that cannot work, ``model`` is missing, or the
            environment names a proxy or certificates that cannot be used.
    """
    parsed = OllamaOptions.parse(options)
    neuron = StreamingOllamaNeuron if parsed.stream else OllamaNeuron
    return neuron(parsed, Chat(), Ollama())
