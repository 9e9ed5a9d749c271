"""Makes one result of the answers of several Engrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cosmo_core.contracts.engram.query import DEFAULT_LIMIT
from cosmo_core.contracts.engram.results import Hit, RecallResult
from cosmo_core.errors import CosmoError

Outcome = RecallResult | CosmoError
"""What became of asking one Engram."""


def joined(outcomes: Mapping[str, Outcome], ranked_for: Mapping[str, Any] | None) -> RecallResult:
    """Return all answers as one: ranked together for a query if one is given, else one after the other.

    Args:
        outcomes: What became of each Engram, by id.
        ranked_for: The query, whose limit then holds for all of them together.

    Raises:
        CosmoError: There is no answer; it is what the first Engram said instead.
    """
    answers = [outcome for outcome in outcomes.values() if isinstance(outcome, RecallResult)]
    failed = {id: str(outcome) for id, outcome in outcomes.items() if isinstance(outcome, CosmoError)}
    if not answers:
        raise next(outcome for outcome in outcomes.values() if isinstance(outcome, CosmoError))
    hits = [hit for answer in answers for hit in answer.hits]
    truncated = any(answer.truncated for answer in answers)
    if ranked_for is not None:
        hits, cut = _ranked(hits, ranked_for)
        truncated |= cut
    engrams = tuple(engram_id for answer in answers for engram_id in answer.engrams)
    return RecallResult(hits, truncated, engrams, failed)


def _ranked(hits: Sequence[Hit], query: Mapping[str, Any]) -> tuple[list[Hit], bool]:
    # Each Engram checked the query, and sent no more than this.
    limit = query.get("limit", DEFAULT_LIMIT)
    best = sorted(hits, key=lambda hit: hit.score, reverse=True)
    return best[:limit], len(best) > limit
