"""Every check of an Engram, for whatever runs coroutines: no pytest, and hypothesis for some of them.

A check takes an `EngramUnderTest`. Each proves the requirement that `CHECKS` has it under, or raises a
`ConformanceError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.checking import violation, violations
from cosmo_testing.engrams.checks_cancelled import (
    check_cancel_close,
    check_cancel_imprint,
    check_cancel_others,
    check_rollback_cancelled,
)
from cosmo_testing.engrams.checks_concurrent import (
    check_concurrent_add,
    check_concurrent_merge,
    check_concurrent_own,
    check_concurrent_readers,
    check_concurrent_upsert,
    check_rollback_concurrent,
    check_rollback_whole,
)
from cosmo_testing.engrams.checks_entries import (
    check_document,
    check_document_largest,
    check_document_own,
    check_names_exact,
    check_names_longest,
)
from cosmo_testing.engrams.checks_errors import (
    check_errors,
    check_secrets,
)
from cosmo_testing.engrams.checks_faults import (
    check_break_once,
    check_break_recovers,
    check_damage_said,
)
from cosmo_testing.engrams.checks_interleaved import (
    check_commit_below,
    check_rollback_between,
    check_rollback_chain,
    check_rollback_overtaken,
    check_rollback_shared_key,
)
from cosmo_testing.engrams.checks_keys import (
    check_conflict,
    check_merge_not_found,
    check_merge_too_large,
    check_newest,
)
from cosmo_testing.engrams.checks_letters import (
    check_text_any,
    check_text_largest,
    check_text_letters,
    check_text_many,
)
from cosmo_testing.engrams.checks_life import (
    check_close_finishes,
    check_close_leaves_nothing,
    check_close_twice,
    check_connect_again,
    check_connect_twice,
    check_shape,
    check_use_closed,
)
from cosmo_testing.engrams.checks_model import (
    check_model,
)
from cosmo_testing.engrams.checks_once import (
    check_once,
    check_once_concurrent,
    check_once_failed,
    check_once_window,
    check_rollback_once,
)
from cosmo_testing.engrams.checks_recall import (
    check_recall_combined,
    check_recall_limit,
    check_recall_names,
    check_recall_order,
    check_recall_tags,
    check_recall_updated,
)
from cosmo_testing.engrams.checks_reopened import (
    check_reopen_entries,
    check_reopen_once,
    check_reopen_rollback,
)
from cosmo_testing.engrams.checks_rollback import (
    check_commit_keeps,
    check_rollback_again,
    check_rollback_many,
    check_rollback_nothing,
    check_rollback_order,
    check_rollback_others,
    check_rollback_restores,
)
from cosmo_testing.engrams.checks_shared import (
    check_shared_close,
    check_shared_concurrent,
    check_shared_once,
    check_shared_rollback,
    check_shared_see,
)
from cosmo_testing.engrams.checks_text import (
    check_text_combined,
    check_text_folded,
    check_text_match,
    check_text_nothing,
    check_text_operators,
    check_text_plain,
    check_text_rank,
    check_text_score,
    check_text_updated,
    check_text_words,
)
from cosmo_testing.engrams.checks_vectors import (
    check_vector_combined,
    check_vector_dimensions,
    check_vector_order,
    check_vector_score,
    check_vector_updated,
    check_vector_words,
)
from cosmo_testing.engrams.checks_writes import (
    check_add,
    check_add_exists,
    check_again_after_delete,
    check_append,
    check_delete,
    check_delete_nothing,
    check_fresh_id,
    check_merge,
    check_receipts,
    check_upsert,
)
from cosmo_testing.engrams.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_testing.conformance.requirements import Check

__all__ = [
    "CHECKS",
    "check_add",
    "check_add_exists",
    "check_again_after_delete",
    "check_append",
    "check_break_once",
    "check_break_recovers",
    "check_cancel_close",
    "check_cancel_imprint",
    "check_cancel_others",
    "check_close_finishes",
    "check_close_leaves_nothing",
    "check_close_twice",
    "check_commit_below",
    "check_commit_keeps",
    "check_concurrent_add",
    "check_concurrent_merge",
    "check_concurrent_own",
    "check_concurrent_readers",
    "check_concurrent_upsert",
    "check_conflict",
    "check_connect_again",
    "check_connect_twice",
    "check_damage_said",
    "check_delete",
    "check_delete_nothing",
    "check_document",
    "check_document_largest",
    "check_document_own",
    "check_errors",
    "check_fresh_id",
    "check_merge",
    "check_merge_not_found",
    "check_merge_too_large",
    "check_model",
    "check_names_exact",
    "check_names_longest",
    "check_newest",
    "check_once",
    "check_once_concurrent",
    "check_once_failed",
    "check_once_window",
    "check_recall_combined",
    "check_recall_limit",
    "check_recall_names",
    "check_recall_order",
    "check_recall_tags",
    "check_recall_updated",
    "check_receipts",
    "check_reopen_entries",
    "check_reopen_once",
    "check_reopen_rollback",
    "check_rollback_again",
    "check_rollback_between",
    "check_rollback_cancelled",
    "check_rollback_chain",
    "check_rollback_concurrent",
    "check_rollback_many",
    "check_rollback_nothing",
    "check_rollback_once",
    "check_rollback_order",
    "check_rollback_others",
    "check_rollback_overtaken",
    "check_rollback_restores",
    "check_rollback_shared_key",
    "check_rollback_whole",
    "check_secrets",
    "check_shape",
    "check_shared_close",
    "check_shared_concurrent",
    "check_shared_once",
    "check_shared_rollback",
    "check_shared_see",
    "check_text_any",
    "check_text_combined",
    "check_text_folded",
    "check_text_largest",
    "check_text_letters",
    "check_text_many",
    "check_text_match",
    "check_text_nothing",
    "check_text_operators",
    "check_text_plain",
    "check_text_rank",
    "check_text_score",
    "check_text_updated",
    "check_text_words",
    "check_upsert",
    "check_use_closed",
    "check_vector_combined",
    "check_vector_dimensions",
    "check_vector_order",
    "check_vector_score",
    "check_vector_updated",
    "check_vector_words",
    "violation",
    "violations",
]

CHECKS: Final[Mapping[str, Check[...]]] = REQUIREMENTS.checks
"""The check of every requirement, by its id."""
