"""Requirements on queries by words."""

from __future__ import annotations

from functools import cache
from typing import Final

from cosmo_core.contracts.engram import MAX_INDEXED_BYTES, MAX_WORD, words_in
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks.queries import need_ids
from cosmo_testing.engrams.client import Client, for_client, opened, together
from cosmo_testing.engrams.subject import TEXT, EngramUnderTest


@for_client(
    "engram:text-words",
    "A query by words MUST search the texts of an entry, not its id, its key or its JSON keys.",
    when=[TEXT],
)
async def check_text_words(client: Client) -> None:
    """Search for every text of an entry, at any depth, and for values that are not texts."""
    await client.write(
        "add",
        {
            "id": "identity",
            "title": "fast trains",
            "tags": ["vehicle"],
            "deep": {"list": [{"inside": "tunnel"}, ["nested", 42, True, None]]},
        },
        "mergekey",
    )
    for word in ("fast", "trains", "vehicle", "tunnel", "nested"):
        await need_ids(client, ["identity"], text=word)
    for word in ("identity", "title", "inside", "deep", "mergekey", "42", "true", "null", "absent"):
        await need_ids(client, [], text=word)


@for_client(
    "engram:text-plain",
    "Words MUST be those of `words_in`: none is omitted, stemmed or joined.",
    when=[TEXT],
)
async def check_text_plain(client: Client) -> None:
    """Search for words that a stemmer, a stop list or an address parser would change."""
    await client.put(
        {"id": "e", "text": "The runner was running, and a I"},
        {
            "id": "f",
            "text": "mail ann@example.org v3.14 snake_case x-ray don't /usr/lib http://a.b/c?d=e",
        },
    )
    for word in ("the", "was", "and", "a", "i", "running"):
        need("e" in await client.ids(text=word), f"{word!r} is in the text, and does not find it")
    for word in ("ann", "example", "org", "14", "snake", "case", "ray", "don", "t", "usr", "c"):
        await need_ids(client, ["f"], text=word)
    for word in ("run", "runn", "runs", "mails", "example.com", "1", "v", "xray", "dont"):
        await need_ids(client, [], text=word)


