"""Neurons backed by Ollama."""

from __future__ import annotations

from typing import Final

from cosmo_source_ollama.factory import ollama
from cosmo_source_ollama.neuron import OllamaNeuron, StreamingOllamaNeuron

__all__ = ["COSMO_API", "OllamaNeuron", "StreamingOllamaNeuron", "ollama"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source was written for."""
