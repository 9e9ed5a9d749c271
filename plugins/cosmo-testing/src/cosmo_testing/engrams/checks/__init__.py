"""Every requirement on an Engram, in `KIT`. Each module defines some, with their checks.

A check takes an `EngramUnderTest`: ``await check_merge(subject)`` raises a `ConformanceError` if the subject
does not meet ``engram:merge``.
"""

from typing import Final

from cosmo_testing.conformance.kit import Kit
from cosmo_testing.engrams.checks import (
    concurrency,
    faults,
    lifecycle,
    queries,
    rollback,
    state_machine,
    text,
    writes,
)

KIT: Final = Kit(lifecycle, writes, queries, text, rollback, concurrency, faults, state_machine)
"""The requirements on an Engram."""
