"""Requirements on writes: operations, keys, repeated writes and stored entries."""

from __future__ import annotations

from typing import Any, Final

from cosmo_core.contracts.engram import MAX_ENTRY, MAX_NAME, MAX_TAGS, ImprintReceipt, Write, merged
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks.queries import need_ids
from cosmo_testing.engrams.client import (
    Client,
    Store,
    for_client,
    for_store,
    is_fresh,
    opened,
    parsed,
    together,
)
from cosmo_testing.engrams.subject import ROLLBACK, EngramUnderTest


@for_client("engram:receipts", "A receipt MUST name the Engram, the operation, the entry and its version.")
async def check_receipts(client: Client) -> None:
    """Write one entry with every operation, and check the receipts."""
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
    """Check the fields of a receipt.

    Raises:
        UnmetError: They differ.
    """
    expected = ImprintReceipt(client.engram.engram_id, op, id, version)
    need(receipt == expected, f"the receipt is {receipt}, and must be {expected}")


@for_client("engram:add", "`add` MUST create an entry that is found by its id and by its key.")
async def check_add(client: Client) -> None:
    """Add entries with and without an id and a key, and find each."""
    for id, key in (("e", "k"), ("f", None), (None, "l"), (None, None)):
        entry = {"id": id, "n": 1} if id else {"n": 1}
        receipt = await client.write("add", entry, key)
        need_receipt(client, receipt, "add", id or receipt.id, 1)
        need(await client.ids(id=receipt.id) == [receipt.id], f"{receipt.id!r} is not found by its id")
        if key is not None:
            of_key = await client.ids(merge_key=key)
            need(of_key == [receipt.id], f"{receipt.id!r} has the key {key!r}, which has {of_key}")
    need(
        len(await client.everything()) == 4,
        f"4 entries were added, and the store has {await client.everything()}",
    )


@for_client("engram:add-exists", "`add` MUST fail with ENGRAM_EXISTS if its id or its key exists.")
async def check_add_exists(client: Client) -> None:
    """Add an existing entry: by its id, by its key, by both, and by those of two entries."""
    await client.write("add", {"id": "e"}, "k")
    await client.write("add", {"id": "f"}, "l")
    before = await client.everything()
    for id, key in (("e", None), ("e", "new"), ("new", "k"), (None, "k"), ("e", "k"), ("e", "l")):
        entry = {"id": id, "text": "again"} if id else {"text": "again"}
        await client.refused("ENGRAM_EXISTS", "add", entry, key)
    need(await client.everything() == before, "a refused add wrote something")


@for_client("engram:fresh-id", "An entry without an id MUST get one: `eng_` and a ULID.")
async def check_fresh_id(client: Client) -> None:
    """Write entries without an id, and append one whose id exists."""
    await client.write("add", {"id": "e"})
    receipts = [await client.write("append", {"id": "e"}, "k")]
    receipts += [await client.write(op, {}, f"{op}{n}") for op in ("add", "append", "upsert") for n in "12"]
    ids = [receipt.id for receipt in receipts]
    need(all(map(is_fresh, ids)), f"a new id is eng_ and a ULID; the ids are {ids}")
    need(len({*ids}) == len(ids), f"two entries have one id: {ids}")
    need(await client.ids() == [*reversed(ids), "e"], f"the receipts have {ids}, and other ids are found")


@for_client("engram:append", "`append` MUST always create an entry, under a new id if its own id exists.")
async def check_append(client: Client) -> None:
    """Append entries with an existing id and an existing key."""
    await client.write("add", {"id": "e", "n": 0}, "k")
    other = await client.write("append", {"id": "f", "n": 1}, "k")
    need_receipt(client, other, "append", "f", 1)
    taken = await client.write("append", {"id": "e", "n": 2}, "k")
    need(taken.id != "e" and taken.version == 1, f"the id existed, and the receipt is {taken}")
    found = [(each["id"], each["n"]) for each in await client.entries(merge_key="k")]
    need(found == [("e", 2), ("f", 1), ("e", 0)], f"three of one key, newest first, are {found}")


