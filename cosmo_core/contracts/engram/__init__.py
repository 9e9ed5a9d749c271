"""Shared memory: what an Engram is, what is asked of it, and what it answers."""

from cosmo_core.contracts.engram.binding import (
    RECALL_MODES,
    EngramBinding,
    ImprintFn,
    RecallFn,
    RecallMode,
    check_bindings,
    declared_memory,
)
from cosmo_core.contracts.engram.checks import MAX_DIMENSIONS, MAX_NAME, MAX_TAGS, invalid
from cosmo_core.contracts.engram.engram import Engram, EngramGuarantees, Findings, Found
from cosmo_core.contracts.engram.merging import merged
from cosmo_core.contracts.engram.query import DEFAULT_LIMIT, MAX_LIMIT, Query
from cosmo_core.contracts.engram.results import Hit, ImprintReceipt, RecallResult
from cosmo_core.contracts.engram.words import MAX_INDEXED_BYTES, MAX_WORD, text_of, words_in
from cosmo_core.contracts.engram.write import MAX_ENTRY, OPS, Write

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_DIMENSIONS",
    "MAX_ENTRY",
    "MAX_INDEXED_BYTES",
    "MAX_LIMIT",
    "MAX_NAME",
    "MAX_TAGS",
    "MAX_WORD",
    "OPS",
    "RECALL_MODES",
    "Engram",
    "EngramBinding",
    "EngramGuarantees",
    "Findings",
    "Found",
    "Hit",
    "ImprintFn",
    "ImprintReceipt",
    "Query",
    "RecallFn",
    "RecallMode",
    "RecallResult",
    "Write",
    "check_bindings",
    "declared_memory",
    "invalid",
    "merged",
    "text_of",
    "words_in",
]
