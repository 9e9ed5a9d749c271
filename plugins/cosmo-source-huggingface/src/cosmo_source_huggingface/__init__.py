"""A source of Neurons for language models of HuggingFace and of servers with OpenAI's or TGI's API."""

from __future__ import annotations

from typing import Final

from cosmo_source_huggingface.neuron import HuggingFaceNeuron, StreamingHuggingFaceNeuron, huggingface

__all__ = ["COSMO_API", "HuggingFaceNeuron", "StreamingHuggingFaceNeuron", "huggingface"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source is written for."""
