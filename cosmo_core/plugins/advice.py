"""Advice for plugins that are not installed: the distributions of this project, and how to install them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

NOUNS: Final[Mapping[str, str]] = {
    "cosmo.sources": "source",
    "cosmo.synapses": "Synapse",
    "cosmo.engrams": "Engram",
    "cosmo.context_neurons": "context Neuron",
    "cosmo.extensions": "extension",
    "cosmo.commands": "command",
}
"""What the plugins of each group that are asked for by name are called."""

FIRST_PARTY: Final[Mapping[str, Mapping[str, str]]] = {
    "cosmo.sources": {
        "huggingface": "cosmo-source-huggingface",
        "hf": "cosmo-source-huggingface",
        "ollama": "cosmo-source-ollama",
        "flask": "cosmo-source-flask",
        "wsgi": "cosmo-source-flask",
        "asgi": "cosmo-source-flask",
        "mcp": "cosmo-source-mcp",
    },
    "cosmo.synapses": {
        "memory": "cosmo-synapse-memory",
        "zmq": "cosmo-synapse-zmq",
        "zmq+ipc": "cosmo-synapse-zmq",
        "nats": "cosmo-synapse-nats",
        "tls": "cosmo-synapse-nats",
        "cosmo": "cosmo-compat",
    },
    "cosmo.engrams": {
        "sqlite": "cosmo-engram-sqlite",
        "postgres": "cosmo-engram-postgres",
        "postgresql": "cosmo-engram-postgres",
    },
    "cosmo.commands": {"hub": "cosmo-synapse-zmq"},
}
"""For each group: the names that this project's plugins provide, and the distribution of each."""

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "cosmo-compat": (
        "cosmo-context",
        "cosmo-engram-sqlite",
        "cosmo-synapse-memory",
        "cosmo-synapse-zmq",
    ),
    "cosmo-context": (),
    "cosmo-core-cli": (),
    "cosmo-engram-postgres": (),
    "cosmo-engram-sqlite": (),
    "cosmo-llm": (),
    "cosmo-source-flask": ("cosmo-llm",),
    "cosmo-source-huggingface": ("cosmo-llm",),
    "cosmo-source-mcp": ("cosmo-llm",),
    "cosmo-source-ollama": ("cosmo-llm",),
    "cosmo-synapse-memory": (),
    "cosmo-synapse-nats": (),
    "cosmo-synapse-zmq": (),
    "cosmo-testing": ("cosmo-llm",),
}
"""The distributions in ``plugins/``, and the others of them that each one requires."""


CLASSES: Final[Mapping[str, str]] = {
    "HuggingFaceNeuron": "cosmo-source-huggingface",
    "McpNeuron": "cosmo-source-mcp",
    "MemorySynapse": "cosmo-synapse-memory",
    "NatsSynapse": "cosmo-synapse-nats",
    "OllamaNeuron": "cosmo-source-ollama",
    "PostgresEngram": "cosmo-engram-postgres",
    "PromptBuilder": "cosmo-context",
    "SqliteEngram": "cosmo-engram-sqlite",
    "ZmqSynapse": "cosmo-synapse-zmq",
}
"""The classes of this project's plugins that programs use by name, and the distribution of each."""


def elsewhere(name: str) -> str | None:
    """Return the error text for a name that is not in `cosmo_core` but in a plugin; None for any other."""
    if (distribution := CLASSES.get(name)) is None:
        return None
    package = distribution.replace("-", "_")
    return (
        f"{name} is not in cosmo_core but in the plugin {distribution}: write `from {package} import {name}`;"
        f" to install it, {from_clone(distribution)}"
    )


def unknown(group: str, name: str, installed: Mapping[str, str]) -> str:
    """Return the error text for a name that no installed plugin provides.

    Args:
        group: The entry-point group.
        name: The unknown name.
        installed: The names that installed plugins provide, with their distributions.
    """
    listed = ", ".join(f"{known} ({dist})" for known, dist in sorted(installed.items())) or "none"
    remedy = _remedy(group, name, installed)
    return f"no {NOUNS[group]} named {name!r} is installed; {remedy}; installed: {listed}"


def from_clone(*distributions: str) -> str:
    """Return how to install distributions of this project, with those that they require.

    The command names folders. None of the distributions is published, so a package index may have an
    unrelated distribution under the same name.
    """
    folders = " ".join(f"./plugins/{name}" for name in with_required(*distributions))
    return f"in a clone of the repository, run: pip install {folders}"


def with_required(*distributions: str) -> list[str]:
    """Return distributions of ``plugins/``, each after those of the folder that it requires."""
    return list(dict.fromkeys(name for each in distributions for name in (*REQUIRED[each], each)))


def _remedy(group: str, name: str, installed: Mapping[str, str]) -> str:
    ours = FIRST_PARTY.get(group, {})
    if name in ours:
        return from_clone(ours[name])
    if group == "cosmo.extensions" and not installed:
        return "cosmo-core itself is not installed: in a clone of the repository, run: pip install ."
    for guess in get_close_matches(name, [*installed, *ours], n=1, cutoff=0.7):
        meant = f"did you mean {guess!r}?"
        return meant if guess in installed else f"{meant} {from_clone(ours[guess])}"
    return "install the distribution that provides it"
