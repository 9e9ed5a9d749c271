"""The entry point: options in, Neuron out."""

from __future__ import annotations

from typing import Any

from cosmo_source_huggingface.neuron import HuggingFaceNeuron, StreamingHuggingFaceNeuron
from cosmo_source_huggingface.options import HuggingFaceOptions


def huggingface(**options: Any) -> HuggingFaceNeuron | StreamingHuggingFaceNeuron:
    """Make a Neuron that answers with a language model behind HTTP.

    Nothing is connected yet: the HTTP client is made by the first call.

    Args:
        **options: ``endpoint``, ``model``, ``api_key``, ``use_chat_api``, ``max_new_tokens``,
            ``temperature``, ``top_p``, ``stop``, ``system``, ``timeout``, ``stream``, ``headers`` and
            ``client``; the README tells what each does.

    Returns:
        An async callable, or with ``stream=True`` one that returns an async generator.

    Raises:
        TypeError: An option is not known; the message names those that are.
        ValueError: An option has a value that cannot work, or the endpoint needs a key or a model and there
            is none.
    """
    parsed = HuggingFaceOptions.parse(options)
    return StreamingHuggingFaceNeuron(parsed) if parsed.stream else HuggingFaceNeuron(parsed)
