"""The view of a Dendrite that the plugin system uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from cosmo_core.contracts.axon import Axon

Role = Literal["orchestrator", "worker"]
"""A worker serves TASKs and bids; only an orchestrator may emit orchestration Signals (P-10.2)."""


class DendriteInfo(Protocol):
    """The part of a Dendrite that the plugin system uses. A hook gets the Dendrite itself."""

    namespace: str
    role: Role

    @property
    def axons(self) -> Sequence[Axon]:
        """The attached Axons."""
