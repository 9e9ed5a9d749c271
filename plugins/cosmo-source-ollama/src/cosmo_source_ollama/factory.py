"""The entry point: options in, Neuron out."""

from __future__ import annotations

from typing import Any

from cosmo_source_ollama.neuron import OllamaNeuron, StreamingOllamaNeuron
from cosmo_source_ollama.options import OllamaOptions


def ollama(**options: Any) -> OllamaNeuron | StreamingOllamaNeuron:
    """Make a Neuron that answers with a model that Ollama runs.

    Nothing is connected yet: the HTTP client is made by the first call.

    Args:
        **options: ``model``, which is needed, ``endpoint``, ``system``, ``temperature``, ``max_tokens``,
            ``options``, ``keep_alive``, ``timeout``, ``stream``, ``headers`` and ``client``; the README tells
            what each does.

    Returns:
        An async callable, or with ``stream=True`` one that returns an async generator.

    Raises:
        TypeError: An option is not known; the message names those that are.
        ValueError: An option, or ``OLLAMA_HOST``, has a value that cannot work, or there is no model.
    """
    parsed = OllamaOptions.parse(options)
    return StreamingOllamaNeuron(parsed) if parsed.stream else OllamaNeuron(parsed)
