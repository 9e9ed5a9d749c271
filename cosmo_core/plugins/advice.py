"""What to tell somebody who asked for a plugin that is not there, or is there twice."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from cosmo_core.plugins.switches import PREFER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_core.plugins.factories import Entry

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "cosmo.sources": ("source", "cosmo-source-"),
    "cosmo.synapses": ("Synapse", "cosmo-synapse-"),
    "cosmo.engrams": ("Engram", "cosmo-engram-"),
    "cosmo.context_neurons": ("context Neuron", "cosmo-context-"),
    "cosmo.commands": ("command", "cosmo-command-"),
}
"""For each factory group: what its plugins are called, and how their distributions are named."""

FIRST_PARTY: Final[Mapping[str, Mapping[str, str]]] = {
    "cosmo.sources": {
        "huggingface": "huggingface",
        "hf": "huggingface",
        "ollama": "ollama",
        "flask": "flask",
        "wsgi": "flask",
        "asgi": "flask",
        "mcp": "mcp",
    },
    "cosmo.synapses": {"memory": "memory", "zmq": "zmq", "zmq+ipc": "zmq", "nats": "nats", "tls": "nats"},
    "cosmo.engrams": {"sqlite": "sqlite", "postgres": "postgres", "postgresql": "postgres"},
    "cosmo.commands": {"hub": "zmq"},
}
"""For each group: the names that this project's plugins bring, and the extra of the core that adds each."""


def unknown(group: str, name: str, installed: Mapping[str, str]) -> str:
    """Word the error for a name that no installed plugin answers to.

    Args:
        group: The entry-point group.
        name: The name that was asked for.
        installed: The names that would have worked, with the distributions that bring them.
    """
    noun, _ = KINDS[group]
    listed = ", ".join(f"{known} ({dist})" for known, dist in sorted(installed.items())) or "none"
    return f"no {noun} named {name!r} is installed; {_remedy(group, name, installed)}; installed: {listed}"


def owners(rivals: Sequence[Entry]) -> str:
    """Name the distributions behind one name."""
    return " and ".join(entry.owner for entry in rivals)


def conflict(rivals: Sequence[Entry], preferred: str | None) -> str:
    """Word the error for a name that several distributions claim.

    Args:
        rivals: Their claims.
        preferred: The distribution that the environment prefers, which is none of them.
    """
    first = rivals[0]
    wrong = f" ({PREFER} names {preferred}, which is none of them)" if preferred else ""
    return (
        f"{first.group} {first.name!r} is claimed by {owners(rivals)}{wrong}: pip uninstall all but one, "
        f"or choose one with {PREFER}={first.group}:{first.name}={first.distribution}"
    )


def _remedy(group: str, name: str, installed: Mapping[str, str]) -> str:
    extras = FIRST_PARTY.get(group, {})
    if name in extras:
        return _install(extras[name])
    for guess in get_close_matches(name, [*installed, *extras], n=1, cutoff=0.7):
        meant = f"did you mean {guess!r}?"
        return meant if guess in installed else f"{meant} {_install(extras[guess])}"
    noun, prefix = KINDS[group]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "..."
    return (
        f"a guess, if somebody publishes this {noun}: pip install {prefix}{slug} "
        "(look at who publishes it first)"
    )


def _install(extra: str) -> str:
    return f'add it with: pip install "cosmo-core[{extra}]"'
