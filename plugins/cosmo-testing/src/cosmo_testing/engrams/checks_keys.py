"""Which entry a key means, and what does not belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.engram import MAX_ENTRY, MAX_TAGS
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_writes import need_receipt
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


@REQUIREMENTS.proves("engram:newest")
async def check_newest(under_test: EngramUnderTest) -> None:
    """Let a key have three entries; write to it, and delete it, until none is left."""
    async with opened(under_test) as client:
        for id in ("e", "f", "g"):
            await client.write("append", {"id": id}, "k")
        need_receipt(client, await client.write("upsert", {"n": 1}, "k"), "upsert", "g", 2)
        need_receipt(client, await client.write("merge", {"m": 1}, "k"), "merge", "g", 3)
        need_receipt(client, await client.write("delete", {}, "k"), "delete", "g", None)
        need_receipt(client, await client.write("merge", {"id": "f"}, "k"), "merge", "f", 2)
        await client.refused("ENGRAM_CONFLICT", "upsert", {"id": "e"}, "k")
        for gone in ("f", "e", None):
            need_receipt(client, await client.write("delete", {}, "k"), "delete", gone, None)


@REQUIREMENTS.proves("engram:conflict")
async def check_conflict(under_test: EngramUnderTest) -> None:
    """Give an id and a key that do not belong together."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await client.write("add", {"id": "f"}, "l")
        await client.write("add", {"id": "g"})
        before = await client.everything()
        for op, id, key in (
            ("upsert", "f", "k"),
            ("upsert", "new", "k"),
            ("merge", "f", "k"),
            ("merge", "new", "k"),
            ("delete", "f", "k"),
            ("delete", "f", "new"),
            ("delete", "g", "k"),
        ):
            await client.refused("ENGRAM_CONFLICT", op, {"id": id, "n": 1}, key)
        need(await client.everything() == before, "a write was refused, and something is written")


@REQUIREMENTS.proves("engram:merge-not-found")
async def check_merge_not_found(under_test: EngramUnderTest) -> None:
    """Merge under a key that has no entry, also with the id of one that is there."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        for entry in ({"n": 1}, {"id": "e"}, {"id": "new"}):
            await client.refused("ENGRAM_NOT_FOUND", "merge", entry, "l")
        need(await client.entries() == [{"id": "e"}], "a merge was refused, and something is written")


@REQUIREMENTS.proves("engram:merge-too-large")
async def check_merge_too_large(under_test: EngramUnderTest) -> None:
    """Merge to more than an entry may be; then to what it may."""
    async with opened(under_test) as client:
        entry: dict[str, Any] = {"id": "e", "tags": [f"t{n}" for n in range(MAX_TAGS)]}
        await client.write("add", entry, "k")
        before = await client.everything()
        half = "x" * (MAX_ENTRY // 2)
        await client.refused("ENGRAM_INVALID", "merge", {"tags": ["more"]}, "k")
        need(await client.everything() == before, "a merge to too many tags was refused, and is written")
        await client.write("merge", {"one": half}, "k")
        await client.refused("ENGRAM_INVALID", "merge", {"other": half}, "k")
        need(await client.entries() == [{**entry, "one": half}], "a merge was refused, and is written")
        need_receipt(client, await client.write("merge", {"n": 1}, "k"), "merge", "e", 3)
