"""What an Engram must do: every requirement of the kit, by its id."""

from __future__ import annotations

from typing import Final

from cosmo_testing.conformance.requirements import Requirements

_LIFE: Final = {
    "engram:shape": "It is an `Engram` whose id and kind are tokens, with `EngramGuarantees`.",
    "engram:connect-twice": "Connecting twice is not an error, and loses nothing.",
    "engram:close-twice": "Closing twice is not an error.",
    "engram:use-closed": "Whatever a closed Engram is asked ends in ENGRAM_UNAVAILABLE.",
    "engram:connect-again": "A closed Engram refuses to connect, or works again.",
    "engram:close-finishes": "What is being written when it closes is finished, or refused and not written.",
    "engram:close-leaves-nothing": "A closed Engram leaves no task, thread, socket or process behind.",
    "engram:errors": "What is refused is an EngramError that names the Engram, and tells of no entry.",
    "engram:secrets": "No secret is in its repr, nor in an error.",
}

_WRITES: Final = {
    "engram:receipts": "A receipt names the Engram, what was done, the entry and its version.",
    "engram:add": "An `add` makes an entry, which is found by its id and its key.",
    "engram:add-exists": "An `add` whose id or key is there fails with ENGRAM_EXISTS.",
    "engram:fresh-id": "An entry that has no id gets one: `eng_` and a ULID.",
    "engram:append": "An `append` makes an entry whatever is there, under a fresh id if its own is taken.",
    "engram:upsert": "An `upsert` adds, or replaces the entry of its key, which keeps its id and its key.",
    "engram:merge": "A `merge` makes of the entry of its key what `merged` makes of both.",
    "engram:merge-not-found": "A `merge` of a key without an entry fails with ENGRAM_NOT_FOUND.",
    "engram:merge-too-large": "A `merge` to what no entry may be fails with ENGRAM_INVALID.",
    "engram:delete": "A `delete` removes the entry of its id, or else the newest of its key, and no other.",
    "engram:delete-nothing": "A `delete` of what is not there is no error; its receipt has no id.",
    "engram:newest": "Where a key has several entries, the one that was written last is meant.",
    "engram:conflict": "An id and a key that do not belong together fail with ENGRAM_CONFLICT.",
    "engram:again-after-delete": "What was deleted can be written again, from version 1.",
}

_ONCE: Final = {
    "engram:once": "A write that comes again gets its receipt again, and nothing is written.",
    "engram:once-failed": "A write that failed is not remembered: it can come again.",
    "engram:once-concurrent": "A write that comes a thousand times at once is written once.",
    "engram:once-window": "The latest `keeps_writes` writes are known, and undone, however many came before.",
}

_ENTRIES: Final = {
    "engram:document": "An entry comes back byte for byte, whatever JSON it is.",
    "engram:document-largest": "The largest entry comes back.",
    "engram:document-own": "What is written is a copy: its writer can change its own afterwards.",
    "engram:names-longest": "The longest ids, keys and tags, of any characters, tell entries apart.",
    "engram:names-exact": "Names are the same only if each of their characters is.",
}

_QUERIES: Final = {
    "engram:recall-names": "An entry is found by its id, and all entries of a key by that.",
    "engram:recall-tags": "What has all of some tags is found by them, and nothing else.",
    "engram:recall-order": "Where nothing ranks, what was written last comes first, with the score 1.",
    "engram:recall-limit": "As many as asked for are found, the first of all; `truncated` tells of more.",
    "engram:recall-combined": "What is found fits every condition of a query.",
    "engram:recall-updated": "An entry is found by the tags it has, not by those it had.",
}

_TEXT: Final = {
    "engram:text-words": "An entry is found by the words in its texts, not by its id, key or keys.",
    "engram:text-plain": "Words are what `words_in` says: none is left out, shortened or kept together.",
    "engram:text-folded": "Case, accents and compatible forms make no difference.",
    "engram:text-letters": "Letters of every script make words, and hold a word together.",
    "engram:text-any": "Whatever a text is, its words find it, and parts of them do not.",
    "engram:text-largest": "An entry is found by its first `MAX_INDEXED_BYTES` of words.",
    "engram:text-many": "A query may have a thousand words; of a long word, its beginning counts.",
    "engram:text-match": "All of the words are found, or any of them, as the query says.",
    "engram:text-nothing": "A text without words finds nothing.",
    "engram:text-operators": "What means something to a database is words like any other.",
    "engram:text-rank": "What is about a word comes before what mentions it; more words before fewer.",
    "engram:text-score": "Scores of words are between 0 and 1; of equals, the newest comes first.",
    "engram:text-updated": "An entry is found by the words it has, not by those it had.",
    "engram:text-combined": "Words fit together with the other conditions, and with the limit.",
}

