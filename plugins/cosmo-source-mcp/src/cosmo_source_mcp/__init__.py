"""Neurons for the tools of an MCP server: one that they start (stdio), or one at a URL (Streamable HTTP)."""

from __future__ import annotations

from typing import Final

from cosmo_source_mcp.neuron import McpNeuron, mcp

__all__ = ["COSMO_API", "McpNeuron", "mcp"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source implements."""
