"""Engrams that find the wrong things, or in the wrong order."""

from __future__ import annotations

import math
import re
import unicodedata

import attrs
import msgspec
from tests.conformance.engram_double import Double, Entry, breaks

from cosmo_core.contracts.engram import Findings, Query, Write, words_in


@breaks("engram:recall-names", "and must find")
class FindsIdsUnderKeys(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        if query.merge_key == entry.id:
            query = attrs.evolve(query, merge_key=None)
        return super().fits(entry, query)


@breaks("engram:recall-tags", "and must find")
class TakesAnyTag(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        if {*query.tags} & {*entry.tags}:
            query = attrs.evolve(query, tags=())
        return super().fits(entry, query)


@breaks("engram:recall-order", "and must find")
class PutsTheOldestFirst(Double):
    def newest_first(self) -> list[Entry]:
        return [*reversed(super().newest_first())]


@breaks("engram:recall-order", "and must find")
class KeepsThePlaceOfWhatIsReplaced(Double):
    def newest_first(self) -> list[Entry]:
        return [*reversed(self.data.entries.values())]


@breaks("engram:recall-limit", "limit 1 brings []")
class FindsOneTooFew(Double):
    def found(self, query: Query) -> Findings:
        findings = super().found(query)
        return attrs.evolve(findings, found=[*findings.found][: query.limit - 1])


@breaks("engram:recall-limit", "truncated=True")
class SaysThereIsMore(Double):
    def found(self, query: Query) -> Findings:
        findings = super().found(query)
        return attrs.evolve(findings, truncated=len(findings.found) == query.limit)


@breaks("engram:recall-combined", "and must find")
class TakesOneConditionOfTwo(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        return super().fits(entry, attrs.evolve(query, tags=() if query.merge_key else query.tags))


@breaks("engram:recall-updated", "and must find")
class RemembersTags(Double):
    def merge(self, write: Write, old: Entry) -> str:
        id = super().merge(write, old)
        self.data.entries[id] = attrs.evolve(self.data.entries[id], tags=("one", "two", "three"))
        return id

    def replace(self, write: Write, old: Entry) -> str:
        return super().replace(attrs.evolve(write, tags=write.tags or old.tags), old)


# --- words ------------------------------------------------------------------------------------------


class OtherWords(Double):
    """One that has its own idea of the words of an entry."""

    def index(self, write: Write) -> tuple[str, ...]:
        return tuple(word for word in super().index(write) if self.is_word(word))

    def is_word(self, word: str) -> bool:
        return True


@breaks("engram:text-words", "and must find")
class ReadsTheJson(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        return tuple(words_in(write.document.decode()))


@breaks("engram:text-plain", "does not find it")
class HasStopWords(OtherWords):
    def is_word(self, word: str) -> bool:
        return word not in {"the", "a", "and", "i", "was"}


@breaks("engram:text-plain", "and must find")
class Stems(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        words = super().index(write)
        return (*words, *(word.removesuffix("ning") for word in words))


@breaks("engram:text-folded", "and must find")
class CaresAboutCase(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        text = str(msgspec.json.decode(write.document).get("text", ""))
        plain = unicodedata.normalize("NFD", text)
        return tuple(re.findall(r"\w+", "".join(each for each in plain if not unicodedata.combining(each))))


@breaks("engram:text-folded", "and must find")
class CaresAboutAccents(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        text = str(msgspec.json.decode(write.document).get("text", ""))
        return tuple(re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold()))


@breaks("engram:text-scripts", "do not find the entry that has them")
class KnowsFewScripts(OtherWords):
    def is_word(self, word: str) -> bool:
        return max(word, default="") < "\U00010000"


@breaks("engram:text-scripts", "is not one of these words, and finds them")
class SplitsAtWhatItDoesNotKnow(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        words = super().index(write)
        return (*words, *(part for word in words for part in re.split("[\U00010000-\U0010ffff]", word)))


@breaks("engram:text-any", "finds the entry")
class FindsByTheBeginning(Double):
    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        each = [any(word.startswith(wanted) for word in entry.words) for wanted in words]
        return bool(each) and (any(each) if match == "any" else all(each))


@breaks("engram:text-largest", "and must find")
class IndexesEverything(OtherWords):
    def index(self, write: Write) -> tuple[str, ...]:
        words = super().index(write)
        return words if len(words) < 40_000 else (*words, "beyond")


@breaks("engram:text-many", "has too many words")
class RefusesManyWords(Double):
    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        if len(words) > 255:
            raise self.error("UNSUPPORTED", "says that this has too many words")
        return super().has_words(entry, words, match)


@breaks("engram:text-match", "and must find")
class TakesAnyWord(Double):
    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        return super().has_words(entry, words, "any")


@breaks("engram:text-nothing", "and must find []")
class FindsAllWithoutWords(Double):
    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        return not words or super().has_words(entry, words, match)


@breaks("engram:text-operators", "and must find")
class ObeysOperators(Double):
    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        operators = {"and", "or", "not", "near"}
        return super().has_words(entry, tuple(word for word in words if word not in operators), match)


@breaks("engram:text-rank", "and must find ['dense', 'diluted']")
class RanksNothing(Double):
    def score(self, entry: Entry, query: Query) -> float:
        return 1.0 if query.words is not None else super().score(entry, query)


@breaks("engram:text-score", "words score from 0 to 1")
class CountsWords(Double):
    def score(self, entry: Entry, query: Query) -> float:
        if query.words is not None:
            return float(sum(entry.words.count(word) for word in query.words))
        return super().score(entry, query)


@breaks("engram:text-score", "of equals the newest comes first")
class PutsOldEqualsFirst(Double):
    def newest_first(self) -> list[Entry]:
        return [*reversed(super().newest_first())]


@breaks("engram:text-updated", "and must find")
class KeepsItsIndex(Double):
    def replace(self, write: Write, old: Entry) -> str:
        id = super().replace(write, old)
        self.data.entries[id] = attrs.evolve(
            self.data.entries[id], words=old.words, vocabulary=old.vocabulary
        )
        return id


@breaks("engram:text-combined", "and must find")
class LooksForWordsEverywhere(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        return super().fits(entry, query if query.words is None else attrs.evolve(query, merge_key=None))


# --- vectors ----------------------------------------------------------------------------------------


@breaks("engram:vector-order", "and must find")
class MeasuresDistances(Double):
    def score(self, entry: Entry, query: Query) -> float:
        if query.vector is not None and entry.embedding is not None:
            return -math.dist(query.vector, entry.embedding)
        return super().score(entry, query)


@breaks("engram:vector-score", "has the score")
class ScoresFromNothingToOne(Double):
    def score(self, entry: Entry, query: Query) -> float:
        score = super().score(entry, query)
        return score if query.vector is None else (score + 1) / 2


@breaks("engram:vector-score", "has the score")
class LosesSmallNumbers(Double):
    def score(self, entry: Entry, query: Query) -> float:
        if query.vector is None or entry.embedding is None:
            return super().score(entry, query)
        product = sum(a * b for a, b in zip(query.vector, entry.embedding, strict=True))
        return product / (math.hypot(*query.vector) * math.hypot(*entry.embedding) + 1e-9)


@breaks("engram:vector-dimensions", "are found, not")
class ComparesWhatIsThere(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        return super().fits(entry, attrs.evolve(query, vector=None)) and not (
            query.vector is not None and entry.embedding is None
        )

    def score(self, entry: Entry, query: Query) -> float:
        if query.vector is not None and entry.embedding is not None:
            both = min(len(query.vector), len(entry.embedding))
            query = attrs.evolve(query, vector=query.vector[:both])
            entry = attrs.evolve(entry, embedding=entry.embedding[:both])
        return super().score(entry, query)


@breaks("engram:vector-updated", "[] are found, not ['e']")
class MergesWithoutTheEmbedding(Double):
    def merge(self, write: Write, old: Entry) -> str:
        return super().merge(write, attrs.evolve(old, embedding=None))


@breaks("engram:vector-updated", "found ['e'], and must find []")
class KeepsTheEmbedding(Double):
    def replace(self, write: Write, old: Entry) -> str:
        return super().replace(attrs.evolve(write, embedding=write.embedding or old.embedding), old)


@breaks("engram:vector-combined", "and must find")
class LooksForVectorsEverywhere(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        return super().fits(entry, query if query.vector is None else attrs.evolve(query, tags=()))


@breaks("engram:vector-words", "and must find")
class AddsWordsToTheScore(Double):
    def score(self, entry: Entry, query: Query) -> float:
        score = super().score(entry, query)
        if query.vector is not None and query.words is not None:
            score += sum(entry.words.count(word) for word in query.words)
        return score
