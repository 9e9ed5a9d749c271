"""The import name ``cosmonapse`` for this core, so that programs written for it run.

Every name here is an object of the core or of the memory Synapse; nothing is wrapped.
"""

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    Neuron,
    NeuronFn,
    NeuronRecord,
    Pathway,
    PathwayClosedError,
    RetryStrategy,
    Signal,
    SignalType,
    Synapse,
    connect_synapse,
)
from cosmo_core.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse

__all__ = [
    "Axon",
    "Dendrite",
    "Directed",
    "MemorySynapse",
    "Neuron",
    "NeuronFn",
    "NeuronRecord",
    "Pathway",
    "PathwayClosedError",
    "RetryStrategy",
    "Signal",
    "SignalType",
    "Synapse",
    "connect_synapse",
    "new_trace_id",
]
