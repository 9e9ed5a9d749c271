"""Neurons backed by HuggingFace, or by any server that speaks OpenAI's chat completions or TGI's API."""

from __future__ import annotations

from typing import Final

from cosmo_source_huggingface.factory import huggingface
from cosmo_source_huggingface.neuron import HuggingFaceNeuron, StreamingHuggingFaceNeuron

__all__ = ["COSMO_API", "HuggingFaceNeuron", "StreamingHuggingFaceNeuron", "huggingface"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source was written for."""
