"""What a trace wrote is undone, or kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_writes import need_receipt
from cosmo_testing.engrams.client import Client
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


async def need_undone(client: Client, trace: str, expected: int) -> None:
    """Undo a trace, and raise unless that was so many writes.

    Raises:
        UnmetError: It was another number.
    """
    undone = await client.roll_back(trace)
    need(undone == expected, f"roll_back({trace!r}) undid {undone} writes, and {expected} were to undo")


async def picture(client: Client) -> dict[str, list[Any]]:
    """Return what every query of some shows: what is there, and how it is found."""
    queries: list[dict[str, Any]] = [{}, {"merge_key": "k"}, {"merge_key": "l"}, {"tags": ["t"]}]
    if client.engram.guarantees.text:
        queries += [{"text": word} for word in ("old", "new")]
    if client.engram.guarantees.vectors:
        queries.append({"vector": [1, 0]})
    found = {str(query): (await client.find(limit=1000, **query)).found for query in queries}
    return {query: [(each.id, each.document) for each in each_found] for query, each_found in found.items()}


async def need_picture(client: Client, before: dict[str, list[Any]], when: str) -> None:
    """Raise unless every query shows what it showed before.

    Raises:
        UnmetError: One does not.
    """
    after = await picture(client)
    for query, found in before.items():
        need(
            after[query] == found, f"{when} the query {query} finds {after[query]}; before, it found {found}"
        )


OLD: dict[str, Any] = {"id": "e", "text": "old", "tags": ["t"], "embedding": [1, 0]}
NEW: dict[str, Any] = {"text": "new", "tags": ["u"], "embedding": [0, 1, 0]}


@REQUIREMENTS.proves("engram:rollback-restores")
async def check_rollback_restores(under_test: EngramUnderTest) -> None:
    """Undo each operation, on an entry that was there and on one that was not."""
    async with opened(under_test) as client:
        await client.write("add", OLD, "k")
        await client.write("upsert", {**OLD, "n": 2}, "k")
        await client.write("add", {"id": "f", "text": "old"}, "m")
        before = await picture(client)
        for op, entry, key in (
            ("add", NEW, "l"),
            ("append", {**NEW, "id": "e"}, "k"),
            ("upsert", NEW, "l"),
            ("upsert", NEW, "k"),
            ("merge", NEW, "k"),
            ("delete", {}, "k"),
            ("delete", {"id": "e"}, None),
        ):
            receipt = await client.write(op, entry, key, trace="trace")
            need(await picture(client) != before, f"{op} of {entry} changed nothing: {receipt}")
            await need_undone(client, "trace", 1)
            await need_picture(client, before, f"{op} was undone, and")
        need_receipt(client, await client.write("merge", {}, "k"), "merge", "e", 3)


@REQUIREMENTS.proves("engram:rollback-order")
async def check_rollback_order(under_test: EngramUnderTest) -> None:
    """Undo writes to what was in the middle, and deletions of what was newest, after others wrote."""
    async with opened(under_test) as client:
        for id in ("a", "b", "c", "d"):
            await client.write("append", {"id": id}, "k")
        await client.write("upsert", {"n": 1}, "k", trace="trace")
        await client.write("delete", {"id": "b"}, trace="trace")
        await client.write("delete", {"id": "c"}, trace="trace")
        await client.write("delete", {"id": "d"}, trace="trace")
        for id in ("e", "f"):
            await client.write("append", {"id": id}, "k")
        await need_undone(client, "trace", 4)
        await need_ids(client, ["f", "e", "d", "c", "b", "a"])
        await client.write("add", {"id": "g"})
        await need_ids(client, ["g", "f", "e", "d", "c", "b", "a"])
        for id in ("f", "e", "d"):
            need_receipt(client, await client.write("delete", {}, "k"), "delete", id, None)


@REQUIREMENTS.proves("engram:rollback-many")
async def check_rollback_many(under_test: EngramUnderTest) -> None:
    """Undo a trace that wrote to one entry in every way, and to many others."""
    async with opened(under_test) as client:
        await client.write("add", OLD, "k")
        before = await picture(client)
        for op, entry, key in (
            ("upsert", NEW, "k"),
            ("merge", {"more": ["new"]}, "k"),
            ("delete", {"id": "e"}, None),
            ("add", {"id": "e", "text": "new"}, "l"),
            ("upsert", {"text": "new"}, "l"),
            ("delete", {}, "l"),
            ("append", {"id": "e"}, "k"),
        ):
            await client.write(op, entry, key, trace="trace")
        await client.put({"id": "between"})
        for n in range(20):
            await client.write("append", {"text": "new"}, f"k{n}", trace="trace")
        await client.write("delete", {"id": "between"})
        await need_undone(client, "trace", 27)
        await need_picture(client, before, "27 writes were undone, and")
        need_receipt(client, await client.write("upsert", {}, "k"), "upsert", "e", 2)


@REQUIREMENTS.proves("engram:rollback-others")
async def check_rollback_others(under_test: EngramUnderTest) -> None:
    """Undo one trace of two; what the other wrote, and what was written without one, stays."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "e", trace="one")
        await client.write("add", {"id": "f"}, "f", trace="two")
        await client.write("add", {"id": "g"}, "g")
        await client.write("add", {"id": "h"}, "h", trace="one ")
        await need_undone(client, "one", 1)
        await need_ids(client, ["h", "g", "f"])
        await need_undone(client, "ONE", 0)
        await need_undone(client, "two", 1)
        await need_ids(client, ["h", "g"])


@REQUIREMENTS.proves("engram:rollback-again")
async def check_rollback_again(under_test: EngramUnderTest) -> None:
    """Undo what is undone, and what never was; then undo what the trace wrote since."""
    async with opened(under_test) as client:
        await need_undone(client, "trace", 0)
        await client.write("add", {"id": "e"}, "k", trace="trace")
        await need_undone(client, "trace", 1)
        await need_undone(client, "trace", 0)
        await client.write("add", {"id": "e"}, "k")
        await client.write("upsert", {"n": 1}, "k", trace="trace")
        await need_undone(client, "trace", 1)
        need(await client.entries() == [{"id": "e"}], "what a trace wrote after it was undone is not undone")


@REQUIREMENTS.proves("engram:rollback-nothing")
async def check_rollback_nothing(under_test: EngramUnderTest) -> None:
    """Undo a trace whose writes deleted nothing, or were refused."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await client.write("delete", {"id": "f"}, trace="trace")
        await client.write("delete", {}, "l", trace="trace")
        await client.refused("ENGRAM_EXISTS", "add", {"id": "e"}, trace="trace")
        await client.write("add", {"id": "f"}, "l")
        await need_undone(client, "trace", 0)
        await need_ids(client, ["f", "e"])


@REQUIREMENTS.proves("engram:commit-keeps")
async def check_commit_keeps(under_test: EngramUnderTest) -> None:
    """Commit a trace, and one that wrote nothing; then undo both, and one that was not committed."""
    async with opened(under_test) as client:
        await client.write("add", OLD, "k", trace="trace")
        await client.write("upsert", NEW, "k", trace="trace")
        await client.write("add", {"id": "other"}, "other", trace="other")
        await client.commit("trace")
        await client.commit("unknown")
        await need_undone(client, "other", 1)
        before = await picture(client)
        await need_undone(client, "trace", 0)
        await need_undone(client, "unknown", 0)
        await need_picture(client, before, "a trace was committed and undone, and")
        await client.write("delete", {}, "k", trace="trace")
        await need_undone(client, "trace", 1)
        await need_picture(client, before, "what a trace wrote after its commit was undone, and")