_VECTORS: Final = {
    "engram:vector-order": "What is most similar comes first; of equals, the newest.",
    "engram:vector-score": "The score is the cosine, in single precision, whatever the lengths are.",
    "engram:vector-dimensions": "An embedding is found by vectors of as many dimensions, up to the most.",
    "engram:vector-updated": "An entry is found by the embedding it has, which `merge` keeps.",
    "engram:vector-combined": "A vector fits together with the other conditions, and with the limit.",
    "engram:vector-words": "With words and a vector, the words are a condition; the vector makes the order.",
}

_UNDOING: Final = {
    "engram:rollback-restores": "What a trace wrote is undone: each entry is what it was, as it was found.",
    "engram:rollback-order": "An entry gets back its place in the order, whatever was written since.",
    "engram:rollback-many": "All that a trace wrote is undone, and counted.",
    "engram:rollback-others": "What others wrote stays.",
    "engram:rollback-again": "Undoing twice undoes nothing; what the trace wrote since is undone.",
    "engram:rollback-nothing": "A write that changed nothing is not undone, and does not count.",
    "engram:rollback-once": "A write that was undone is remembered: it is not written when it comes again.",
    "engram:rollback-overtaken": "What something else wrote since stands; what it overtook does not count.",
    "engram:rollback-chain": "Traces that wrote by turns are undone in any order, back to what was before.",
    "engram:rollback-between": "What one trace deleted and made again is undone like any write to it.",
    "engram:rollback-whole": "Who reads meanwhile sees all of what is undone, or nothing of it.",
    "engram:rollback-concurrent": "Traces that wrote at once are undone at once, each write one time.",
    "engram:rollback-cancelled": "A cancelled `roll_back`, or `commit`, did everything or nothing.",
    "engram:rollback-shared-key": "What comes back may share its key with what was written since.",
    "engram:commit-keeps": "What is committed is not undone; a commit keeps nothing of another trace.",
    "engram:commit-below": "What is committed stands when what overtook it, or was overtaken, is undone.",
}

_CONCURRENCY: Final = {
    "engram:concurrent-upsert": "Of a hundred upserts of one key at once, each counts, in one entry.",
    "engram:concurrent-add": "Of a hundred equal adds at once, one succeeds; of as many appends, each.",
    "engram:concurrent-merge": "What is merged at once is all there.",
    "engram:concurrent-own": "Whoever wrote finds what it wrote, while others write.",
    "engram:concurrent-readers": "Who reads while an entry is written sees one version of it, whole.",
    "engram:cancel-imprint": "A cancelled write is written, or not, and can come again.",
    "engram:cancel-close": "A cancelled `close` can be done again, and leaves nothing then.",
    "engram:cancel-others": "A cancelled call disturbs no other.",
}

_REOPENING: Final = {
    "engram:reopen-entries": "Opened again, a durable store has every entry as it was, in its order.",
    "engram:reopen-once": "Writes are remembered when the store is opened again.",
    "engram:reopen-rollback": "What was not committed can be undone when the store is opened again.",
}

_SHARING: Final = {
    "engram:shared-see": "What one Engram writes, another one on the store finds at once.",
    "engram:shared-once": "A write that comes through several Engrams is written once.",
    "engram:shared-concurrent": "What comes through two at once counts as it does through one.",
    "engram:shared-rollback": "A trace is undone, or committed, whichever Engram it wrote through.",
    "engram:shared-close": "An Engram that closes disturbs no other.",
}

_FAULTS: Final = {
    "engram:break-recovers": "After a broken connection it works again; until then, errors are recoverable.",
    "engram:break-once": "What was under way then is written, or fails and can come again.",
    "engram:damage-said": "A store that is unusable is an EngramError, and nothing else; closing works.",
}

_WHOLE: Final = {
    "engram:model": "Whatever is written, undone and committed: what is found is what the model says.",
}

_TEXTS_0_1: Final = {
    **_LIFE,
    **_WRITES,
    **_ONCE,
    **_ENTRIES,
    **_QUERIES,
    **_TEXT,
    **_VECTORS,
    **_UNDOING,
    **_CONCURRENCY,
    **_REOPENING,
    **_SHARING,
    **_FAULTS,
    **_WHOLE,
}

REQUIREMENTS: Final = Requirements(prefix="engram:", kind="Engram", levels={"0.1": _TEXTS_0_1})
"""Every requirement, by id."""
