"""The entry point: options in, Neuron out."""

from __future__ import annotations

from typing import Any

from cosmo_source_mcp.neuron import McpNeuron
from cosmo_source_mcp.options import Options


def mcp(**options: Any) -> McpNeuron:
    """Make a Neuron that calls the tools of an MCP server.

    Nothing is started or connected yet: the first call does that.

    Args:
        **options: Exactly one of ``command``, ``server`` and ``url``; ``args``, ``env``, ``cwd``,
            ``headers``, ``tool`` and ``timeout``; the README tells what each does.

    Raises:
        TypeError: An option is not known; the message names those that are.
        ValueError: An option has a value that cannot work, or does not go with the others.
    """
    return McpNeuron(Options.parse(options))
