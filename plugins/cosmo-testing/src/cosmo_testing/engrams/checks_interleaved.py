"""Traces that write to the same entries, undone and committed in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_rollback import need_undone
from cosmo_testing.engrams.checks_writes import need_receipt
from cosmo_testing.engrams.client import Client
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_testing.engrams.subject import EngramUnderTest


async def _upsert(client: Client, *traces: str | None) -> None:
    """Let several traces write the same entry, one after the other; its ``by`` says who was last."""
    for trace in traces:
        await client.write("upsert", {"by": trace}, "k", trace=trace)


async def _need_by(client: Client, expected: str | None, after: str) -> None:
    entries = await client.entries(merge_key="k")
    need(entries == [{"by": expected}], f"after {after} the entry must be that of {expected!r}: {entries}")


async def _need_version(client: Client, version: int) -> None:
    """Raise unless the next write makes it this version; that write is undone at once."""
    receipt = await client.write("merge", {}, "k", trace="version")
    need(receipt.version == version, f"the next version must be {version}, and it is {receipt.version}")
    await need_undone(client, "version", 1)


@REQUIREMENTS.proves("engram:rollback-overtaken")
async def check_rollback_overtaken(under_test: EngramUnderTest) -> None:
    """Undo a write after something else wrote to the entry: without a trace, on one, and committed."""
    for later in (None, "two", "committed"):
        async with opened(under_test) as client:
            await _upsert(client, None, "one", later)
            if later == "committed":
                await client.commit(later)
            await need_undone(client, "one", 0)
            await _need_by(client, later, f"undoing what {later!r} has overtaken")
            await _need_version(client, 4)
            await need_undone(client, "one", 0)


@REQUIREMENTS.proves("engram:rollback-chain")
async def check_rollback_chain(under_test: EngramUnderTest) -> None:
    """Undo traces that wrote to one entry, in either order; then three that did so by turns."""
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


@REQUIREMENTS.proves("engram:rollback-between")
async def check_rollback_between(under_test: EngramUnderTest) -> None:
    """Undo a trace whose entry another one deleted, and made again under the same id."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e", "by": "one"}, "k", trace="one")
        await client.write("delete", {"id": "e"}, trace="two")
        await client.write("add", {"id": "e", "by": "two"}, "l", trace="two")
        await need_undone(client, "one", 0)
        await need_ids(client, ["e"], merge_key="l")
        await need_undone(client, "two", 2)
        await need_ids(client, [])
        need_receipt(client, await client.write("add", {"id": "e"}, "k"), "add", "e", 1)


@REQUIREMENTS.proves("engram:rollback-shared-key")
async def check_rollback_shared_key(under_test: EngramUnderTest) -> None:
    """Undo a deletion after its key was given to another entry: the key has both, in their order."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await client.write("delete", {}, "k", trace="trace")
        await client.write("add", {"id": "f"}, "k")
        await need_undone(client, "trace", 1)
        await need_ids(client, ["f", "e"], merge_key="k")
        need_receipt(client, await client.write("upsert", {}, "k"), "upsert", "f", 2)


@REQUIREMENTS.proves("engram:commit-below")
async def check_commit_below(under_test: EngramUnderTest) -> None:
    """Commit one of two traces that wrote to one entry, then undo the other, in every order."""
    cases: Iterable[tuple[str, str, int, str]] = (("one", "two", 1, "one"), ("two", "one", 0, "two"))
    for committed, undone, count, by in cases:
        async with opened(under_test) as client:
            await _upsert(client, None, "one", "two")
            await client.commit(committed)
            await need_undone(client, undone, count)
            await _need_by(client, by, f"committing {committed!r} and undoing {undone!r}")
            await need_undone(client, committed, 0)
            await _need_by(client, by, f"undoing {committed!r}, which was committed")
