"""The kinds of plugins, and the application, with what the distribution of each contains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of plugin, or the application.

    Attributes:
        word: The name of the kind on the command line, and of the folder of its templates.
        group: The entry-point group; ``""`` for an application.
        object: The object in the package that the entry point names; ``""`` names the package itself.
        description: The description of the distribution, a sentence.
        requires: The distributions of this project that it requires.
        others: The requirements on other distributions.
        tested_with: The further distributions of this project that its tests require.
    """

    word: str
    group: str
    object: str
    description: str
    requires: tuple[str, ...] = ("cosmo-core",)
    others: tuple[str, ...] = ()
    tested_with: tuple[str, ...] = ("cosmo-testing",)

    @property
    def prefix(self) -> str:
        """The beginning of the names of its distributions; an application has the name that is given."""
        return f"cosmo-{self.word}-" if self.group else ""


_ALL: Final = (
    Kind(
        word="source",
        group="cosmo.sources",
        object="${class_name}Neuron",
        description="A Cosmo Neuron source for a language model behind a chat completions server.",
        requires=("cosmo-core", "cosmo-llm"),
        others=("httpx>=0.27",),
    ),
    Kind(
        word="synapse",
        group="cosmo.synapses",
        object="from_url",
        description="A Synapse for Cosmo: a bus within one process.",
    ),
    Kind(
        word="engram",
        group="cosmo.engrams",
        object="from_url",
        description="An Engram for Cosmo: shared memory within one process.",
        others=("msgspec>=0.19",),
        tested_with=("cosmo-testing", "cosmo-synapse-memory"),
    ),
    Kind(
        word="context",
        group="cosmo.context_neurons",
        object="${class_name}Neuron",
        description="A context Neuron for Cosmo prompts.",
        requires=("cosmo-context",),
        tested_with=("cosmo-context[testing]",),
    ),
    Kind(
        word="hook",
        group="cosmo.hooks",
        object="",
        description="A hook plugin for Cosmo that labels Signals, counts them, and times Neurons.",
        tested_with=("cosmo-testing", "cosmo-synapse-memory"),
    ),
    Kind(
        word="extension",
        group="cosmo.extensions",
        object="${class_name}Extension",
        description="An extension of Cosmo's Dendrite that counts departures of Neurons.",
        tested_with=("cosmo-testing", "cosmo-synapse-memory"),
    ),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.word: kind for kind in _ALL})
"""The kinds of plugins by their names on the command line."""

APP: Final = Kind(
    word="app",
    group="",
    object="",
    description="An application of agents on a Cosmo bus.",
    requires=("cosmo-core", "cosmo-synapse-memory"),
    tested_with=("cosmo-testing", "cosmo-core-cli", "cosmo-synapse-zmq"),
)
"""The application. Its further distributions are those that its README uses."""
