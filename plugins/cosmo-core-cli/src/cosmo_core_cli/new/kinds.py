"""What kinds of plugins there are, and what a distribution of each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_KIT: Final = "cosmo-core[testing]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of plugin.

    Attributes:
        word: What it is called on the command line; so is the folder of its templates.
        group: Its entry-point group.
        object: What the entry point names in the package; ``""`` names the package itself.
        description: What such a distribution is, in a sentence.
        requires: The distributions of this project that it needs.
        others: Requirements on anybody else.
        tested_with: The requirements of its tests on this project.
        beside: The distributions of this project that its example and its tests import, besides the core.
    """

    word: str
    group: str
    object: str
    description: str
    requires: tuple[str, ...] = ("cosmo-core",)
    others: tuple[str, ...] = ()
    tested_with: tuple[str, ...] = (_KIT,)
    beside: tuple[str, ...] = ("cosmo-testing",)

    @property
    def prefix(self) -> str:
        """What the names of its distributions begin with."""
        return f"cosmo-{self.word}-"


_ALL: Final = (
    Kind(
        word="source",
        group="cosmo.sources",
        object="${class_name}Neuron",
        description="A Cosmo Neuron source for a language model behind a chat completions server.",
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
        tested_with=(_KIT, "cosmo-synapse-memory"),
        beside=("cosmo-testing", "cosmo-synapse-memory"),
    ),
    Kind(
        word="context",
        group="cosmo.context_neurons",
        object="${class_name}Neuron",
        description="A context Neuron for Cosmo prompts.",
        requires=("cosmo-context",),
        tested_with=("cosmo-context[testing]",),
        beside=("cosmo-testing", "cosmo-context"),
    ),
    Kind(
        word="hook",
        group="cosmo.hooks",
        object="",
        description="A hook plugin for Cosmo that labels Signals, counts them, and times Neurons.",
        others=("attrs>=25.1",),
        tested_with=(_KIT, "cosmo-synapse-memory"),
        beside=("cosmo-testing", "cosmo-synapse-memory"),
    ),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.word: kind for kind in _ALL})
"""The kinds, by the word for them on the command line."""
