"""Neurons backed by the tools of an MCP server, which runs here (stdio) or elsewhere (Streamable HTTP)."""

from __future__ import annotations

from typing import Final

from cosmo_source_mcp.factory import mcp
from cosmo_source_mcp.neuron import McpNeuron

__all__ = ["COSMO_API", "McpNeuron", "mcp"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source was written for."""
