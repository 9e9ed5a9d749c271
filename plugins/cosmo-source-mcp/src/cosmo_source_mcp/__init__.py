"""Neurons for MCP servers: those that they start (stdio), and those at a URL (Streamable HTTP)."""

from __future__ import annotations

from typing import Final

from cosmo_source_mcp.neuron import McpNeuron, StreamingMcpNeuron, mcp

__all__ = ["COSMO_API", "McpNeuron", "StreamingMcpNeuron", "mcp"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source implements."""
