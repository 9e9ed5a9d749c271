"""A bus for agents: plain async functions, typed Signals, and plugins for everything that varies."""

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.clarification import AskBack, ask_permission, clarify
from cosmo_core.contracts.delivery import (
    DeadLetter,
    FrameHandler,
    Guarantees,
    HeldFrame,
    Subscription,
    Undelivered,
    UndeliveredHandler,
)
from cosmo_core.contracts.engram import (
    Engram,
    EngramBinding,
    EngramGuarantees,
    Hit,
    ImprintFn,
    ImprintReceipt,
    RecallFn,
    RecallResult,
)
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.contracts.offer import Bid
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.contracts.records import NeuronRecord
from cosmo_core.contracts.retry import RetryStrategy
from cosmo_core.contracts.synapse import DeadLetters, Synapse, ThreadPublisher
from cosmo_core.contracts.task_context import CurrentTask, current_task
from cosmo_core.contracts.watcher import Watcher
from cosmo_core.dendrite import Dendrite
from cosmo_core.errors import (
    CosmoError,
    EngramError,
    EngramNotBound,
    EngramTimeout,
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
    RoleError,
    SynapseAuthError,
    SynapseClosedError,
    SynapseError,
    UnencodableError,
    UnknownPluginError,
)
from cosmo_core.extensions.watching.extension import ObservedPathway
from cosmo_core.plugins.open import Neuron, connect_synapse, engram_from_url
from cosmo_core.protocol.schema import json_schema
from cosmo_core.protocol.signal import Directed, RemoteError, Signal, decode, encode
from cosmo_core.protocol.signal_type import SignalType

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
    "Engram",
    "EngramBinding",
    "EngramError",
    "EngramGuarantees",
    "EngramNotBound",
    "EngramTimeout",
    "FrameHandler",
    "FrameTooLargeError",
    "Guarantees",
    "HeldFrame",
    "Hit",
    "HookError",
    "ImprintFn",
    "ImprintReceipt",
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
    "RecallFn",
    "RecallResult",
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
    "engram_from_url",
    "json_schema",
]
