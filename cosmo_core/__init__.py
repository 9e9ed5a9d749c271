"""A bus for agents: plain async functions, typed Signals, and plugins for everything that varies."""

from cosmo_core.asking import AskBack, ask_permission, clarify
from cosmo_core.axon import Axon
from cosmo_core.codec import decode, encode
from cosmo_core.current import CurrentTask, current_task
from cosmo_core.dendrite import Bid, Dendrite, NeuronRecord, Watcher
from cosmo_core.errors import (
    CosmoError,
    FrameTooLargeError,
    HookError,
    LifecycleError,
    MalformedSignalError,
    NeuronError,
    NoBidError,
    NoRouteError,
    PathwayClosedError,
    PluginConflictError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    RejectedError,
    RemoteError,
    RoleError,
    SynapseAuthError,
    SynapseClosedError,
    SynapseError,
    UnencodableError,
    UnknownPluginError,
)
from cosmo_core.neuron import Neuron, NeuronFn
from cosmo_core.observed_pathway import ObservedPathway
from cosmo_core.pathway import Pathway
from cosmo_core.retry import RetryStrategy
from cosmo_core.schema import json_schema
from cosmo_core.signal import Directed, Signal
from cosmo_core.signal_type import SignalType
from cosmo_core.synapse import (
    DeadLetter,
    DeadLetters,
    FrameHandler,
    Guarantees,
    HeldFrame,
    Subscription,
    Synapse,
    ThreadPublisher,
    Undelivered,
    UndeliveredHandler,
    connect_synapse,
)

__all__ = [
    "AskBack",
    "Axon",
    "Bid",
    "CosmoError",
    "CurrentTask",
    "DeadLetter",
    "DeadLetters",
    "Dendrite",
    "Directed",
    "FrameHandler",
    "FrameTooLargeError",
    "Guarantees",
    "HeldFrame",
    "HookError",
    "LifecycleError",
    "MalformedSignalError",
    "Neuron",
    "NeuronError",
    "NeuronFn",
    "NeuronRecord",
    "NoBidError",
    "NoRouteError",
    "ObservedPathway",
    "Pathway",
    "PathwayClosedError",
    "PluginConflictError",
    "PluginError",
    "PluginIncompatibleError",
    "PluginLoadError",
    "RejectedError",
    "RemoteError",
    "RetryStrategy",
    "RoleError",
    "Signal",
    "SignalType",
    "Subscription",
    "Synapse",
    "SynapseAuthError",
    "SynapseClosedError",
    "SynapseError",
    "ThreadPublisher",
    "Undelivered",
    "UndeliveredHandler",
    "UnencodableError",
    "UnknownPluginError",
    "Watcher",
    "ask_permission",
    "clarify",
    "connect_synapse",
    "current_task",
    "decode",
    "encode",
    "json_schema",
]
