"""How similar two embeddings are, in SQL: as pgvector says, or else as arithmetic says."""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Similarity:
    """The parts of a statement that ranks entries by their embedding.

    Attributes:
        source: What comes after ``entries`` in FROM.
        condition: That an embedding has as many dimensions.
        score: The cosine similarity.
        order: What the most similar entry has the least of.
    """

    source: str
    condition: str
    score: str
    order: str


def similarity(vector: str | None, argument: str, dimensions: int) -> Similarity:
    """Return how to rank by an argument of the statement.

    Args:
        vector: The schema of pgvector; None without it.
        argument: The placeholder of the query's embedding, an array.
        dimensions: How many numbers it has.
    """
    if vector is None:
        return _by_arithmetic(argument, dimensions)
    # The expression and the condition are those of an index that the README shows.
    type = f"{vector}.vector({dimensions})"
    distance = f"(embedding::{type} OPERATOR({vector}.<=>) {argument}::real[]::{type})"
    return Similarity(
        source="",
        condition=f"cardinality(embedding) = {dimensions}",
        score=f"1 - {distance}",
        order=distance,
    )


def _by_arithmetic(argument: str, dimensions: int) -> Similarity:
    return Similarity(
        source=_COMPARED.replace("@query@", argument),
        condition=f"cardinality(embedding) = {dimensions}",
        score="cosine",
        order="-cosine",
    )


_COMPARED: Final = (
    " CROSS JOIN LATERAL (SELECT sum(a * b) / sqrt(sum(a::float8 * a)) / sqrt(sum(b * b)) AS cosine"
    " FROM (SELECT unnest(embedding) AS a, unnest(@query@::float8[]) AS b) AS pairs) AS compared"
)
