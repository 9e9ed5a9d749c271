"""The import name ``cosmonapse`` for this core, so that programs written for it run.

Every name here is an object of the core or of a plugin; only `InMemoryEngram` is a class of its own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    EngramBinding,
    EngramError,
    EngramNotBound,
    EngramTimeout,
    Hit,
    ImprintReceipt,
    Neuron,
    NeuronFn,
    NeuronRecord,
    Pathway,
    PathwayClosedError,
    RecallResult,
    RetryStrategy,
    Signal,
    SignalType,
    Synapse,
    connect_synapse,
)
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse

if TYPE_CHECKING:
    from cosmo_engram_postgres import PostgresEngram as PostgresEngram
    from cosmonapse.engram import InMemoryEngram, SqliteEngram

__all__ = [
    "Axon",
    "Dendrite",
    "Directed",
    "EngramBinding",
    "EngramError",
    "EngramNotBound",
    "EngramTimeout",
    "Hit",
    "ImprintReceipt",
    "InMemoryEngram",
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
    "new_trace_id",
]

# A database is loaded where it is used. PostgresEngram is not in `__all__`, as its plugin may be missing.
_ON_USE: Final = {
    "InMemoryEngram": "cosmonapse.engram",
    "PostgresEngram": "cosmo_engram_postgres",
    "SqliteEngram": "cosmonapse.engram",
}

# Seen by a type checker, it would make every name right.
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
