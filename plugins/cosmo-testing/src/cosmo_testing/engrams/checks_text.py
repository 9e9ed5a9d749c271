"""What is found by the words in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest


@REQUIREMENTS.proves("engram:text-words")
async def check_text_words(under_test: EngramUnderTest) -> None:
    """Look for every text of an entry, at whatever depth, and for what is no text of it."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:text-plain")
async def check_text_plain(under_test: EngramUnderTest) -> None:
    """Look for words as a stemmer, a list of stop words or a parser of addresses would not have them."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:text-folded")
async def check_text_folded(under_test: EngramUnderTest) -> None:
    """Look for words in another case, without their accents, and in compatible forms."""
    async with opened(under_test) as client:
        for written, wanted in (
            ("CAFÉ Zürich", "cafe ZURICH"),
            ("cafe zurich", "Cafe\u0301 Zu\u0308rich"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος οδοσ"),
            ("\uff37\uff29\uff24\uff25 \ufb01ne", "wide fine"),
            ("İstanbul", "istanbul"),
            ("Ǆep", "džep"),
        ):
            receipt = await client.write("upsert", {"text": written}, "k")
            await need_ids(client, [str(receipt.id)], text=wanted)


@REQUIREMENTS.proves("engram:text-match")
async def check_text_match(under_test: EngramUnderTest) -> None:
    """Look for all of several words, and for any of them."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:text-nothing")
async def check_text_nothing(under_test: EngramUnderTest) -> None:
    """Look for a text without words, in a store with and without texts."""
    async with opened(under_test) as client:
        await client.put({"id": "e", "text": ""}, {"id": "f", "text": "... !"}, {"id": "g", "text": "bus"})
        for text in ("", " ", "...", "!?", "\u0000", "%", "*"):
            for match in ("all", "any"):
                await need_ids(client, [], text=text, match=match)
        await need_ids(client, [], text="", id="g")


@REQUIREMENTS.proves("engram:text-operators")
async def check_text_operators(under_test: EngramUnderTest) -> None:
    """Look for what means something to a database: it is words like any other."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:text-rank")
async def check_text_rank(under_test: EngramUnderTest) -> None:
    """Look for a word in an entry that is all about it, and in a later one that has it once."""
    async with opened(under_test) as client:
        await client.put(*({"text": f"nothing of that kind {n}"} for n in range(10)))
        await client.put(
            {"id": "dense", "text": "tram tram tram tram tram"},
            {"id": "both", "text": "ferry canal"},
            {"id": "one", "text": "ferry bridge"},
            {"id": "diluted", "text": " ".join(["tram", *(f"word{n}" for n in range(200))])},
        )
        await need_ids(client, ["dense", "diluted"], text="tram")
        await need_ids(client, ["both", "one"], text="ferry canal", match="any")


@REQUIREMENTS.proves("engram:text-score")
async def check_text_score(under_test: EngramUnderTest) -> None:
    """Look at the scores of what has a word, and at the order of those that have it alike."""
    async with opened(under_test) as client:
        await client.put({"id": "e", "text": "bus"}, {"id": "f", "text": "BUS"}, {"id": "g", "text": "Bus!"})
        await client.put({"id": "h", "text": "bus bus train"}, {"id": "i", "text": "plane"})
        found = (await client.find(text="bus")).found
        for each in found:
            need(0 <= each.score <= 1, f"{each.id!r} has the score {each.score}; words score from 0 to 1")
        alike = [each.id for each in found if each.id != "h"]
        need(alike == ["g", "f", "e"], f"of equals the newest comes first; they come as {alike}")


@REQUIREMENTS.proves("engram:text-updated")
async def check_text_updated(under_test: EngramUnderTest) -> None:
    """Change the text of an entry in every way, and look for the words that it has and had."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:text-combined")
async def check_text_combined(under_test: EngramUnderTest) -> None:
    """Look for words among the entries of a key, of tags and of an id, and for the first of many."""
    async with opened(under_test) as client:
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
