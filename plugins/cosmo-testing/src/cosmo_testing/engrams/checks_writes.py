"""What each operation writes, and what its receipt says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.engram import ImprintReceipt, merged
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import Client, is_fresh
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


@REQUIREMENTS.proves("engram:receipts")
async def check_receipts(under_test: EngramUnderTest) -> None:
    """Write one entry in every way, and read the receipts."""
    async with opened(under_test) as client:
        entry = {"id": "e", "text": "bus"}
        for op, id, version in (
            ("add", "e", 1),
            ("upsert", "e", 2),
            ("merge", "e", 3),
            ("upsert", "e", 4),
            ("delete", "e", None),
            ("append", "e", 1),
            ("delete", "e", None),
            ("delete", None, None),
            ("upsert", "e", 1),
        ):
            receipt = await client.write(op, entry, "k")
            need_receipt(client, receipt, op, id, version)


def need_receipt(
    client: Client, receipt: ImprintReceipt, op: str, id: str | None, version: int | None
) -> None:
    """Raise unless a receipt says this.

    Raises:
        UnmetError: It says something else.
    """
    expected = ImprintReceipt(client.engram.engram_id, op, id, version)
    need(receipt == expected, f"the receipt is {receipt}, and must be {expected}")


@REQUIREMENTS.proves("engram:add")
async def check_add(under_test: EngramUnderTest) -> None:
    """Add entries with and without an id and a key, and find each."""
    async with opened(under_test) as client:
        for id, key in (("e", "k"), ("f", None), (None, "l"), (None, None)):
            entry = {"id": id, "n": 1} if id else {"n": 1}
            receipt = await client.write("add", entry, key)
            need_receipt(client, receipt, "add", id or receipt.id, 1)
            need(await client.ids(id=receipt.id) == [receipt.id], f"{receipt.id!r} is not found by its id")
            if key is not None:
                of_key = await client.ids(merge_key=key)
                need(of_key == [receipt.id], f"{receipt.id!r} has the key {key!r}, which has {of_key}")
        need(len(await client.everything()) == 4, f"4 were added, there are {await client.everything()}")


@REQUIREMENTS.proves("engram:add-exists")
async def check_add_exists(under_test: EngramUnderTest) -> None:
    """Add what is there: by its id, by its key, by both, and by those of two entries."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await client.write("add", {"id": "f"}, "l")
        before = await client.everything()
        for id, key in (("e", None), ("e", "new"), ("new", "k"), (None, "k"), ("e", "k"), ("e", "l")):
            entry = {"id": id, "text": "again"} if id else {"text": "again"}
            await client.refused("ENGRAM_EXISTS", "add", entry, key)
        need(await client.everything() == before, "an add was refused, and something is written")


@REQUIREMENTS.proves("engram:fresh-id")
async def check_fresh_id(under_test: EngramUnderTest) -> None:
    """Write entries that ask for no id, or for one that is taken by an `append`."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"})
        receipts = [await client.write("append", {"id": "e"}, "k")]
        receipts += [
            await client.write(op, {}, f"{op}{n}") for op in ("add", "append", "upsert") for n in "12"
        ]
        ids = [receipt.id for receipt in receipts]
        need(all(map(is_fresh, ids)), f"a fresh id is eng_ and a ULID; the ids given are {ids}")
        need(len({*ids}) == len(ids), f"two entries have one id: {ids}")
        need(await client.ids() == [*reversed(ids), "e"], f"{ids} were given, and other ids are found")


@REQUIREMENTS.proves("engram:append")
async def check_append(under_test: EngramUnderTest) -> None:
    """Append to what is there, by id and by key."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e", "n": 0}, "k")
        other = await client.write("append", {"id": "f", "n": 1}, "k")
        need_receipt(client, other, "append", "f", 1)
        taken = await client.write("append", {"id": "e", "n": 2}, "k")
        need(taken.id != "e" and taken.version == 1, f"its id was taken, and its receipt is {taken}")
        found = [(each["id"], each["n"]) for each in await client.entries(merge_key="k")]
        need(found == [("e", 2), ("f", 1), ("e", 0)], f"three of one key, newest first, are {found}")


