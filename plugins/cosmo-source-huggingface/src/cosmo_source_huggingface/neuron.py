"""The entry point `huggingface` and the Neurons that it makes: one returns its answer, one streams it."""

from __future__ import annotations

from typing import Any

from cosmo_llm.http.neuron import HttpNeuron, StreamingHttpNeuron
from cosmo_source_huggingface.chat_completions import ChatCompletions
from cosmo_source_huggingface.failures import HuggingFace
from cosmo_source_huggingface.options import HuggingFaceOptions
from cosmo_source_huggingface.text_generation import TextGeneration


class HuggingFaceNeuron(HttpNeuron[HuggingFaceOptions]):
    """``async (input, context) -> {"response": text, "meta": the provider's answer}``."""


class StreamingHuggingFaceNeuron(StreamingHttpNeuron[HuggingFaceOptions]):
    """Yields the texts of the answer as they arrive, then the output that a `HuggingFaceNeuron` returns."""


def huggingface(**options: Any) -> HuggingFaceNeuron | StreamingHuggingFaceNeuron:
    """Make a Neuron that answers with a language model behind HTTP.

    This opens no connection: the first call makes the HTTP client.

    Args:
        **options: ``endpoint``, ``model``, ``api_key``, ``use_chat_api``, ``max_new_tokens``,
            ``temperature``, ``top_p``, ``stop``, ``system``, ``extra``, ``timeout``, ``idle_timeout``,
            ``max_retries``, ``stream``, ``headers`` and ``client``; the README describes each.

    Returns:
        An async callable, or with ``stream=True`` a callable that returns an async generator.

    Raises:
        TypeError: There is no such option; the message lists the options there are.
        ValueError: A value cannot work, the endpoint needs a key or a model that is missing, or the
            environment names a proxy or certificates that cannot be used.
    """
    parsed = HuggingFaceOptions.parse(options)
    neuron = StreamingHuggingFaceNeuron if parsed.stream else HuggingFaceNeuron
    dialect = ChatCompletions() if parsed.use_chat_api else TextGeneration()
    return neuron(parsed, dialect, HuggingFace(), parsed.api_key)
