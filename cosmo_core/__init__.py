"""A bus for agents: plain async functions, typed Signals, and plugins for everything that varies."""

import typing

from cosmo_core.contracts.asking import AskFn as AskFn
from cosmo_core.contracts.asking import MapFn as MapFn
from cosmo_core.contracts.asking import RaceFn as RaceFn
from cosmo_core.contracts.asking import Stream as Stream
from cosmo_core.contracts.asking import StreamFn as StreamFn
from cosmo_core.contracts.axon import Axon as Axon
from cosmo_core.contracts.axon import CallableAxon as CallableAxon
from cosmo_core.contracts.axon import neuron as neuron
from cosmo_core.contracts.bindings import ImprintFn as ImprintFn
from cosmo_core.contracts.bindings import RecallFn as RecallFn
from cosmo_core.contracts.clarification import AskBack as AskBack
from cosmo_core.contracts.clarification import ask_permission as ask_permission
from cosmo_core.contracts.clarification import clarify as clarify
from cosmo_core.contracts.delivery import DeadLetter as DeadLetter
from cosmo_core.contracts.delivery import FrameHandler as FrameHandler
from cosmo_core.contracts.delivery import Guarantees as Guarantees
from cosmo_core.contracts.delivery import HeldFrame as HeldFrame
from cosmo_core.contracts.delivery import Subscription as Subscription
from cosmo_core.contracts.delivery import Undelivered as Undelivered
from cosmo_core.contracts.delivery import UndeliveredHandler as UndeliveredHandler
from cosmo_core.contracts.neuron import NeuronFn as NeuronFn
from cosmo_core.contracts.neuron_types import convert_output as convert_output
from cosmo_core.contracts.options import Bid as Bid
from cosmo_core.contracts.options import RetryStrategy as RetryStrategy
from cosmo_core.contracts.pathway import Pathway as Pathway
from cosmo_core.contracts.synapse import DeadLetters as DeadLetters
from cosmo_core.contracts.synapse import Synapse as Synapse
from cosmo_core.contracts.synapse import ThreadPublisher as ThreadPublisher
from cosmo_core.contracts.task_context import CurrentTask as CurrentTask
from cosmo_core.contracts.task_context import current_task as current_task
from cosmo_core.contracts.watcher import Watcher as Watcher
from cosmo_core.dendrite import Dendrite as Dendrite
from cosmo_core.dendrite.discovery.directory import NeuronRecord as NeuronRecord
from cosmo_core.dendrite.discovery.resolver import NeuronDescription as NeuronDescription
from cosmo_core.errors import AnswerTimeoutError as AnswerTimeoutError
from cosmo_core.errors import CosmoError as CosmoError
from cosmo_core.errors import EngramError as EngramError
from cosmo_core.errors import EngramNotBound as EngramNotBound
from cosmo_core.errors import EngramTimeout as EngramTimeout
from cosmo_core.errors import FrameTooLargeError as FrameTooLargeError
from cosmo_core.errors import HookError as HookError
from cosmo_core.errors import LifecycleError as LifecycleError
from cosmo_core.errors import MalformedSignalError as MalformedSignalError
from cosmo_core.errors import NeuronError as NeuronError
from cosmo_core.errors import NoBidError as NoBidError
from cosmo_core.errors import NoRouteError as NoRouteError
from cosmo_core.errors import OutputTypeError as OutputTypeError
from cosmo_core.errors import PathwayClosedError as PathwayClosedError
from cosmo_core.errors import PluginConflictError as PluginConflictError
from cosmo_core.errors import PluginError as PluginError
from cosmo_core.errors import PluginIncompatibleError as PluginIncompatibleError
from cosmo_core.errors import PluginLoadError as PluginLoadError
from cosmo_core.errors import RejectedError as RejectedError
from cosmo_core.errors import RoleError as RoleError
from cosmo_core.errors import SynapseAuthError as SynapseAuthError
from cosmo_core.errors import SynapseClosedError as SynapseClosedError
from cosmo_core.errors import SynapseError as SynapseError
from cosmo_core.errors import UnencodableError as UnencodableError
from cosmo_core.errors import UnknownPluginError as UnknownPluginError
from cosmo_core.open import Neuron as Neuron
from cosmo_core.open import connect_synapse as connect_synapse
from cosmo_core.open import engram_from_url as engram_from_url
from cosmo_core.protocol.signal import Directed as Directed
from cosmo_core.protocol.signal import QuestionError as QuestionError
from cosmo_core.protocol.signal import RemoteError as RemoteError
from cosmo_core.protocol.signal import Signal as Signal
from cosmo_core.protocol.signal import decode as decode
from cosmo_core.protocol.signal import encode as encode
from cosmo_core.protocol.signal_type import SignalType as SignalType

# Imported on use: programs without shared memory, and without observed Pathways, need none of these.
_ON_USE: typing.Final = {
    "Engram": "cosmo_core.contracts.engram",
    "EngramBinding": "cosmo_core.contracts.engram",
    "EngramGuarantees": "cosmo_core.contracts.engram",
    "Hit": "cosmo_core.contracts.engram",
    "ImprintReceipt": "cosmo_core.contracts.engram",
    "ObservedPathway": "cosmo_core.extensions.watching.extension",
    "RecallResult": "cosmo_core.contracts.engram",
}

if typing.TYPE_CHECKING:
    from cosmo_core import sync as sync
    from cosmo_core.contracts.engram import Engram as Engram
    from cosmo_core.contracts.engram import EngramBinding as EngramBinding
    from cosmo_core.contracts.engram import EngramGuarantees as EngramGuarantees
    from cosmo_core.contracts.engram import Hit as Hit
    from cosmo_core.contracts.engram import ImprintReceipt as ImprintReceipt
    from cosmo_core.contracts.engram import RecallResult as RecallResult
    from cosmo_core.extensions.watching.extension import ObservedPathway as ObservedPathway
else:

    def __getattr__(name: str) -> typing.Any:
        """Import what is imported on use, and say where to find what is in a plugin."""
        from importlib import import_module

        if name == "sync":
            return import_module("cosmo_core.sync")
        if (module := _ON_USE.get(name)) is not None:
            # Stored, so that this is not called again.
            globals()[name] = getattr(import_module(module), name)
            return globals()[name]
        if (advice := import_module("cosmo_core.plugins.advice").elsewhere(name)) is not None:
            raise ImportError(advice, name="cosmo_core")
        raise AttributeError(f"module 'cosmo_core' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List also what is imported on use."""
        return sorted({*globals(), *_ON_USE, "sync"})
