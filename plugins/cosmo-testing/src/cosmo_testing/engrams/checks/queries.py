"""Requirements on queries by id, key, tags and vector."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from cosmo_core.contracts.engram import MAX_DIMENSIONS, MAX_LIMIT
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import Client, for_client, together
from cosmo_testing.engrams.model import EXACT, cosine
from cosmo_testing.engrams.subject import TEXT, VECTORS


async def need_ids(client: Client, expected: list[str], **query: object) -> None:
    """Check that a query finds these entries, in this order.

    Raises:
        UnmetError: It found others.
    """
    found = await client.ids(**query)
    need(found == expected, f"the query {query} found {found}, and must find {expected}")


@for_client(
    "engram:recall-names",
    "A query by id MUST find that entry, and a query by key all entries of the key.",
)
async def check_recall_names(client: Client) -> None:
    """Query by id, and by keys with several entries and with none."""
    for id, key in (("e", "k"), ("f", "l"), ("g", "k"), ("h", None), ("l", "e")):
        await client.write("append", {"id": id, "ref": "m", "merge_key": "m"}, key)
    for id in ("e", "f", "g", "h", "l"):
        await need_ids(client, [id], id=id)
    for key, ids in (("k", ["g", "e"]), ("l", ["f"]), ("e", ["l"]), ("m", []), ("h", [])):
        await need_ids(client, ids, merge_key=key)
    for id in ("k", "m", "E", "e "):
        await need_ids(client, [], id=id)


@for_client("engram:recall-tags", "A query by tags MUST find exactly the entries that have all of them.")
async def check_recall_tags(client: Client) -> None:
    """Query by one tag, by several tags, and by a part of a tag."""
    await client.put(
        {"id": "e", "tags": ["red", "round", "red"]},
        {"id": "f", "tags": ["round"]},
        {"id": "g", "tags": ["red wine", "a,b", '{"x"}']},
        {"id": "h", "text": "red", "tags": None},
    )
    await need_ids(client, ["e"], tags=["red"])
    await need_ids(client, ["f", "e"], tags=["round"])
    await need_ids(client, ["e"], tags=["round", "red"])
    await need_ids(client, [], tags=["round", "a,b"])
    await need_ids(client, ["g"], tags=["red wine", '{"x"}'])
    for part in ("re", "RED", "a", "wine", "%", "r_d"):
        await need_ids(client, [], tags=[part])
    await need_ids(client, ["h", "g", "f", "e"], tags=[])


@for_client("engram:recall-order", "Hits without a rank MUST come newest first, with the score 1.")
async def check_recall_order(client: Client) -> None:
    """Rewrite entries in another order, and query all of them."""
    await need_ids(client, [])
    for id in ("e", "c", "d"):
        await client.write("add", {"id": id, "tags": ["t"]}, id)
    await need_ids(client, ["d", "c", "e"])
    await client.write("upsert", {"tags": ["t"]}, "c")
    await client.write("merge", {"n": 1}, "e")
    await client.write("add", {"id": "a", "tags": ["t"]})
    for query in ({}, {"tags": ["t"]}):
        await need_ids(client, ["a", "e", "c", "d"], **query)
    findings = await client.find()
    scores = [found.score for found in findings.found]
    need(scores == [1.0] * 4, f"without a rank scores are 1; they are {scores}")


@for_client(
    "engram:recall-limit",
    "A query MUST return at most `limit` hits, the first of all, and `truncated` MUST report further hits.",
)
async def check_recall_limit(client: Client) -> None:
    """Query with a limit below, at and above the number of entries, and with the largest limit."""
    for n in range(4):
        await client.write("append", {"id": f"e{n}", "tags": ["t"]}, "k")
    for query in ({}, {"merge_key": "k"}, {"tags": ["t"]}):
        for limit in range(1, 6):
            findings = await client.find(limit=limit, **query)
            ids = [found.id for found in findings.found]
            need(ids == ["e3", "e2", "e1", "e0"][:limit], f"of 4 entries, limit {limit} brings {ids}")
            need(
                findings.truncated == (limit < 4),
                f"of 4 entries, limit {limit} brings truncated={findings.truncated}",
            )
    await together(client.write("add", {"n": n}) for n in range(MAX_LIMIT))
    findings = await client.find(limit=MAX_LIMIT)
    need(len(findings.found) == MAX_LIMIT, f"limit {MAX_LIMIT} brings {len(findings.found)}")
    need(findings.truncated, f"there are more than {MAX_LIMIT}, and truncated is false")


@for_client("engram:recall-combined", "A hit MUST match every condition of its query.")
async def check_recall_combined(client: Client) -> None:
    """Query with several conditions; other entries match each of them alone."""
    for id, key, tags in (("e", "k", ["t"]), ("f", "k", ["u"]), ("g", "l", ["t"]), ("h", "k", ["t"])):
        await client.write("append", {"id": id, "tags": tags}, key)
    await need_ids(client, ["h", "e"], merge_key="k", tags=["t"])
    await need_ids(client, ["e"], merge_key="k", tags=["t"], id="e")
    await need_ids(client, [], merge_key="l", id="e")
    await need_ids(client, [], tags=["u"], id="e")


@for_client("engram:recall-updated", "A query by tags MUST use the current tags of an entry.")
async def check_recall_updated(client: Client) -> None:
    """Change the tags of an entry in every way, and query by current and earlier tags."""
    await client.write("add", {"id": "e", "tags": ["one"]}, "k")
    await client.write("upsert", {"tags": ["two"]}, "k")
    await need_ids(client, [], tags=["one"])
    await need_ids(client, ["e"], tags=["two"])
    await client.write("merge", {"tags": ["three"]}, "k")
    await need_ids(client, ["e"], tags=["two", "three"])
    await client.write("upsert", {"n": 1}, "k")
    await need_ids(client, [], tags=["two"])
    await client.write("upsert", {"tags": ["one"]}, "k")
    await client.write("delete", {}, "k")
    for query in ({"tags": ["one"]}, {"merge_key": "k"}, {"id": "e"}, {}):
        await need_ids(client, [], **query)


COMPASS: Final[dict[str, list[float]]] = {
    "n": [0, 1],
    "ne": [2, 2],
    "e": [0.5, 0],
    "s": [0, -3],
    "w": [-1e-3, 0],
}
"""Embeddings of several lengths; only the directions count."""


async def need_scores(client: Client, vector: Sequence[float], expected: dict[str, float]) -> None:
    """Check that a vector finds these entries, with these scores.

    Raises:
        UnmetError: It found others, or with other scores.
    """
    found = {each.id: each.score for each in (await client.find(vector=[*vector])).found}
    need(found.keys() == expected.keys(), f"{sorted(found)} are found, not {sorted(expected)}")
    for id, score in found.items():
        off = abs(score - expected[id])
        need(off < EXACT, f"{id!r} has the score {score}; the cosine is {expected[id]}")


@for_client(
    "engram:vector-order",
    "Hits of a vector query MUST come most similar first; of equal hits, the newest first.",
    when=[VECTORS],
)
async def check_vector_order(client: Client) -> None:
    """Query by some directions; the most similar entries come first, opposite ones last."""
    await client.put(*({"id": id, "embedding": vector} for id, vector in COMPASS.items()))
    await client.put({"id": "none"})
    await need_ids(client, ["n", "ne", "e", "w", "s"], vector=[0.01, 5])
    await need_ids(client, ["e", "ne", "s", "n", "w"], vector=[1, -0.01])
    await client.put({"id": "ne2", "embedding": [2, 2]})
    ids = await client.ids(vector=[1, 1])
    need(ids[:2] == ["ne2", "ne"], f"of equal hits the newest comes first; the order is {ids}")


@for_client(
    "engram:vector-score",
    "The score MUST be the cosine in single precision, whatever the lengths of the vectors are.",
    when=[VECTORS],
)
async def check_vector_score(client: Client) -> None:
    """Compare scores with the cosine, for short, long, small and large vectors."""
    await client.put(*({"id": id, "embedding": vector} for id, vector in COMPASS.items()))
    for vector in ([0.3, 0.4], [3e17, -4e17], [2e-18, 1e-18]):
        await need_scores(client, vector, {id: cosine(vector, each) for id, each in COMPASS.items()})
    # A fixed seed, so that a failure can be reproduced.
    numbers = random.Random(7)  # noqa: S311 - no secret is made of it
    large = {
        "one": [numbers.gauss(0, 1) for _ in range(1536)],
        "tiny": [1e-19 * numbers.gauss(0, 1) for _ in range(1536)],
        "huge": [1e16 * numbers.gauss(0, 1) for _ in range(1536)],
    }
    await client.put(*({"id": id, "embedding": vector} for id, vector in large.items()))
    for vector in large.values():
        await need_scores(client, vector, {id: cosine(vector, each) for id, each in large.items()})


@for_client(
    "engram:vector-dimensions",
    "A vector query MUST find the embeddings of the same dimension, up to the largest dimension.",
    when=[VECTORS],
)
async def check_vector_dimensions(client: Client) -> None:
    """Query by vectors of several dimensions, up to the largest."""
    for n in (1, 2, 3, 4, MAX_DIMENSIONS):
        await client.put({"id": f"d{n}", "embedding": [1.0] * n})
    for n in (1, 2, 3, 4, MAX_DIMENSIONS):
        await need_scores(client, [2.0] * n, {f"d{n}": 1.0})
    await need_ids(client, [], vector=[1.0] * 5)


@for_client(
    "engram:vector-updated",
    "A vector query MUST use the current embedding of an entry, which `merge` keeps.",
    when=[VECTORS],
)
async def check_vector_updated(client: Client) -> None:
    """Replace, merge and delete an entry with an embedding."""
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


@for_client(
    "engram:vector-combined",
    "A vector MUST combine with the other conditions, and with the limit.",
    when=[VECTORS],
)
async def check_vector_combined(client: Client) -> None:
    """Query by a vector with a key, with tags, and with a limit."""
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


@for_client(
    "engram:vector-words",
    "With words and a vector, the words MUST filter and the vector MUST order the hits.",
    when=[VECTORS, TEXT],
)
async def check_vector_words(client: Client) -> None:
    """Query by a vector and words: the words filter, and the vector orders."""
    await client.put(
        {"id": "near", "text": "bus", "embedding": [1, 0]},
        {"id": "far", "text": "bus bus bus", "embedding": [0, 1]},
        {"id": "other", "text": "train", "embedding": [1, 0]},
        {"id": "bare", "text": "bus"},
    )
    await need_ids(client, ["near", "far"], text="bus", vector=[1, 0])
    await need_ids(client, ["far", "near"], text="bus", vector=[0, 1])
