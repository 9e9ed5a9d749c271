"""Records of what a Dendrite sees in its namespace."""

from __future__ import annotations

import attrs


@attrs.frozen
class NeuronRecord:
    """One Neuron as one Dendrite hosts it.

    Attributes:
        neuron_id: Its address.
        capabilities: The capabilities that it announced.
        version: The version that it announced.
        dendrite: The Dendrite that hosts it; replicas differ in this.
        expires: When it counts as gone, in seconds of the directory's clock.
        load: The number of TASKs that ran or waited there at its last announcement.
        pulse_s: Seconds between two work heartbeats of its host; None if the host sends none.
    """

    neuron_id: str
    capabilities: tuple[str, ...]
    version: str | None
    dendrite: str
    expires: float
    load: int = 0
    pulse_s: float | None = None


@attrs.frozen
class EngramRecord:
    """One Engram as one Dendrite hosts it.

    Attributes:
        engram_id: Its address.
        kind: Its kind.
        dendrite: The Dendrite that hosts it.
    """

    engram_id: str
    kind: str
    dendrite: str