@REQUIREMENTS.proves("engram:upsert")
async def check_upsert(under_test: EngramUnderTest) -> None:
    """Upsert what is not there, and what is: the entry is another one, its id and its key are the same."""
    async with opened(under_test) as client:
        receipt = await client.write("upsert", {"id": "e", "old": 1, "tags": ["t"]}, "k")
        need_receipt(client, receipt, "upsert", "e", 1)
        await client.refused("ENGRAM_EXISTS", "upsert", {"id": "e"}, "new")
        await client.write("add", {"id": "f"}, "l")
        for version, entry in enumerate(({"new": 1, "tags": ["u"]}, {"id": "e", "new": 2, "tags": ["u"]}), 2):
            need_receipt(client, await client.write("upsert", entry, "k"), "upsert", "e", version)
            need(await client.entries(merge_key="k") == [entry], f"{entry} was upserted, and is not there")
            need(await client.ids() == ["e", "f"], "what was written last does not come first")
        need(await client.ids(tags=["t"]) == [], "the tags are still those of what was replaced")
        need(await client.ids(tags=["u"]) == ["e"], "the tags are not those of what was upserted")


@REQUIREMENTS.proves("engram:merge")
async def check_merge(under_test: EngramUnderTest) -> None:
    """Merge twice, with objects in objects, lists and tags."""
    async with opened(under_test) as client:
        entry: dict[str, Any] = {
            "id": "e",
            "tags": ["t"],
            "a": {"x": 1, "y": {"z": 1}},
            "list": [1, 1.5],
            "s": "o",
        }
        await client.write("add", entry, "k")
        changes: list[dict[str, Any]] = [
            {"a": {"y": {"w": 2}, "x": None}, "list": [1, True, {"in": [1]}], "tags": ["u", "t"]},
            {"id": "e", "s": ["n"], "list": [{"in": [1]}, {"in": [2]}], "a": {"": ""}},
        ]
        for version, change in enumerate(changes, 2):
            entry = merged(entry, change)
            need_receipt(client, await client.write("merge", change, "k"), "merge", "e", version)
            (found,) = await client.entries(id="e")
            need(found == entry, f"it became {found}, and merged it is {entry}")
        need(await client.ids(tags=["t", "u"]) == ["e"], "the tags are not those of what was merged")


@REQUIREMENTS.proves("engram:delete")
async def check_delete(under_test: EngramUnderTest) -> None:
    """Delete by id, by key, and by both; the others stay."""
    async with opened(under_test) as client:
        for id, key in (("e", "k"), ("f", "k"), ("g", "k"), ("h", None), ("i", "k")):
            await client.write("append", {"id": id}, key)
        left = ["i", "h", "g", "f", "e"]
        for entry, key, gone in (({"id": "f"}, None, "f"), ({}, "k", "i"), ({"id": "e"}, "k", "e")):
            receipt = await client.write("delete", entry, key)
            need_receipt(client, receipt, "delete", gone, None)
            left.remove(gone)
            need(
                await client.ids() == left, f"{gone!r} was deleted; {await client.ids()} are left, not {left}"
            )


@REQUIREMENTS.proves("engram:delete-nothing")
async def check_delete_nothing(under_test: EngramUnderTest) -> None:
    """Delete what is not there."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        for entry, key in (({"id": "f"}, None), ({}, "l"), ({"id": "f"}, "k"), ({"id": "f"}, "l")):
            receipt = await client.write("delete", entry, key)
            need_receipt(client, receipt, "delete", None, None)
        need(await client.ids() == ["e"], "what was not meant is deleted")


@REQUIREMENTS.proves("engram:again-after-delete")
async def check_again_after_delete(under_test: EngramUnderTest) -> None:
    """Delete an entry, and write it again in every way."""
    async with opened(under_test) as client:
        for op in ("add", "append", "upsert", "add"):
            need_receipt(client, await client.write(op, {"id": "e", "op": op}, "k"), op, "e", 1)
            found = await client.entries(merge_key="k")
            need(found == [{"id": "e", "op": op}], f"after {op} of what was deleted there is {found}")
            await client.write("delete", {"id": "e"})
