"""Shared memory: what an Engram is, what is asked of it, and what it answers."""

from cosmo_core.contracts.engram.binding import EngramBinding, ImprintFn, RecallFn, RecallMode
from cosmo_core.contracts.engram.checks import MAX_DIMENSIONS, MAX_NAME, MAX_TAGS
from cosmo_core.contracts.engram.engram import Engram, EngramGuarantees, Findings, Found, engram_from_url
from cosmo_core.contracts.engram.merging import merged
from cosmo_core.contracts.engram.query import MAX_LIMIT, Query
from cosmo_core.contracts.engram.results import Hit, ImprintReceipt, RecallResult
from cosmo_core.contracts.engram.words import MAX_INDEXED_BYTES, MAX_WORD, text_of, words_in
from cosmo_core.contracts.engram.write import MAX_ENTRY, Write
from cosmo_core.extensions.memory.injection import Cause, MemoryPort, check_bindings, with_memory
from cosmo_core.extensions.memory.joining import Outcome, joined

__all__ = [
    "MAX_DIMENSIONS",
    "MAX_ENTRY",
    "MAX_INDEXED_BYTES",
    "MAX_LIMIT",
    "MAX_NAME",
    "MAX_TAGS",
    "MAX_WORD",
    "Cause",
    "Engram",
    "EngramBinding",
    "EngramGuarantees",
    "Findings",
    "Found",
    "Hit",
    "ImprintFn",
    "ImprintReceipt",
    "MemoryPort",
    "Outcome",
    "Query",
    "RecallFn",
    "RecallMode",
    "RecallResult",
    "Write",
    "check_bindings",
    "engram_from_url",
    "joined",
    "merged",
    "text_of",
    "with_memory",
    "words_in",
]