@for_client(
    "engram:upsert",
    "`upsert` MUST add an entry, or replace the entry of its key, which keeps its id and its key.",
)
async def check_upsert(client: Client) -> None:
    """Upsert a missing and an existing key: the entry changes, its id and its key stay."""
    receipt = await client.write("upsert", {"id": "e", "old": 1, "tags": ["t"]}, "k")
    need_receipt(client, receipt, "upsert", "e", 1)
    await client.refused("ENGRAM_EXISTS", "upsert", {"id": "e"}, "new")
    await client.write("add", {"id": "f"}, "l")
    for version, entry in enumerate(({"new": 1, "tags": ["u"]}, {"id": "e", "new": 2, "tags": ["u"]}), 2):
        need_receipt(client, await client.write("upsert", entry, "k"), "upsert", "e", version)
        need(await client.entries(merge_key="k") == [entry], f"{entry} was upserted, and is missing")
        need(await client.ids() == ["e", "f"], "the entry that was written last does not come first")
    need(await client.ids(tags=["t"]) == [], "the tags are those of the replaced entry")
    need(await client.ids(tags=["u"]) == ["e"], "the tags are not those of the upserted entry")


@for_client("engram:merge", "`merge` MUST replace the entry of its key by the result of `merged`.")
async def check_merge(client: Client) -> None:
    """Merge twice, with nested objects, lists and tags."""
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
        need(found == entry, f"the entry became {found}, and the merge is {entry}")
    need(await client.ids(tags=["t", "u"]) == ["e"], "the tags are not those of the merge")


@for_client(
    "engram:delete",
    "`delete` MUST remove the entry of its id, or else the newest entry of its key, and no other entry.",
)
async def check_delete(client: Client) -> None:
    """Delete by id, by key, and by both; the other entries stay."""
    for id, key in (("e", "k"), ("f", "k"), ("g", "k"), ("h", None), ("i", "k")):
        await client.write("append", {"id": id}, key)
    left = ["i", "h", "g", "f", "e"]
    for entry, key, gone in (({"id": "f"}, None, "f"), ({}, "k", "i"), ({"id": "e"}, "k", "e")):
        receipt = await client.write("delete", entry, key)
        need_receipt(client, receipt, "delete", gone, None)
        left.remove(gone)
        need(await client.ids() == left, f"{gone!r} was deleted; {await client.ids()} are left, not {left}")


@for_client(
    "engram:delete-nothing",
    "`delete` of a missing entry MUST NOT be an error; its receipt has no id.",
)
async def check_delete_nothing(client: Client) -> None:
    """Delete missing entries."""
    await client.write("add", {"id": "e"}, "k")
    for entry, key in (({"id": "f"}, None), ({}, "l"), ({"id": "f"}, "k"), ({"id": "f"}, "l")):
        receipt = await client.write("delete", entry, key)
        need_receipt(client, receipt, "delete", None, None)
    need(await client.ids() == ["e"], "another entry is deleted")


@for_client("engram:again-after-delete", "A deleted entry MUST be writable again, from version 1.")
async def check_again_after_delete(client: Client) -> None:
    """Delete an entry, and write it again with every operation."""
    for op in ("add", "append", "upsert", "add"):
        need_receipt(client, await client.write(op, {"id": "e", "op": op}, "k"), op, "e", 1)
        found = await client.entries(merge_key="k")
        need(found == [{"id": "e", "op": op}], f"after {op} of a deleted entry the store has {found}")
        await client.write("delete", {"id": "e"})


@for_client("engram:newest", "A key with several entries MUST refer to the entry that was written last.")
async def check_newest(client: Client) -> None:
    """Make three entries of one key; write to the key, and delete it until no entry is left."""
    for id in ("e", "f", "g"):
        await client.write("append", {"id": id}, "k")
    need_receipt(client, await client.write("upsert", {"n": 1}, "k"), "upsert", "g", 2)
    need_receipt(client, await client.write("merge", {"m": 1}, "k"), "merge", "g", 3)
    need_receipt(client, await client.write("delete", {}, "k"), "delete", "g", None)
    need_receipt(client, await client.write("merge", {"id": "f"}, "k"), "merge", "f", 2)
    await client.refused("ENGRAM_CONFLICT", "upsert", {"id": "e"}, "k")
    for gone in ("f", "e", None):
        need_receipt(client, await client.write("delete", {}, "k"), "delete", gone, None)


@for_client("engram:conflict", "An id and a key of different entries MUST fail with ENGRAM_CONFLICT.")
async def check_conflict(client: Client) -> None:
    """Write with an id and a key of different entries."""
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
    need(await client.everything() == before, "a refused write wrote something")


