"""The pytest class that proves an Engram right. Needs pytest and hypothesis, and no plugin of either."""

from __future__ import annotations

import cosmo_testing.engrams.checks  # noqa: F401 - fills the list of what proves the requirements
from cosmo_testing.engrams.subject import EngramUnderTest

try:
    import hypothesis  # noqa: F401 - some checks need it, and it is better said now than then

    from cosmo_testing.conformance.suite import Conformance
except ImportError as error:
    raise ImportError(
        "EngramConformance needs pytest and hypothesis: pip install pytest hypothesis"
    ) from error


class EngramConformance(Conformance, EngramUnderTest):
    """What every Engram must do, one test per requirement.

    Subclass it as ``class TestMyEngram(EngramConformance)`` and fill in what `EngramUnderTest` asks for.
    A requirement that has no meaning for the Engram gets its reason in ``not_applicable``. One that it does
    not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """

    def test_shape(self) -> None:
        """It is an `Engram` whose id and kind are tokens, with `EngramGuarantees`."""
        self.prove("engram:shape")

    def test_connect_twice(self) -> None:
        """Connecting twice is not an error, and loses nothing."""
        self.prove("engram:connect-twice")

    def test_close_twice(self) -> None:
        """Closing twice is not an error."""
        self.prove("engram:close-twice")

    def test_use_closed(self) -> None:
        """Whatever a closed Engram is asked ends in ENGRAM_UNAVAILABLE."""
        self.prove("engram:use-closed")

    def test_connect_again(self) -> None:
        """A closed Engram refuses to connect, or works again."""
        self.prove("engram:connect-again")

    def test_close_finishes(self) -> None:
        """What is being written when it closes is finished, or refused and not written."""
        self.prove("engram:close-finishes")

    def test_close_leaves_nothing(self) -> None:
        """A closed Engram leaves no task, thread, socket or process behind."""
        self.prove("engram:close-leaves-nothing")

    def test_errors(self) -> None:
        """What is refused is an EngramError that names the Engram, and tells of no entry."""
        self.prove("engram:errors")

    def test_secrets(self) -> None:
        """No secret is in its repr, nor in an error."""
        self.prove("engram:secrets")

    def test_receipts(self) -> None:
        """A receipt names the Engram, what was done, the entry and its version."""
        self.prove("engram:receipts")

    def test_add(self) -> None:
        """An `add` makes an entry, which is found by its id and its key."""
        self.prove("engram:add")

    def test_add_exists(self) -> None:
        """An `add` whose id or key is there fails with ENGRAM_EXISTS."""
        self.prove("engram:add-exists")

    def test_fresh_id(self) -> None:
        """An entry that has no id gets one: `eng_` and a ULID."""
        self.prove("engram:fresh-id")

    def test_append(self) -> None:
        """An `append` makes an entry whatever is there, under a fresh id if its own is taken."""
        self.prove("engram:append")

    def test_upsert(self) -> None:
        """An `upsert` adds, or replaces the entry of its key, which keeps its id and its key."""
        self.prove("engram:upsert")

    def test_merge(self) -> None:
        """A `merge` makes of the entry of its key what `merged` makes of both."""
        self.prove("engram:merge")

    def test_merge_not_found(self) -> None:
        """A `merge` of a key without an entry fails with ENGRAM_NOT_FOUND."""
        self.prove("engram:merge-not-found")

    def test_merge_too_large(self) -> None:
        """A `merge` to what no entry may be fails with ENGRAM_INVALID."""
        self.prove("engram:merge-too-large")

    def test_delete(self) -> None:
        """A `delete` removes the entry of its id, or else the newest of its key, and no other."""
        self.prove("engram:delete")

    def test_delete_nothing(self) -> None:
        """A `delete` of what is not there is no error; its receipt has no id."""
        self.prove("engram:delete-nothing")

    def test_newest(self) -> None:
        """Where a key has several entries, the one that was written last is meant."""
        self.prove("engram:newest")

    def test_conflict(self) -> None:
        """An id and a key that do not belong together fail with ENGRAM_CONFLICT."""
        self.prove("engram:conflict")

    def test_again_after_delete(self) -> None:
        """What was deleted can be written again, from version 1."""
        self.prove("engram:again-after-delete")

    def test_once(self) -> None:
        """A write that comes again gets its receipt again, and nothing is written."""
        self.prove("engram:once")

    def test_once_failed(self) -> None:
        """A write that failed is not remembered: it can come again."""
        self.prove("engram:once-failed")

    def test_once_concurrent(self) -> None:
        """A write that comes a thousand times at once is written once."""
        self.prove("engram:once-concurrent")

    def test_once_window(self) -> None:
        """The latest `keeps_writes` writes are known, and undone, however many came before."""
        self.prove("engram:once-window")

    def test_document(self) -> None:
        """An entry comes back byte for byte, whatever JSON it is."""
        self.prove("engram:document")

    def test_document_largest(self) -> None:
        """The largest entry comes back."""
        self.prove("engram:document-largest")

    def test_document_own(self) -> None:
        """What is written is a copy: its writer can change its own afterwards."""
        self.prove("engram:document-own")

    def test_names_longest(self) -> None:
        """The longest ids, keys and tags, of any characters, tell entries apart."""
        self.prove("engram:names-longest")

    def test_names_exact(self) -> None:
        """Names are the same only if each of their characters is."""
        self.prove("engram:names-exact")

    def test_recall_names(self) -> None:
        """An entry is found by its id, and all entries of a key by that."""
        self.prove("engram:recall-names")

    def test_recall_tags(self) -> None:
        """What has all of some tags is found by them, and nothing else."""
        self.prove("engram:recall-tags")

    def test_recall_order(self) -> None:
        """Where nothing ranks, what was written last comes first, with the score 1."""
        self.prove("engram:recall-order")

    def test_recall_limit(self) -> None:
        """As many as asked for are found, the first of all; `truncated` tells of more."""
        self.prove("engram:recall-limit")

    def test_recall_combined(self) -> None:
        """What is found fits every condition of a query."""
        self.prove("engram:recall-combined")

    def test_recall_updated(self) -> None:
        """An entry is found by the tags it has, not by those it had."""
        self.prove("engram:recall-updated")

    def test_text_words(self) -> None:
        """An entry is found by the words in its texts, not by its id, key or keys."""
        self.prove("engram:text-words")

    def test_text_plain(self) -> None:
        """Words are what `words_in` says: none is left out, shortened or kept together."""
        self.prove("engram:text-plain")

    def test_text_folded(self) -> None:
        """Case, accents and compatible forms make no difference."""
        self.prove("engram:text-folded")

    def test_text_letters(self) -> None:
        """Letters of every script make words, and hold a word together."""
        self.prove("engram:text-letters")

    def test_text_any(self) -> None:
        """Whatever a text is, its words find it, and parts of them do not."""
        self.prove("engram:text-any")

    def test_text_largest(self) -> None:
        """An entry is found by its first `MAX_INDEXED_BYTES` of words."""
        self.prove("engram:text-largest")

    def test_text_many(self) -> None:
        """A query may have a thousand words; of a long word, its beginning counts."""
        self.prove("engram:text-many")

    def test_text_match(self) -> None:
        """All of the words are found, or any of them, as the query says."""
        self.prove("engram:text-match")

    def test_text_nothing(self) -> None:
        """A text without words finds nothing."""
        self.prove("engram:text-nothing")

    def test_text_operators(self) -> None:
        """What means something to a database is words like any other."""
        self.prove("engram:text-operators")

    def test_text_rank(self) -> None:
        """What is about a word comes before what mentions it; more words before fewer."""
        self.prove("engram:text-rank")

    def test_text_score(self) -> None:
        """Scores of words are between 0 and 1; of equals, the newest comes first."""
        self.prove("engram:text-score")

    def test_text_updated(self) -> None:
        """An entry is found by the words it has, not by those it had."""
        self.prove("engram:text-updated")

    def test_text_combined(self) -> None:
        """Words fit together with the other conditions, and with the limit."""
        self.prove("engram:text-combined")

    def test_vector_order(self) -> None:
        """What is most similar comes first; of equals, the newest."""
        self.prove("engram:vector-order")

    def test_vector_score(self) -> None:
        """The score is the cosine, in single precision, whatever the lengths are."""
        self.prove("engram:vector-score")

    def test_vector_dimensions(self) -> None:
        """An embedding is found by vectors of as many dimensions, up to the most."""
        self.prove("engram:vector-dimensions")

    def test_vector_updated(self) -> None:
        """An entry is found by the embedding it has, which `merge` keeps."""
        self.prove("engram:vector-updated")

    def test_vector_combined(self) -> None:
        """A vector fits together with the other conditions, and with the limit."""
        self.prove("engram:vector-combined")

    def test_vector_words(self) -> None:
        """With words and a vector, the words are a condition; the vector makes the order."""
        self.prove("engram:vector-words")

    def test_rollback_restores(self) -> None:
        """What a trace wrote is undone: each entry is what it was, as it was found."""
        self.prove("engram:rollback-restores")

    def test_rollback_order(self) -> None:
        """An entry gets back its place in the order, whatever was written since."""
        self.prove("engram:rollback-order")

    def test_rollback_many(self) -> None:
        """All that a trace wrote is undone, and counted."""
        self.prove("engram:rollback-many")

    def test_rollback_others(self) -> None:
        """What others wrote stays."""
        self.prove("engram:rollback-others")

    def test_rollback_again(self) -> None:
        """Undoing twice undoes nothing; what the trace wrote since is undone."""
        self.prove("engram:rollback-again")

    def test_rollback_nothing(self) -> None:
        """A write that changed nothing is not undone, and does not count."""
        self.prove("engram:rollback-nothing")

    def test_rollback_once(self) -> None:
        """A write that was undone is remembered: it is not written when it comes again."""
        self.prove("engram:rollback-once")

    def test_rollback_overtaken(self) -> None:
        """What something else wrote since stands; what it overtook does not count."""
        self.prove("engram:rollback-overtaken")

    def test_rollback_chain(self) -> None:
        """Traces that wrote by turns are undone in any order, back to what was before."""
        self.prove("engram:rollback-chain")

    def test_rollback_between(self) -> None:
        """What one trace deleted and made again is undone like any write to it."""
        self.prove("engram:rollback-between")

    def test_rollback_whole(self) -> None:
        """Who reads meanwhile sees all of what is undone, or nothing of it."""
        self.prove("engram:rollback-whole")

    def test_rollback_concurrent(self) -> None:
        """Traces that wrote at once are undone at once, each write one time."""
        self.prove("engram:rollback-concurrent")

    def test_rollback_cancelled(self) -> None:
        """A cancelled `roll_back`, or `commit`, did everything or nothing."""
        self.prove("engram:rollback-cancelled")

    def test_rollback_shared_key(self) -> None:
        """What comes back may share its key with what was written since."""
        self.prove("engram:rollback-shared-key")

    def test_commit_keeps(self) -> None:
        """What is committed is not undone; a commit keeps nothing of another trace."""
        self.prove("engram:commit-keeps")

    def test_commit_below(self) -> None:
        """What is committed stands when what overtook it, or was overtaken, is undone."""
        self.prove("engram:commit-below")

    def test_concurrent_upsert(self) -> None:
        """Of a hundred upserts of one key at once, each counts, in one entry."""
        self.prove("engram:concurrent-upsert")

    def test_concurrent_add(self) -> None:
        """Of a hundred equal adds at once, one succeeds; of as many appends, each."""
        self.prove("engram:concurrent-add")

    def test_concurrent_merge(self) -> None:
        """What is merged at once is all there."""
        self.prove("engram:concurrent-merge")

    def test_concurrent_own(self) -> None:
        """Whoever wrote finds what it wrote, while others write."""
        self.prove("engram:concurrent-own")

    def test_concurrent_readers(self) -> None:
        """Who reads while an entry is written sees one version of it, whole."""
        self.prove("engram:concurrent-readers")

    def test_cancel_imprint(self) -> None:
        """A cancelled write is written, or not, and can come again."""
        self.prove("engram:cancel-imprint")

    def test_cancel_close(self) -> None:
        """A cancelled `close` can be done again, and leaves nothing then."""
        self.prove("engram:cancel-close")

    def test_cancel_others(self) -> None:
        """A cancelled call disturbs no other."""
        self.prove("engram:cancel-others")

    def test_reopen_entries(self) -> None:
        """Opened again, a durable store has every entry as it was, in its order."""
        self.prove("engram:reopen-entries")

    def test_reopen_once(self) -> None:
        """Writes are remembered when the store is opened again."""
        self.prove("engram:reopen-once")

    def test_reopen_rollback(self) -> None:
        """What was not committed can be undone when the store is opened again."""
        self.prove("engram:reopen-rollback")

    def test_shared_see(self) -> None:
        """What one Engram writes, another one on the store finds at once."""
        self.prove("engram:shared-see")

    def test_shared_once(self) -> None:
        """A write that comes through several Engrams is written once."""
        self.prove("engram:shared-once")

    def test_shared_concurrent(self) -> None:
        """What comes through two at once counts as it does through one."""
        self.prove("engram:shared-concurrent")

    def test_shared_rollback(self) -> None:
        """A trace is undone, or committed, whichever Engram it wrote through."""
        self.prove("engram:shared-rollback")

    def test_shared_close(self) -> None:
        """An Engram that closes disturbs no other."""
        self.prove("engram:shared-close")

    def test_break_recovers(self) -> None:
        """After a broken connection it works again; until then, errors are recoverable."""
        self.prove("engram:break-recovers")

    def test_break_once(self) -> None:
        """What was under way then is written, or fails and can come again."""
        self.prove("engram:break-once")

    def test_damage_said(self) -> None:
        """A store that is unusable is an EngramError, and nothing else; closing works."""
        self.prove("engram:damage-said")

    def test_model(self) -> None:
        """Whatever is written, undone and committed: what is found is what the model says."""
        self.prove("engram:model")
