"""Requirements on undoing and committing the writes of a trace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks.queries import need_ids
from cosmo_testing.engrams.checks.writes import need_receipt
from cosmo_testing.engrams.client import Client, for_client, opened
from cosmo_testing.engrams.subject import ROLLBACK, EngramUnderTest


async def need_undone(client: Client, trace: str, expected: int) -> None:
    """Undo a trace, and check the number of undone writes.

    Raises:
        UnmetError: The number is wrong.
    """
    undone = await client.roll_back(trace)
    need(undone == expected, f"roll_back({trace!r}) undid {undone} writes, not {expected}")


async def picture(client: Client) -> dict[str, list[Any]]:
    """Return the hits of a set of queries, as a picture of the store."""
    queries: list[dict[str, Any]] = [{}, {"merge_key": "k"}, {"merge_key": "l"}, {"tags": ["t"]}]
    if client.engram.guarantees.text:
        queries += [{"text": word} for word in ("old", "new")]
    if client.engram.guarantees.vectors:
        queries.append({"vector": [1, 0]})
    found = {str(query): (await client.find(limit=1000, **query)).found for query in queries}
    return {query: [(each.id, each.document) for each in each_found] for query, each_found in found.items()}


async def need_picture(client: Client, before: dict[str, list[Any]], when: str) -> None:
    """Check that every query has the hits that it had before.

    Raises:
        UnmetError: A query has other hits.
    """
    after = await picture(client)
    for query, found in before.items():
        need(
            after[query] == found, f"{when} the query {query} finds {after[query]}; before, it found {found}"
        )


OLD: dict[str, Any] = {"id": "e", "text": "old", "tags": ["t"], "embedding": [1, 0]}
NEW: dict[str, Any] = {"text": "new", "tags": ["u"], "embedding": [0, 1, 0]}


@for_client(
    "engram:rollback-restores",
    "`roll_back` MUST restore each entry that a trace wrote, and what queries find.",
    when=[ROLLBACK],
)
async def check_rollback_restores(client: Client) -> None:
    """Undo each operation, on an existing and on a missing entry."""
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


@for_client(
    "engram:rollback-order",
    "A restored entry MUST return to its place in the order, whatever was written since.",
    when=[ROLLBACK],
)
async def check_rollback_order(client: Client) -> None:
    """Undo writes to entries in the middle, and deletions of the newest, after other writes."""
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


@for_client(
    "engram:rollback-many",
    "`roll_back` MUST undo and count all writes of a trace.",
    when=[ROLLBACK],
)
async def check_rollback_many(client: Client) -> None:
    """Undo a trace that wrote to one entry in every way, and to many other entries."""
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


@for_client(
    "engram:rollback-others",
    "`roll_back` MUST NOT undo the writes of another trace.",
    when=[ROLLBACK],
)
async def check_rollback_others(client: Client) -> None:
    """Undo one of two traces; the writes of the other, and those without a trace, stay."""
    await client.write("add", {"id": "e"}, "e", trace="one")
    await client.write("add", {"id": "f"}, "f", trace="two")
    await client.write("add", {"id": "g"}, "g")
    await client.write("add", {"id": "h"}, "h", trace="one ")
    await need_undone(client, "one", 1)
    await need_ids(client, ["h", "g", "f"])
    await need_undone(client, "ONE", 0)
    await need_undone(client, "two", 1)
    await need_ids(client, ["h", "g"])


@for_client(
    "engram:rollback-again",
    "A second `roll_back` MUST undo only what the trace wrote since the first.",
    when=[ROLLBACK],
)
async def check_rollback_again(client: Client) -> None:
    """Undo an undone and an unknown trace; then undo later writes of the trace."""
    await need_undone(client, "trace", 0)
    await client.write("add", {"id": "e"}, "k", trace="trace")
    await need_undone(client, "trace", 1)
    await need_undone(client, "trace", 0)
    await client.write("add", {"id": "e"}, "k")
    await client.write("upsert", {"n": 1}, "k", trace="trace")
    await need_undone(client, "trace", 1)
    need(await client.entries() == [{"id": "e"}], "what a trace wrote after it was undone is not undone")


@for_client(
    "engram:rollback-nothing",
    "A write that changed nothing MUST NOT be undone or counted.",
    when=[ROLLBACK],
)
async def check_rollback_nothing(client: Client) -> None:
    """Undo a trace whose writes deleted nothing or were refused."""
    await client.write("add", {"id": "e"}, "k")
    await client.write("delete", {"id": "f"}, trace="trace")
    await client.write("delete", {}, "l", trace="trace")
    await client.refused("ENGRAM_EXISTS", "add", {"id": "e"}, trace="trace")
    await client.write("add", {"id": "f"}, "l")
    await need_undone(client, "trace", 0)
    await need_ids(client, ["f", "e"])


@for_client(
    "engram:commit-keeps",
    "A committed write MUST NOT be undone, and a `commit` MUST NOT commit another trace.",
    when=[ROLLBACK],
)
async def check_commit_keeps(client: Client) -> None:
    """Commit a trace, and one without writes; then undo both, and an uncommitted one."""
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


async def _upsert(client: Client, *traces: str | None) -> None:
    """Let several traces write one entry in turn; its ``by`` names the last one."""
    for trace in traces:
        await client.write("upsert", {"by": trace}, "k", trace=trace)


async def _need_by(client: Client, expected: str | None, after: str) -> None:
    entries = await client.entries(merge_key="k")
    need(entries == [{"by": expected}], f"after {after} the entry must be that of {expected!r}: {entries}")


async def _need_version(client: Client, version: int) -> None:
    """Check the version of the next write, which is undone at once."""
    receipt = await client.write("merge", {}, "k", trace="version")
    need(receipt.version == version, f"the next version must be {version}, and it is {receipt.version}")
    await need_undone(client, "version", 1)


@requirement(
    "engram:rollback-overtaken",
    "A later write of another trace MUST stand, and the write that it overtook MUST NOT be counted.",
    when=[ROLLBACK],
)
async def check_rollback_overtaken(under_test: EngramUnderTest) -> None:
    """Undo a write after another one to the same entry: without a trace, with one, and committed."""
    for later in (None, "two", "committed"):
        async with opened(under_test) as client:
            await _upsert(client, None, "one", later)
            if later == "committed":
                await client.commit(later)
            await need_undone(client, "one", 0)
            await _need_by(client, later, f"undoing what {later!r} has overtaken")
            await _need_version(client, 4)
            await need_undone(client, "one", 0)


@requirement(
    "engram:rollback-chain",
    "Traces that wrote in turns MUST be undoable in any order, back to the original entry.",
    when=[ROLLBACK],
)
async def check_rollback_chain(under_test: EngramUnderTest) -> None:
    """Undo two traces that wrote to one entry, in either order; then three that wrote in turn."""
    for first, second, undone, by in (("one", "two", 0, "two"), ("two", "one", 1, "one")):
        async with opened(under_test) as client:
            await _upsert(client, None, "one", "two")
            await need_undone(client, first, undone)
            await _need_by(client, by, f"undoing {first!r}")
            await need_undone(client, second, 1)
            await _need_by(client, None, f"undoing {first!r} and {second!r}")
            await _need_version(client, 2)
    async with opened(under_test) as client:
        await _upsert(client, "one", "two", "one", "three", "two")
        for trace, undone, by in (("one", 0, "two"), ("two", 1, "three")):
            await need_undone(client, trace, undone)
            await _need_by(client, by, f"undoing {trace!r}")
        await need_undone(client, "three", 1)
        await need_ids(client, [])


@for_client(
    "engram:rollback-between",
    "An entry that one trace deleted and wrote again MUST be undone like any other write.",
    when=[ROLLBACK],
)
async def check_rollback_between(client: Client) -> None:
    """Undo a trace whose entry another trace deleted and wrote again under the same id."""
    await client.write("add", {"id": "e", "by": "one"}, "k", trace="one")
    await client.write("delete", {"id": "e"}, trace="two")
    await client.write("add", {"id": "e", "by": "two"}, "l", trace="two")
    await need_undone(client, "one", 0)
    await need_ids(client, ["e"], merge_key="l")
    await need_undone(client, "two", 2)
    await need_ids(client, [])
    need_receipt(client, await client.write("add", {"id": "e"}, "k"), "add", "e", 1)


@for_client(
    "engram:rollback-shared-key",
    "A restored entry MAY share its key with an entry that was written since, and both MUST be found.",
    when=[ROLLBACK],
)
async def check_rollback_shared_key(client: Client) -> None:
    """Undo a deletion after another entry got the key: the key has both, in their order."""
    await client.write("add", {"id": "e"}, "k")
    await client.write("delete", {}, "k", trace="trace")
    await client.write("add", {"id": "f"}, "k")
    await need_undone(client, "trace", 1)
    await need_ids(client, ["f", "e"], merge_key="k")
    need_receipt(client, await client.write("upsert", {}, "k"), "upsert", "f", 2)


@requirement(
    "engram:commit-below",
    "A committed write MUST stand when a write before it or after it is undone.",
    when=[ROLLBACK],
)
async def check_commit_below(under_test: EngramUnderTest) -> None:
    """Commit one of two traces that wrote to one entry, and undo the other, in every order."""
    cases: Iterable[tuple[str, str, int, str]] = (("one", "two", 1, "one"), ("two", "one", 0, "two"))
    for committed, undone, count, by in cases:
        async with opened(under_test) as client:
            await _upsert(client, None, "one", "two")
            await client.commit(committed)
            await need_undone(client, undone, count)
            await _need_by(client, by, f"committing {committed!r} and undoing {undone!r}")
            await need_undone(client, committed, 0)
            await _need_by(client, by, f"undoing {committed!r}, which was committed")
