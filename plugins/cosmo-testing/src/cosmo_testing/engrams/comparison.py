"""Compares what an Engram found with what the model says that it must find."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.engrams.model import Entry, Model, cosine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_core.contracts.engram import Findings, Found, Query

EXACT: Final = 1e-5
"""How far a similarity may be off: embeddings are kept in single precision."""


def need_findings(findings: Findings, query: Query, model: Model) -> None:
    """Raise unless these are the entries, in an order that the law allows.

    Raises:
        UnmetError: They are not.
    """
    fitting = model.fitting(query)
    for complaint in _complaints(findings, query, fitting):
        expected = [entry.id for entry in fitting]
        raise UnmetError(f"{query} {complaint}; what fits is {expected}, newest first; found is {findings}")


def _complaints(findings: Findings, query: Query, fitting: list[Entry]) -> Iterator[str]:
    by_id = {entry.id: entry for entry in fitting}
    found, ids = findings.found, [each.id for each in findings.found]
    if len({*ids}) < len(ids):
        yield "found an entry twice"
    if not {*ids} <= by_id.keys():
        yield "found what does not fit"
    if len(ids) != min(query.limit, len(fitting)):
        yield f"found {len(ids)} of {len(fitting)}"
    if findings.truncated != (len(fitting) > query.limit):
        yield f"found {len(ids)} of {len(fitting)} with truncated={findings.truncated}"
    for each in found:
        if each.document != by_id[each.id].document:
            yield f"found the document of {each.id!r}, which is {by_id[each.id].document!r}, as another"
    if query.vector is not None:
        yield from _about_vectors(found, query.vector, by_id)
    elif query.words is not None:
        yield from _about_words(found, by_id)
    elif ids != [*by_id][: query.limit]:
        yield "found another order than newest first"
    elif any(each.score != 1 for each in found):
        yield "scored where nothing ranks"


def _about_words(found: Sequence[Found], by_id: dict[str, Entry]) -> Iterator[str]:
    if not all(0 <= each.score <= 1 for each in found):
        yield "found words with a score that is not between 0 and 1"
    for one, later in pairwise(found):
        if one.score == later.score and by_id[one.id].written < by_id[later.id].written:
            yield f"found {one.id!r} before {later.id!r}, which is as good and newer"


def _about_vectors(found: Sequence[Found], vector: Sequence[float], by_id: dict[str, Entry]) -> Iterator[str]:
    similar = {id: cosine(vector, entry.embedding or ()) for id, entry in by_id.items()}
    for each in found:
        if abs(each.score - similar[each.id]) > EXACT:
            yield f"found {each.id!r} with the score {each.score}; the cosine is {similar[each.id]}"
    for one, later in pairwise(by_id[each.id] for each in found):
        if one.embedding == later.embedding and one.written < later.written:
            yield f"found {one.id!r} before {later.id!r}, which is as good and newer"
    least = min((similar[each.id] for each in found), default=1.0)
    left_out = similar.keys() - {each.id for each in found}
    if any(similar[id] > least + EXACT for id in left_out):
        yield "left out what is more similar"
