"""What is found by its id, its key and its tags, in which order, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_core.contracts.engram import MAX_LIMIT
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.client import Client
    from cosmo_testing.engrams.subject import EngramUnderTest


async def need_ids(client: Client, expected: list[str], **query: object) -> None:
    """Raise unless a query finds these entries, in this order.

    Raises:
        UnmetError: It finds others.
    """
    found = await client.ids(**query)
    need(found == expected, f"the query {query} found {found}, and must find {expected}")


@REQUIREMENTS.proves("engram:recall-names")
async def check_recall_names(under_test: EngramUnderTest) -> None:
    """Ask for entries by their ids, and for those of a key, of which some have several and some none."""
    async with opened(under_test) as client:
        for id, key in (("e", "k"), ("f", "l"), ("g", "k"), ("h", None), ("l", "e")):
            await client.write("append", {"id": id, "ref": "m", "merge_key": "m"}, key)
        for id in ("e", "f", "g", "h", "l"):
            await need_ids(client, [id], id=id)
        for key, ids in (("k", ["g", "e"]), ("l", ["f"]), ("e", ["l"]), ("m", []), ("h", [])):
            await need_ids(client, ids, merge_key=key)
        for id in ("k", "m", "E", "e "):
            await need_ids(client, [], id=id)


@REQUIREMENTS.proves("engram:recall-tags")
async def check_recall_tags(under_test: EngramUnderTest) -> None:
    """Ask for entries by one tag, by several, and by what is part of a tag."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:recall-order")
async def check_recall_order(under_test: EngramUnderTest) -> None:
    """Write entries anew, in another order, and ask for all of them."""
    async with opened(under_test) as client:
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
        need(scores == [1.0] * 4, f"where nothing ranks scores are 1; they are {scores}")


@REQUIREMENTS.proves("engram:recall-limit")
async def check_recall_limit(under_test: EngramUnderTest) -> None:
    """Ask for fewer than there are, for as many, and for more; also as many as can be asked for."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:recall-combined")
async def check_recall_combined(under_test: EngramUnderTest) -> None:
    """Ask for entries that fit several conditions, each of which others fit."""
    async with opened(under_test) as client:
        for id, key, tags in (("e", "k", ["t"]), ("f", "k", ["u"]), ("g", "l", ["t"]), ("h", "k", ["t"])):
            await client.write("append", {"id": id, "tags": tags}, key)
        await need_ids(client, ["h", "e"], merge_key="k", tags=["t"])
        await need_ids(client, ["e"], merge_key="k", tags=["t"], id="e")
        await need_ids(client, [], merge_key="l", id="e")
        await need_ids(client, [], tags=["u"], id="e")


@REQUIREMENTS.proves("engram:recall-updated")
async def check_recall_updated(under_test: EngramUnderTest) -> None:
    """Change the tags of an entry in every way, and ask for it by those it has and had."""
    async with opened(under_test) as client:
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
