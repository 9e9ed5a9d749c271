"""The import name ``cosmonapse``, with which programs written for that library run on cosmo.

The names are objects of the core or of a plugin, or, where those of cosmonapse behave in another way, thin
layers over them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cosmo_core import (
    Directed,
    EngramError,
    EngramNotBound,
    EngramTimeout,
    ImprintReceipt,
    Neuron,
    NeuronFn,
    NeuronRecord,
    PathwayClosedError,
    RetryStrategy,
    Signal,
    SignalType,
    Synapse,
    connect_synapse,
)
from cosmo_core.protocol.ids import new_trace_id, new_ulid
from cosmo_synapse_memory import MemorySynapse
from cosmonapse.axon import Axon, EngramBinding, Hit, RecallResult
from cosmonapse.dendrite import Cortex, Dendrite, DendriteProtocolError
from cosmonapse.pathway import Pathway
from cosmonapse.storage import MemoryRegistryStore

if TYPE_CHECKING:
    from cosmo_engram_postgres import PostgresEngram as PostgresEngram
    from cosmonapse.engram import InMemoryEngram, SqliteEngram

COSMO_API = 1

__all__ = [
    "Axon",
    "Cortex",
    "Dendrite",
    "DendriteProtocolError",
    "Directed",
    "EngramBinding",
    "EngramError",
    "EngramNotBound",
    "EngramTimeout",
    "Hit",
    "ImprintReceipt",
    "InMemoryEngram",
    "MemoryRegistryStore",
    "MemorySynapse",
    "Neuron",
    "NeuronFn",
    "NeuronRecord",
    "Pathway",
    "PathwayClosedError",
    "RecallResult",
    "RetryStrategy",
    "Signal",
    "SignalType",
    "SqliteEngram",
    "Synapse",
    "connect_synapse",
    "new_event_id",
    "new_trace_id",
]

# Loaded on use, so that other programs do not import a database. PostgresEngram is not in `__all__`, since
# its plugin may be missing.
_ON_USE: Final = {
    "InMemoryEngram": "cosmonapse.engram",
    "PostgresEngram": "cosmo_engram_postgres",
    "SqliteEngram": "cosmonapse.engram",
}


def new_event_id() -> str:
    """Return a new id of a Signal: ``evt_`` + ULID."""
    return "evt_" + new_ulid()


# Hidden from type checkers, which would otherwise accept every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        module = _ON_USE.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            plugin = module.replace("_", "-")
            reason = (
                f"{name} is in a plugin that is not installed: in a clone of the repository, "
                f"run: pip install ./plugins/{plugin}"
            )
            raise ImportError(reason, name=module) from None