@for_client(
    "engram:text-folded",
    "Case, accents, vowel points, invisible characters and compatibility forms MUST NOT make a difference.",
    when=[TEXT],
)
async def check_text_folded(client: Client) -> None:
    """Search for words in another case, without accents and vowel marks, and in other compatible forms."""
    for written, wanted in (
        ("CAFÉ Zürich", "cafe ZURICH"),
        ("cafe zurich", "Cafe\u0301 Zu\u0308rich"),
        ("Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδος οδοσ"),
        ("\uff37\uff29\uff24\uff25 \ufb01ne", "wide fine"),
        ("İstanbul", "istanbul"),
        ("Ǆep", "džep"),
        ("Zusammen\u00adarbeit", "zusammenarbeit"),
        ("zusammenarbeit", "Zu\u00adsam\u00admen\u2060arbeit\ufeff"),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("\u0645\u0640\u062d\u0645\u062f", "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
    ):
        receipt = await client.write("upsert", {"text": written}, "k")
        await need_ids(client, [str(receipt.id)], text=wanted)


@for_client(
    "engram:text-match",
    "A query MUST find entries with all of its words, or with any of them, as it says.",
    when=[TEXT],
)
async def check_text_match(client: Client) -> None:
    """Search for all of several words, and for any of them."""
    await client.put(
        {"id": "e", "text": "red bus"},
        {"id": "f", "text": "red", "more": "train"},
        {"id": "g", "text": "blue train"},
    )
    await need_ids(client, ["e"], text="bus red")
    await need_ids(client, ["e"], text="red bus", match="all")
    await need_ids(client, ["f"], text="train red")
    await need_ids(client, [], text="red blue")
    for text, expected in (("red absent", {"e", "f"}), ("bus train", {"e", "f", "g"}), ("none", set())):
        found = {*await client.ids(text=text, match="any")}
        need(found == expected, f"any of {text!r} found {sorted(found)}, not {sorted(expected)}")


@for_client("engram:text-nothing", "A query text without words MUST find nothing.", when=[TEXT])
async def check_text_nothing(client: Client) -> None:
    """Search for a text without words, in a store with and without texts."""
    await client.put({"id": "e", "text": ""}, {"id": "f", "text": "... !"}, {"id": "g", "text": "bus"})
    for text in ("", " ", "...", "!?", "\u0000", "%", "*"):
        for match in ("all", "any"):
            await need_ids(client, [], text=text, match=match)
    await need_ids(client, [], text="", id="g")


@for_client(
    "engram:text-operators",
    "Query operators of a database MUST be treated as plain words.",
    when=[TEXT],
)
async def check_text_operators(client: Client) -> None:
    """Search for query operators of databases: they are plain words."""
    await client.put(
        {"id": "e", "text": "rock AND roll OR not NEAR text column"}, {"id": "f", "text": "rock"}
    )
    for text in (
        "rock AND roll",
        "rock OR roll",
        "NOT rock",
        "NEAR(rock roll)",
        'rock "roll"',
        'rock" OR "roll',
        "rock' or 'roll",
        "rock & roll",
        "rock <-> roll",
        "!rock | roll",
        "text : rock",
        "{text column}: rock",
        "- text",
        "^rock + roll",
        "roll:*",
        "\\roll",
        "roll\u0000",
        "$roll ?roll :roll @roll %roll",
        "';--roll",
    ):
        await need_ids(client, ["e"], text=text)
    await need_ids(client, [], text="rol*")
    await need_ids(client, [], text="rock NOT there")


@for_client(
    "engram:text-rank",
    "An entry about a word MUST rank above one that mentions it, and more matching words above fewer.",
    when=[TEXT],
)
async def check_text_rank(client: Client) -> None:
    """Search for a word that an earlier entry has often, and a later one once."""
    await client.put(*({"text": f"nothing of that kind {n}"} for n in range(10)))
    await client.put(
        {"id": "dense", "text": "tram tram tram tram tram"},
        {"id": "both", "text": "ferry canal"},
        {"id": "one", "text": "ferry bridge"},
        {"id": "diluted", "text": " ".join(["tram", *(f"word{n}" for n in range(200))])},
    )
    await need_ids(client, ["dense", "diluted"], text="tram")
    await need_ids(client, ["both", "one"], text="ferry canal", match="any")


@for_client(
    "engram:text-score",
    "Scores of words MUST be between 0 and 1; of equal scores, the newest entry comes first.",
    when=[TEXT],
)
async def check_text_score(client: Client) -> None:
    """Check the scores of a word, and the order of entries with equal scores."""
    await client.put({"id": "e", "text": "bus"}, {"id": "f", "text": "BUS"}, {"id": "g", "text": "Bus!"})
    await client.put({"id": "h", "text": "bus bus train"}, {"id": "i", "text": "plane"})
    found = (await client.find(text="bus")).found
    for each in found:
        need(0 <= each.score <= 1, f"{each.id!r} has the score {each.score}; words score from 0 to 1")
    alike = [each.id for each in found if each.id != "h"]
    need(alike == ["g", "f", "e"], f"of equals the newest comes first; they come as {alike}")


@for_client("engram:text-updated", "A query by words MUST use the current words of an entry.", when=[TEXT])
async def check_text_updated(client: Client) -> None:
    """Change the text of an entry in every way, and search for current and earlier words."""
    await client.write("add", {"id": "e", "text": "first"}, "k")
    await client.write("upsert", {"text": "second"}, "k")
    await need_ids(client, [], text="first")
    await need_ids(client, ["e"], text="second")
    await client.write("merge", {"more": "third"}, "k")
    await need_ids(client, ["e"], text="second third")
    await client.write("merge", {"text": "fourth"}, "k")
    await need_ids(client, [], text="second")
    await need_ids(client, ["e"], text="third fourth")
    await client.write("delete", {"id": "e"})
    await need_ids(client, [], text="third")
    await client.write("add", {"id": "e", "text": "first"})
    await need_ids(client, ["e"], text="first")
    await need_ids(client, [], text="fourth")


@for_client(
    "engram:text-combined",
    "Words MUST combine with the other conditions, and with the limit.",
    when=[TEXT],
)
async def check_text_combined(client: Client) -> None:
    """Search for words with a key, with tags, with an id, and with a limit."""
    for id, key, tag in (("e", "k", "t"), ("f", "k", "u"), ("g", "l", "t")):
        await client.write("append", {"id": id, "tags": [tag], "text": "bus stop"}, key)
    await need_ids(client, ["f", "e"], text="bus", merge_key="k")
    await need_ids(client, ["e"], text="stop", merge_key="k", tags=["t"])
    await need_ids(client, ["g"], text="bus", id="g")
    await need_ids(client, [], text="train", id="g")
    for limit in (1, 2, 3):
        findings = await client.find(text="bus", limit=limit)
        need(len(findings.found) == limit, f"of 3, limit {limit} brings {len(findings.found)}")
        need(
            findings.truncated == (limit < 3),
            f"of 3 entries, limit {limit} brings truncated={findings.truncated}",
        )


BLOCK: Final = 256
"""The number of characters in an entry."""
QUERIED: Final = 1000
"""The number of words that a query must accept."""
EDGE: Final = "q"
"""The text around a character, which shows whether the character splits a word."""

# There are very many of these: one block in eight.
_VAST: Final = ((0x3400, 0xA000), (0xAC00, 0xD7A4), (0x20000, 0x32400))
_LAST: Final = 0x32400


@cache
def _blocks() -> list[str]:
    """Return all word characters, by block: each alone, and between two others if that is one word."""
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


@for_client(
    "engram:text-scripts",
    "The characters of every script MUST form words, and MUST NOT split a word.",
    when=[TEXT],
)
async def check_text_scripts(client: Client) -> None:
    """Search for all word characters, and check that none splits a word."""
    blocks = {f"b{n}": text for n, text in enumerate(_blocks())}
    await together(client.write("add", {"id": id, "text": text}) for id, text in blocks.items())

    async def look(id: str, text: str) -> None:
        need(id in await client.ids(text=text), f"these words do not find the entry that has them: {text}")

    await together(look(id, text) for id, text in blocks.items())
    split = [blocks[id] for id in await client.ids(text=EDGE) if EDGE not in words_in(blocks[id])]
    need(not split, f"{EDGE!r} is not one of these words, and finds them: {split}")


@requirement(
    "engram:text-any",
    "Any text MUST be found by its words, and MUST NOT be found by parts of them.",
    when=[TEXT],
)
async def check_text_any(under_test: EngramUnderTest) -> None:
    """Write generated texts; search for each word, and for parts of it."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.properties import try_each

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


@for_client(
    "engram:text-largest",
    "An entry MUST be found by its first `MAX_INDEXED_BYTES` of words.",
    when=[TEXT],
)
async def check_text_largest(client: Client) -> None:
    """Write an entry with more words than are indexed; search for the first and the last indexed word."""
    # Different words, as they take the most space.
    words = [f"{n:05x}" for n in range(MAX_INDEXED_BYTES // 6)]
    await client.write("add", {"id": "e", "a": " ".join(words), "b": "beyond"})
    await need_ids(client, ["e"], text=f"{words[0]} {words[len(words) // 2]} {words[-1]}")
    await need_ids(client, [], text="beyond")


@for_client(
    "engram:text-many",
    "A query MUST accept a thousand words; of a long word, its beginning counts.",
    when=[TEXT],
)
async def check_text_many(client: Client) -> None:
    """Search for a thousand words, of which an entry has all or one, and for one long word."""
    words = [f"w{n}" for n in range(QUERIED)]
    long = "long" * MAX_WORD
    await client.put({"id": "all", "text": " ".join(words)}, {"id": "one", "text": words[-1]})
    await client.put({"id": "long", "text": long})
    await need_ids(client, ["all"], text=" ".join(reversed(words)))
    found = {*await client.ids(text=" ".join(words), match="any")}
    need(found == {"all", "one"}, f"any of {QUERIED} words found {sorted(found)}")
    for text in (long, long[:MAX_WORD], long + "er"):
        await need_ids(client, ["long"], text=text)
    await need_ids(client, [], text=long[: MAX_WORD - 1])
