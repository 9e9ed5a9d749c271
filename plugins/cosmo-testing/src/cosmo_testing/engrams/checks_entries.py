"""An entry comes back as it was written, whatever is in it and however it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import MAX_ENTRY, MAX_NAME, MAX_TAGS, Write
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.client import Client, parsed
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest

DEPTH: Final = 200
"""How deep an entry is nested that must come back."""

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
    """Write, and raise unless the very same bytes come back."""
    await client.imprint(write)
    (found,) = (await client.find(merge_key=write.merge_key)).found
    need(found.document == write.document, f"{write.document[:200]!r} came back as {found.document[:200]!r}")


@REQUIREMENTS.proves("engram:document")
async def check_document(under_test: EngramUnderTest) -> None:
    """Write any JSON there is, above all what is odd, and get it back."""
    from cosmo_testing.conformance.arbitrary import try_each
    from cosmo_testing.strategies import json_objects

    async with opened(under_test) as client:

        async def try_one(entry: dict[str, Any]) -> None:
            try:
                write = parsed("upsert", entry, "k")
            except EngramError:
                return  # nobody could write that
            await _need_back(client, write)

        deep: dict[str, Any] = {}
        for _ in range(DEPTH):
            deep = {"in": [deep]}
        for entry in (*_ODD, deep):
            await _need_back(client, parsed("upsert", entry, "k"))
        # It has an id by now, which none of these may change.
        values = json_objects().map(lambda entry: {k: v for k, v in entry.items() if k != "id"})
        await try_each(values, try_one, at_least=under_test.cases)


@REQUIREMENTS.proves("engram:document-largest")
async def check_document_largest(under_test: EngramUnderTest) -> None:
    """Write the largest entries: one long word, words of many bytes, and a great many of them."""
    async with opened(under_test) as client:
        for filling in ("x", "\u8a18", "\U0001f9e0 word "):
            room = MAX_ENTRY - len(parsed("add", {"text": ""}).document)
            times, rest = divmod(room, len(filling.encode()))
            write = parsed("upsert", {"text": filling * times + "." * rest}, "k")
            need(len(write.document) == MAX_ENTRY, f"the check made {len(write.document)} bytes")
            await _need_back(client, write)


@REQUIREMENTS.proves("engram:document-own")
async def check_document_own(under_test: EngramUnderTest) -> None:
    """Change an entry after it was written; then let it be merged, and look for its words."""
    async with opened(under_test) as client:
        entry: dict[str, Any] = {"id": "e", "text": "bus", "list": [1], "tags": ["t"]}
        write = parsed("add", entry, "k")
        await client.imprint(write)
        for each in (entry, write.entry):
            each["list"].append(2)
            each["tags"].append("u")
            each["text"] = "train"
        written = {"id": "e", "text": "bus", "list": [1], "tags": ["t"]}
        need(await client.entries() == [written], "what its writer changed later is changed in the store")
        await client.write("merge", {"n": 1}, "k")
        need(
            await client.entries() == [{**written, "n": 1}],
            f"what its writer changed later was merged: {await client.entries()}",
        )


@REQUIREMENTS.proves("engram:names-longest")
async def check_names_longest(under_test: EngramUnderTest) -> None:
    """Use the longest names, which differ in their last character alone; and as many tags as there may be."""
    names = ["\U0001f9e0" * (MAX_NAME - 1) + end for end in "ab"]
    async with opened(under_test) as client:
        for name in names:
            entry = {"id": name, "tags": [name]}
            await client.write("add", entry, name, imprint_id=name, trace=name)
            again = await client.write("add", entry, name, imprint_id=name)
            need(again.id == name, f"the longest id of a write is not known again: {again}")
        for name in names:
            for query in ({"id": name}, {"merge_key": name}, {"tags": [name]}):
                await need_ids(client, [name], **query)
        tags = [f"{n:03}" + "\U0001f9e0" * (MAX_NAME - 3) for n in range(MAX_TAGS)]
        await client.write("upsert", {"tags": tags}, names[0])
        await need_ids(client, names[:1], tags=tags)
        await need_ids(client, names[:1], tags=tags[-1:])


@REQUIREMENTS.proves("engram:names-exact")
async def check_names_exact(under_test: EngramUnderTest) -> None:
    """Use names that are nearly alike, or mean something to a database, for all that has a name."""
    async with opened(under_test) as client:
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
