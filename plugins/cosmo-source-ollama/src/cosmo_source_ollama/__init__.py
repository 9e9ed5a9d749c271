"""A source of Neurons for language models in Ollama."""

from __future__ import annotations

from typing import Final

from cosmo_source_ollama.neuron import OllamaNeuron, StreamingOllamaNeuron, ollama

__all__ = ["COSMO_API", "OllamaNeuron", "StreamingOllamaNeuron", "ollama"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source is written for."""