@for_client("engram:merge-not-found", "`merge` MUST fail with ENGRAM_NOT_FOUND if its key has no entry.")
async def check_merge_not_found(client: Client) -> None:
    """Merge under a key without an entry, also with the id of an existing one."""
    await client.write("add", {"id": "e"}, "k")
    for entry in ({"n": 1}, {"id": "e"}, {"id": "new"}):
        await client.refused("ENGRAM_NOT_FOUND", "merge", entry, "l")
    need(await client.entries() == [{"id": "e"}], "a refused merge wrote something")


@for_client(
    "engram:merge-too-large",
    "`merge` MUST fail with ENGRAM_INVALID if the result is larger than an entry may be.",
)
async def check_merge_too_large(client: Client) -> None:
    """Merge to more than the size limit; then to less."""
    entry: dict[str, Any] = {"id": "e", "tags": [f"t{n}" for n in range(MAX_TAGS)]}
    await client.write("add", entry, "k")
    before = await client.everything()
    half = "x" * (MAX_ENTRY // 2)
    await client.refused("ENGRAM_INVALID", "merge", {"tags": ["more"]}, "k")
    need(await client.everything() == before, "a refused merge to too many tags was written")
    await client.write("merge", {"one": half}, "k")
    await client.refused("ENGRAM_INVALID", "merge", {"other": half}, "k")
    need(await client.entries() == [{**entry, "one": half}], "a refused merge was written")
    need_receipt(client, await client.write("merge", {"n": 1}, "k"), "merge", "e", 3)


TIMES: Final = 1000
"""The number of concurrent repetitions of one write."""
WINDOW: Final = 16
"""The number of writes that the Engram must remember."""
MOST_WRITES: Final = 500
"""The largest number of writes in the check."""


@for_client("engram:once", "A repeated write MUST return the first receipt, and MUST NOT write again.")
async def check_once(client: Client) -> None:
    """Repeat every kind of write: unchanged, with other content, and after its entry is deleted."""
    receipts = []
    for op in ("add", "append", "upsert", "merge", "delete", "delete"):
        first = await client.write(op, {"list": [op]}, "k", imprint_id=f"{op}-1")
        before = await client.everything()
        same = await client.write(op, {"list": [op]}, "k", imprint_id=f"{op}-1")
        other = await client.write("upsert", {"id": "other", "n": 1}, "other", imprint_id=f"{op}-1")
        need(first == same == other, f"{op} had the receipt {first}, repeated {same}, then {other}")
        need(await client.everything() == before, f"the repeated {op} wrote something")
        receipts.append(first)
    for receipt in receipts:
        again = await client.write(receipt.op, {}, "k", imprint_id=f"{receipt.op}-1")
        need(again == receipt, f"{receipt} was repeated as {again} after its entry was deleted")
    need(await client.entries() == [{"list": ["add"]}], f"at the end the store has {await client.entries()}")


@for_client("engram:once-failed", "A failed write MUST NOT be remembered, so that it can be repeated.")
async def check_once_failed(client: Client) -> None:
    """Let writes fail; then remove the cause, and repeat them."""
    await client.write("add", {"id": "e"}, "k")
    await client.refused("ENGRAM_EXISTS", "add", {"id": "e"}, imprint_id="add")
    await client.refused("ENGRAM_CONFLICT", "upsert", {"id": "f"}, "k", imprint_id="upsert")
    await client.refused("ENGRAM_NOT_FOUND", "merge", {"n": 1}, "l", imprint_id="merge")
    await client.write("delete", {"id": "e"})
    await client.write("add", {"id": "e"}, imprint_id="add")
    await client.write("upsert", {"id": "f"}, "k", imprint_id="upsert")
    await client.write("add", {"id": "g"}, "l")
    await client.write("merge", {"n": 1}, "l", imprint_id="merge")
    need(await client.ids() == ["g", "f", "e"], "repeated writes that had failed are not written")


@for_client(
    "engram:once-concurrent",
    "A write that is repeated a thousand times concurrently MUST be written once.",
)
async def check_once_concurrent(client: Client) -> None:
    """Repeat one write of each kind a thousand times concurrently."""
    for op in ("upsert", "merge", "append", "delete"):
        write = parsed(op, {"list": [op]}, "k", imprint_id=op)
        receipts = {*await together(client.imprint(write) for _ in range(TIMES))}
        need(len(receipts) == 1, f"{op} was repeated {TIMES} times, and has {len(receipts)} receipts")
    entries = await client.entries()
    need(entries == [{"list": ["upsert", "merge"]}], f"four writes, each once, left {entries}")


@for_store(
    "engram:once-window",
    "The latest `keeps_writes` writes MUST be remembered and undoable, however many came before.",
)
async def check_once_window(store: Store) -> None:
    """Write three windows; after each write, repeat the oldest that must be remembered; undo some."""
    client = await store.open(keeps_writes=WINDOW)
    window = client.engram.guarantees.keeps_writes
    receipts: list[Any] = []
    for n in range(min(3 * window, MOST_WRITES)):
        receipts.append(await client.write("upsert", {"n": n}, f"k{n % 3}", imprint_id=f"w{n}"))
        oldest = max(0, n + 1 - window)
        again = await client.write("upsert", {"again": 1}, f"k{oldest % 3}", imprint_id=f"w{oldest}")
        need(
            again == receipts[oldest],
            f"of {n + 1} writes the latest {window} must be remembered, and the {oldest + 1}th was not",
        )
    entries = await client.entries()
    need(all("n" in entry for entry in entries), f"a repeated write that is remembered left {entries}")
    if client.engram.guarantees.rollback:
        for n in range(WINDOW):
            await client.write("add", {"tags": ["t"]}, trace="trace" if n < WINDOW // 2 else None)
        undone = await client.roll_back("trace")
        need(undone == WINDOW // 2, f"of {WINDOW // 2} remembered writes {undone} were undone")


@for_client(
    "engram:rollback-once",
    "An undone write MUST be remembered: repeating it MUST NOT write it.",
    when=[ROLLBACK],
)
async def check_rollback_once(client: Client) -> None:
    """Undo writes; then repeat them, without and with another trace."""
    added = await client.write("add", {"id": "e"}, "k", imprint_id="1", trace="one")
    need(await client.roll_back("one") == 1, "one write must be undone")
    for trace in ("one", "two", None):
        again = await client.write("add", {"id": "e"}, "k", imprint_id="1", trace=trace)
        need(again == added, f"{added} was undone and repeated as {again}")
    need(await client.ids() == [], "a repeated write that was undone is written")
    await client.write("add", {"id": "f"}, imprint_id="2")
    await client.write("add", {"id": "f"}, imprint_id="2", trace="two")
    need(await client.roll_back("two") == 0, "a repeated write is undone with another trace")
    need(await client.ids() == ["f"], "a write repeated on a trace was undone with it")


DEPTH: Final = 200
"""The nesting depth of an entry that must come back."""

_ODD: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"": {"": [[], {}, ""]}},
    {"b": 1, "a": 2, "B": 3, " a": 4, "a ": 5},
    {"text": "\x00 \x1f \x7f \u2028 \ufffe \uffff \U0010ffff", "\x00": "\\u0000"},
    {
        "text": "e\u0301 \u00e9 \U0001f9e0\u200d\U0001f525 \u202eabc",
        "\U0001f9e0": "'; DROP TABLE entries; --",
    },
    {"numbers": [0, -0.0, 1.0, 1, 1e22, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 2**63, 2**64 - 1, 10**40]},
    {"values": [True, False, None, "true", "null", "1"], "$ref": "%s", "__proto__": {}},
    {"keys": {f"key{n}": n for n in range(5000)}},
    {"merge_key": "k", "version": 7, "written": 1, "embeddings": [1.0]},
)

_NAMES: Final = (
    *("a", "A", "aa", " a", "a ", "\u00e1", "a\u0301", "\uff41", "\u00df", "ss", "1", "01", "1.0", "null"),
    *("%", "_", "*", "?", "a'b", 'a"b', "a\\b", "a\\\\b", "a,b", "{a,b}", "$1", "a.b", "a/b", "\U0001f9e0"),
)


async def _need_back(client: Client, write: Write) -> None:
    """Write, and check that the same bytes come back."""
    await client.imprint(write)
    (found,) = (await client.find(merge_key=write.merge_key)).found
    need(found.document == write.document, f"{write.document[:200]!r} came back as {found.document[:200]!r}")


@requirement("engram:document", "An entry MUST come back byte for byte, whatever JSON it is.")
async def check_document(under_test: EngramUnderTest) -> None:
    """Write generated and unusual JSON, and read it back."""
    from cosmo_testing.conformance.properties import try_each
    from cosmo_testing.strategies import json_objects

    async with opened(under_test) as client:

        async def try_one(entry: dict[str, Any]) -> None:
            try:
                write = parsed("upsert", entry, "k")
            except EngramError:
                return  # not a valid write
            await _need_back(client, write)

        deep: dict[str, Any] = {}
        for _ in range(DEPTH):
            deep = {"in": [deep]}
        for entry in (*_ODD, deep):
            await _need_back(client, parsed("upsert", entry, "k"))
        # The entry has an id now, which the content must not change.
        values = json_objects().map(lambda entry: {k: v for k, v in entry.items() if k != "id"})
        await try_each(values, try_one, at_least=under_test.cases)


@for_client("engram:document-largest", "The largest entry MUST come back.")
async def check_document_largest(client: Client) -> None:
    """Write the largest entries: one long word, words of many bytes, and very many words."""
    for filling in ("x", "\u8a18", "\U0001f9e0 word "):
        room = MAX_ENTRY - len(parsed("add", {"text": ""}).document)
        times, rest = divmod(room, len(filling.encode()))
        write = parsed("upsert", {"text": filling * times + "." * rest}, "k")
        need(len(write.document) == MAX_ENTRY, f"the check made {len(write.document)} bytes")
        await _need_back(client, write)


@for_client(
    "engram:document-own",
    "An Engram MUST store a copy: a later change by the writer MUST NOT change the entry.",
)
async def check_document_own(client: Client) -> None:
    """Change an object after it was written; then merge into its entry, and search for its words."""
    entry: dict[str, Any] = {"id": "e", "text": "bus", "list": [1], "tags": ["t"]}
    write = parsed("add", entry, "k")
    await client.imprint(write)
    for each in (entry, write.entry):
        each["list"].append(2)
        each["tags"].append("u")
        each["text"] = "train"
    written = {"id": "e", "text": "bus", "list": [1], "tags": ["t"]}
    need(await client.entries() == [written], "a later change by the writer changed the store")
    await client.write("merge", {"n": 1}, "k")
    need(
        await client.entries() == [{**written, "n": 1}],
        f"a later change by the writer was merged: {await client.entries()}",
    )


@for_client(
    "engram:names-longest",
    "Ids, keys and tags of the greatest length and any characters MUST distinguish entries.",
)
async def check_names_longest(client: Client) -> None:
    """Use the longest names, which differ only in their last character, and the most tags."""
    names = ["\U0001f9e0" * (MAX_NAME - 1) + end for end in "ab"]
    for name in names:
        entry = {"id": name, "tags": [name]}
        await client.write("add", entry, name, imprint_id=name, trace=name)
        again = await client.write("add", entry, name, imprint_id=name)
        need(again.id == name, f"the longest write id is not remembered: {again}")
    for name in names:
        for query in ({"id": name}, {"merge_key": name}, {"tags": [name]}):
            await need_ids(client, [name], **query)
    tags = [f"{n:03}" + "\U0001f9e0" * (MAX_NAME - 3) for n in range(MAX_TAGS)]
    await client.write("upsert", {"tags": tags}, names[0])
    await need_ids(client, names[:1], tags=tags)
    await need_ids(client, names[:1], tags=tags[-1:])


@for_client("engram:names-exact", "Names MUST be equal only if all of their characters are equal.")
async def check_names_exact(client: Client) -> None:
    """Use similar names, and names with a meaning for a database, for everything that has a name."""
    for name in _NAMES:
        entry = {"id": name, "tags": [name]}
        receipt = await client.write("add", entry, name, imprint_id=name, trace=name)
        need(receipt.id == name, f"the entry {name!r} was written as {receipt}")
    for name in _NAMES:
        for query in ({"id": name}, {"merge_key": name}, {"tags": [name]}):
            await need_ids(client, [name], **query)
    if client.engram.guarantees.rollback:
        undone = await client.roll_back(_NAMES[0])
        need(undone == 1, f"the trace {_NAMES[0]!r} wrote once, and {undone} writes were undone")
