"""Words of every script, of any length and number."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.engram import MAX_INDEXED_BYTES, MAX_WORD, words_in
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.client import together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest

BLOCK: Final = 256
"""How many characters an entry has."""
QUERIED: Final = 1000
"""How many words a query has that must be answered."""
EDGE: Final = "q"
"""What stands around a letter, to see whether the letter holds it together."""

# Of these, which are very many, one block in eight.
_VAST: Final = ((0x3400, 0xA000), (0xAC00, 0xD7A4), (0x20000, 0x32400))
_LAST: Final = 0x32400


@cache
def _blocks() -> list[str]:
    """Return all letters, by blocks: each alone, and between two others, where that is one word."""
    blocks = []
    for number, start in enumerate(range(0, _LAST, BLOCK)):
        if number % 8 and any(low <= start < high for low, high in _VAST):
            continue
        letters = [chr(code) for code in range(start, start + BLOCK) if not 0xD800 <= code < 0xE000]
        letters = [letter for letter in letters if words_in(letter)]
        between = [EDGE + letter + EDGE for letter in letters]
        if letters:
            blocks.append(" ".join([*letters, *(word for word in between if len(words_in(word)) == 1)]))
    return blocks


@REQUIREMENTS.proves("engram:text-letters")
async def check_text_letters(under_test: EngramUnderTest) -> None:
    """Look for all letters there are; and see that each holds a word together."""
    blocks = {f"b{n}": text for n, text in enumerate(_blocks())}
    async with opened(under_test) as client:
        await together(client.write("add", {"id": id, "text": text}) for id, text in blocks.items())

        async def look(id: str, text: str) -> None:
            need(
                id in await client.ids(text=text), f"these words do not find the entry that has them: {text}"
            )

        await together(look(id, text) for id, text in blocks.items())
        split = [blocks[id] for id in await client.ids(text=EDGE) if EDGE not in words_in(blocks[id])]
        need(not split, f"{EDGE!r} is none of these words, and finds them: {split}")


@REQUIREMENTS.proves("engram:text-any")
async def check_text_any(under_test: EngramUnderTest) -> None:
    """Write any text there is, and look for each word that it has, and for what is nearly one."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.arbitrary import try_each

    async with opened(under_test) as client:

        async def try_one(text: str) -> None:
            await client.write("upsert", {"text": text}, "k")
            words = dict.fromkeys(words_in(text))
            for word in words:
                await _need_found(word, True)
                await _need_found(word[:-1], word[:-1] in words)
                await _need_found(word + EDGE, (word + EDGE)[:MAX_WORD] in words)

        async def _need_found(word: str, expected: bool) -> None:
            if words_in(word) == [word[:MAX_WORD]]:
                found = bool(await client.ids(text=word))
                need(found == expected, f"{word!r} {'finds' if found else 'does not find'} the entry")

        letters = st.text(st.characters(categories=["L", "N", "M", "Zs"]), max_size=12)
        await try_each(letters | st.text(max_size=12), try_one, at_least=under_test.cases)


@REQUIREMENTS.proves("engram:text-largest")
async def check_text_largest(under_test: EngramUnderTest) -> None:
    """Write an entry with more words than it can be found by; look for the first and the last of them."""
    # Each different, as that takes the most room.
    words = [f"{n:05x}" for n in range(MAX_INDEXED_BYTES // 6)]
    async with opened(under_test) as client:
        await client.write("add", {"id": "e", "a": " ".join(words), "b": "beyond"})
        await need_ids(client, ["e"], text=f"{words[0]} {words[len(words) // 2]} {words[-1]}")
        await need_ids(client, [], text="beyond")


@REQUIREMENTS.proves("engram:text-many")
async def check_text_many(under_test: EngramUnderTest) -> None:
    """Look for a thousand words at once, of which an entry has all, or one; and for one long word."""
    words = [f"w{n}" for n in range(QUERIED)]
    long = "long" * MAX_WORD
    async with opened(under_test) as client:
        await client.put({"id": "all", "text": " ".join(words)}, {"id": "one", "text": words[-1]})
        await client.put({"id": "long", "text": long})
        await need_ids(client, ["all"], text=" ".join(reversed(words)))
        found = {*await client.ids(text=" ".join(words), match="any")}
        need(found == {"all", "one"}, f"any of {QUERIED} words found {sorted(found)}")
        for text in (long, long[:MAX_WORD], long + "er"):
            await need_ids(client, ["long"], text=text)
        await need_ids(client, [], text=long[: MAX_WORD - 1])
