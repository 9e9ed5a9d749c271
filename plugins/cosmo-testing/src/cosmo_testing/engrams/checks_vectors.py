"""What is found by an embedding."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.engram import MAX_DIMENSIONS
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.client import Client
from cosmo_testing.engrams.comparison import EXACT
from cosmo_testing.engrams.model import cosine
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_testing.engrams.subject import EngramUnderTest

COMPASS: Final[dict[str, list[float]]] = {
    "n": [0, 1],
    "ne": [2, 2],
    "e": [0.5, 0],
    "s": [0, -3],
    "w": [-1e-3, 0],
}
"""Embeddings of several lengths: only their directions count."""


async def need_scores(client: Client, vector: Sequence[float], expected: dict[str, float]) -> None:
    """Raise unless a vector finds these entries, this similar to it.

    Raises:
        UnmetError: It finds others, or they are more or less similar.
    """
    found = {each.id: each.score for each in (await client.find(vector=[*vector])).found}
    need(found.keys() == expected.keys(), f"{sorted(found)} are found, not {sorted(expected)}")
    for id, score in found.items():
        off = abs(score - expected[id])
        need(off < EXACT, f"{id!r} has the score {score}; the cosine is {expected[id]}")


@REQUIREMENTS.proves("engram:vector-order")
async def check_vector_order(under_test: EngramUnderTest) -> None:
    """Look for entries in some directions; the most similar come first, opposite ones last."""
    async with opened(under_test) as client:
        await client.put(*({"id": id, "embedding": vector} for id, vector in COMPASS.items()))
        await client.put({"id": "none"})
        await need_ids(client, ["n", "ne", "e", "w", "s"], vector=[0.01, 5])
        await need_ids(client, ["e", "ne", "s", "n", "w"], vector=[1, -0.01])
        await client.put({"id": "ne2", "embedding": [2, 2]})
        ids = await client.ids(vector=[1, 1])
        need(ids[:2] == ["ne2", "ne"], f"of equals the newest comes first; what comes is {ids}")


@REQUIREMENTS.proves("engram:vector-score")
async def check_vector_score(under_test: EngramUnderTest) -> None:
    """Compare scores with the cosine, for short, long, small and large vectors."""
    async with opened(under_test) as client:
        await client.put(*({"id": id, "embedding": vector} for id, vector in COMPASS.items()))
        for vector in ([0.3, 0.4], [3e17, -4e17], [2e-18, 1e-18]):
            await need_scores(client, vector, {id: cosine(vector, each) for id, each in COMPASS.items()})
        # The same sequence every time: a failure can be looked at.
        numbers = random.Random(7)  # noqa: S311 - no secret is made of it
        large = {
            "one": [numbers.gauss(0, 1) for _ in range(1536)],
            "tiny": [1e-19 * numbers.gauss(0, 1) for _ in range(1536)],
            "huge": [1e16 * numbers.gauss(0, 1) for _ in range(1536)],
        }
        await client.put(*({"id": id, "embedding": vector} for id, vector in large.items()))
        for vector in large.values():
            await need_scores(client, vector, {id: cosine(vector, each) for id, each in large.items()})


@REQUIREMENTS.proves("engram:vector-dimensions")
async def check_vector_dimensions(under_test: EngramUnderTest) -> None:
    """Look for vectors of other lengths than some of those that are there; also of the largest."""
    async with opened(under_test) as client:
        for n in (1, 2, 3, 4, MAX_DIMENSIONS):
            await client.put({"id": f"d{n}", "embedding": [1.0] * n})
        for n in (1, 2, 3, 4, MAX_DIMENSIONS):
            await need_scores(client, [2.0] * n, {f"d{n}": 1.0})
        await need_ids(client, [], vector=[1.0] * 5)


@REQUIREMENTS.proves("engram:vector-updated")
async def check_vector_updated(under_test: EngramUnderTest) -> None:
    """Replace, merge and delete an entry with an embedding."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e", "embedding": [1, 0]}, "k")
        await client.write("merge", {"n": 1}, "k")
        await need_scores(client, [1, 0], {"e": 1})
        await client.write("merge", {"embedding": [0, 1]}, "k")
        await need_scores(client, [1, 0], {"e": 0})
        await client.write("upsert", {"embedding": [0, 1, 0]}, "k")
        await need_scores(client, [1, 0], {})
        await need_scores(client, [0, 1, 0], {"e": 1})
        await client.write("upsert", {"n": 1}, "k")
        await need_ids(client, [], vector=[0, 1, 0])
        await client.write("upsert", {"embedding": [1, 0]}, "k")
        await client.write("delete", {}, "k")
        await need_ids(client, [], vector=[1, 0])


@REQUIREMENTS.proves("engram:vector-combined")
async def check_vector_combined(under_test: EngramUnderTest) -> None:
    """Look for a vector among the entries of a key and of tags, and for the first of several."""
    async with opened(under_test) as client:
        for id, key, tag, vector in (
            ("e", "k", "t", [1, 0]),
            ("f", "k", "u", [1, 1]),
            ("g", "l", "t", [0, 1]),
            ("h", "k", "t", [0, 1]),
        ):
            await client.write("append", {"id": id, "tags": [tag], "embedding": vector}, key)
        await need_ids(client, ["e", "f", "h"], vector=[1, 0.1], merge_key="k")
        await need_ids(client, ["h", "e"], vector=[0.1, 1], merge_key="k", tags=["t"])
        await need_ids(client, ["g"], vector=[1, 0], id="g")
        for limit in (1, 2, 4):
            findings = await client.find(vector=[1, 0.1], limit=limit)
            ids = [found.id for found in findings.found]
            need(ids == ["e", "f", "h", "g"][:limit], f"of 4 entries, limit {limit} brings {ids}")
            need(findings.truncated == (limit < 4), f"of 4 entries, limit {limit}: {findings.truncated}")


@REQUIREMENTS.proves("engram:vector-words")
async def check_vector_words(under_test: EngramUnderTest) -> None:
    """Look for a vector and words at once: the words are a condition, and the vector makes the order."""
    async with opened(under_test) as client:
        await client.put(
            {"id": "near", "text": "bus", "embedding": [1, 0]},
            {"id": "far", "text": "bus bus bus", "embedding": [0, 1]},
            {"id": "other", "text": "train", "embedding": [1, 0]},
            {"id": "bare", "text": "bus"},
        )
        await need_ids(client, ["near", "far"], text="bus", vector=[1, 0])
        await need_ids(client, ["far", "near"], text="bus", vector=[0, 1])
