"""Shared memory: the Engram contract, its queries, writes and results, and the bindings of an Axon."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, Protocol, cast, runtime_checkable

import attrs
import msgspec

from cosmo_core.arguments import check_seconds
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import check_token

# --- the words of an entry, and how two entries merge -----------------------------------------------

MAX_WORD: Final = 64
"""Longest word, in characters; a longer word is cut to this length."""

MAX_INDEXED_BYTES: Final = 256 * 1024
"""Most text per entry that a search can find, in UTF-8 bytes of its words; later words are not indexed."""

# Marks that many writers leave out: accents, the points of Hebrew and Syriac, the vowels of Arabic.
_OPTIONAL: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0816-\u0819\u081b-\u0823"
    "\u0825-\u0827\u0829-\u082d\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u0951-\u0954\u1ab0-\u1ace\u1cd0-\u1ce8"
    "\u1dc0-\u1dff\u20d0-\u20f0\u302a-\u302f\ufb1e\ufe20-\ufe2f"
)
# Characters without a width, such as soft hyphens, joiners and marks of direction. U+200B is not one of
# them, since it separates words.
_INVISIBLE: Final = (
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IGNORED: Final = f"[{_OPTIONAL}{_INVISIBLE}]+"
# Letters of pointed texts that stand for others: the alef of the Arabic article, and the digraphs of Yiddish.
_LETTERS: Final = {
    0x0671: "\u0627",
    0x05F0: "\u05d5\u05d5",
    0x05F1: "\u05d5\u05d9",
    0x05F2: "\u05d9\u05d9",
}
_UNSPACED: Final = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and similar marks. Without them, each consonant between two signs would be a word of its own.
_SIGNS: Final = (
    "\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963\u0981-\u0dff"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3"
)
_WORD: Final = f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_SIGNS}])+"
_NOT_SEARCHED: Final = frozenset({"id", "embedding"})


@cache
def _pattern(regex: str) -> re.Pattern[str]:
    """Compile one of the two patterns of words on first use: it takes 2 ms, and few programs search texts."""
    return re.compile(regex)


def words_in(text: str) -> list[str]:
    """Return the words of ``text`` in order, normalized, each cut to `MAX_WORD` characters.

    Normalizing removes differences of case, of accents and of compatible forms (NFKD), and the points and
    vowel marks that Hebrew and Arabic are written with or without. Characters without a width, such as soft
    hyphens and joiners, are ignored. In scripts without spaces between words, such as Chinese and Japanese,
    each character is a word.
    """
    if text.isascii():
        return [word[:MAX_WORD] for word in _pattern(_WORD).findall(text.lower())]
    plain = _pattern(_IGNORED).sub("", unicodedata.normalize("NFKD", text.casefold()))
    # Decomposing can bring up characters that have a case, so the case is folded a second time.
    folded = unicodedata.normalize("NFC", plain.casefold().translate(_LETTERS))
    return [word[:MAX_WORD] for word in _pattern(_WORD).findall(folded)]


def text_of(entry: Mapping[str, Any]) -> str:
    """Return the searchable words of ``entry``, joined by spaces, `MAX_INDEXED_BYTES` of them at most.

    They come from every string value of the entry, nested ones included, except its ``id``. The names of keys
    are not searchable.
    """
    words: list[str] = []
    left = MAX_INDEXED_BYTES
    for text in _strings({key: value for key, value in entry.items() if key not in _NOT_SEARCHED}):
        for word in words_in(text):
            left -= len(word.encode()) + 1
            if left < 0:
                return " ".join(words)
            words.append(word)
    return " ".join(words)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with ``new`` merged into it; neither argument is changed.

    Objects are merged key by key. Of two lists, the items of ``new`` that ``old`` lacks are appended. For
    every other value, ``new`` replaces ``old``.
    """
    result = dict(old)
    for key, value in new.items():
        result[key] = _merged_value(result[key], value) if key in result else value
    return result


def _merged_value(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged(old, new)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        # Compared as JSON, where 1, 1.0 and true are three different values.
        seen = {msgspec.json.encode(item, order="sorted") for item in old}
        result = list(old)
        for item in new:
            encoded = msgspec.json.encode(item, order="sorted")
            if encoded not in seen:
                seen.add(encoded)
                result.append(item)
        return result
    return new


# --- queries and writes -----------------------------------------------------------------------------

MAX_LIMIT: Final = 1_000
"""Highest ``limit`` of a query: the most entries that one RECALL returns."""

DEFAULT_LIMIT: Final = 10
"""``limit`` of a query that does not set it."""

MAX_NAME: Final = 512
"""Longest id, merge key or tag, in characters."""

MAX_TAGS: Final = 64
"""Most tags of an entry or of a query."""

MAX_QUERY_TEXT: Final = 524_288
"""Longest ``text`` of a query, in characters."""

MAX_QUERY_WORDS: Final = 50_000
"""Most different words in the ``text`` of a query."""

MAX_DIMENSIONS: Final = 16_000
"""Most numbers in an embedding."""

MAX_ENTRY: Final = 960 * 1024
"""Largest entry, in bytes of JSON. With its Signal around it, it fits into one frame of every Synapse."""

_Op = Literal["add", "append", "merge", "upsert", "delete"]

OPS: Final = ("add", "append", "merge", "upsert", "delete")
"""The operations of a write; see `Engram.imprint`."""

_QUERY_KEYS: Final = frozenset({"id", "merge_key", "tags", "text", "match", "vector", "limit"})
_OPS_WITH_KEY: Final = frozenset({"merge", "upsert"})
_encode: Final = msgspec.json.Encoder().encode


@attrs.frozen(kw_only=True)
class Query:
    """A checked query. An entry is found if it meets every condition. `parse` makes one.

    Attributes:
        id: The entry has this id.
        merge_key: The entry has this merge key.
        tags: The entry has all of these tags.
        words: The text of the entry has these words, as `words_in` returns them; None for no condition. An
            empty tuple matches no entry.
        match: Whether the text needs ``all`` of the words, or ``any`` of them.
        vector: The entry has an embedding with as many dimensions; results are ordered by similarity to it.
        limit: The most entries to return.
    """

    id: str | None = None
    merge_key: str | None = None
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    match: Literal["all", "any"] = "all"
    vector: tuple[float, ...] | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(cls, query: object) -> Query:
        """Check the ``query`` object of a RECALL and return it as a `Query`.

        All keys are optional: ``id``, ``merge_key``, ``tags``, ``text``, ``match`` (``"all"`` or ``"any"``),
        ``vector`` and ``limit`` (10 by default). An empty object matches every entry.

        Raises:
            EngramError: ``ENGRAM_INVALID``: the object has an unknown key or a value that is not allowed.
        """
        if not isinstance(query, Mapping):
            raise invalid(f"a query is an object such as {{'text': 'bus'}}, not {type(query).__name__}")
        if not _QUERY_KEYS.issuperset(query):
            unknown = min(query.keys() - _QUERY_KEYS)
            raise invalid(f"unknown query key {unknown!r}; allowed keys: {', '.join(sorted(_QUERY_KEYS))}")
        match, limit = query.get("match", "all"), query.get("limit", DEFAULT_LIMIT)
        if match not in {"all", "any"}:
            raise invalid('match must be "all" or "any"')
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise invalid(f"limit must be a whole number from 1 to {MAX_LIMIT}")
        return cls(
            id=_optional_name("id", query.get("id")),
            merge_key=_optional_name("merge_key", query.get("merge_key")),
            tags=_checked_tags(query.get("tags")),
            words=_checked_words(query.get("text")),
            match=match,
            vector=_checked_vector("vector", query.get("vector")),
            limit=limit,
        )


@attrs.frozen(kw_only=True)
class Write:
    """A checked write. `parse` makes one.

    Attributes:
        op: The operation; see `Engram.imprint`.
        entry: The entry without its embedding.
        document: The same entry as JSON: the bytes to store.
        imprint_id: The id of this write. A write with an id that the Engram knows is not done again.
        trace_id: The trace that can undo this write; None if it cannot be undone.
        merge_key: The key of the entry.
        id: The id that the entry asks for.
        tags: The tags of the entry, without duplicates.
        embedding: The embedding of the entry.
    """

    op: _Op
    entry: dict[str, Any] = attrs.field(repr=False)
    document: bytes = attrs.field(repr=False, eq=False)
    imprint_id: str
    trace_id: str | None = None
    merge_key: str | None = None
    id: str | None = None
    tags: tuple[str, ...] = ()
    embedding: tuple[float, ...] | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        op: str,
        entry: object,
        *,
        imprint_id: str,
        merge_key: object = None,
        trace_id: str | None = None,
    ) -> Write:
        """Check the fields of an IMPRINT and return them as a `Write`.

        In ``entry``, the keys ``id``, ``tags`` and ``embedding`` have a meaning; all other keys are free.

        Raises:
            EngramError: ``ENGRAM_INVALID``: a field is missing, or has a value that is not allowed.
        """
        if op not in OPS:
            raise invalid(f"op must be one of {', '.join(OPS)}, not {op!r}")
        if not isinstance(entry, Mapping) or not all(isinstance(key, str) for key in entry):
            raise invalid(f"an entry must be an object, not {type(entry).__name__}")
        if merge_key is None and op in _OPS_WITH_KEY:
            raise invalid(f"{op} needs a merge_key that names the entry")
        if merge_key is None and entry.get("id") is None and op == "delete":
            raise invalid("delete needs a merge_key, or an entry with an id, that names the entry")
        plain = {key: value for key, value in entry.items() if key != "embedding"}
        return cls(
            op=cast("_Op", op),
            entry=plain,
            document=_encoded(plain),
            imprint_id=_checked_name("imprint_id", imprint_id),
            trace_id=trace_id,
            merge_key=_optional_name("merge_key", merge_key),
            id=_optional_name("id", plain.get("id")),
            tags=_checked_tags(plain.get("tags")),
            embedding=_checked_vector("embedding", entry.get("embedding")),
        )

    def with_entry(self, entry: Mapping[str, Any]) -> Write:
        """Return this write with another entry, such as a `merged` one; the embedding stays.

        Raises:
            EngramError: ``ENGRAM_INVALID``: the entry cannot be stored, for example because it is too large.
        """
        plain = dict(entry)
        return attrs.evolve(
            self, entry=plain, document=_encoded(plain), tags=_checked_tags(plain.get("tags"))
        )


def invalid(reason: str) -> EngramError:
    """Return the `EngramError` with the code ``ENGRAM_INVALID`` for a query or a write."""
    return EngramError(reason, code="ENGRAM_INVALID")


def _encoded(entry: dict[str, Any]) -> bytes:
    try:
        document = _encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid(f"the entry cannot be encoded as JSON: {error}") from None
    if len(document) > MAX_ENTRY:
        raise invalid(f"the entry has {len(document)} bytes of JSON; the limit is {MAX_ENTRY}")
    return document


def _optional_name(field: str, value: object) -> str | None:
    return None if value is None else _checked_name(field, value)


def _checked_name(field: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not _is_printable(value):
        raise invalid(f"{field} must be a string of 1 to {MAX_NAME} characters without control characters")
    return value


def _is_printable(value: str) -> bool:
    # `isprintable` rejects some spaces, which are allowed. Surrogates cannot be stored as UTF-8.
    return value.isprintable() or not any(
        ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value
    )


def _checked_tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_TAGS:
        raise invalid(f"tags must be a list of at most {MAX_TAGS} strings")
    return tuple(dict.fromkeys(_checked_name("a tag", tag) for tag in value))


def _checked_vector(field: str, value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or not 1 <= len(value) <= MAX_DIMENSIONS
        or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
    ):
        raise invalid(f"{field} must be a list of 1 to {MAX_DIMENSIONS} numbers")
    try:
        length = math.hypot(*value)
    except OverflowError:
        length = math.inf
    # Engrams store single precision, which cannot hold longer or shorter vectors.
    if not 1e-18 < length < 1e18:
        raise invalid(f"{field} must have a length between 1e-18 and 1e18, so that it has a direction")
    return tuple(map(float, value))


def _checked_words(text: object) -> tuple[str, ...] | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise invalid(f"text must be a string, not {type(text).__name__}")
    if len(text) > MAX_QUERY_TEXT:
        raise invalid(f"text has {len(text)} characters; the limit of a query is {MAX_QUERY_TEXT}")
    words = tuple(dict.fromkeys(words_in(text)))
    if len(words) > MAX_QUERY_WORDS:
        raise invalid(f"text has {len(words)} words; the limit of a query is {MAX_QUERY_WORDS}: use fewer")
    return words


# --- the contract -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class EngramGuarantees:
    """The properties that an Engram promises. The conformance kit tests each promise.

    Attributes:
        durable: Acknowledged writes survive a killed process.
        text: Entries can be found by the words in them.
        vectors: Entries can be found by their embeddings.
        rollback: The writes of a trace can be undone.
        keeps_writes: How many of the latest writes are known by their ids. An older write is done again when
            it is repeated, and cannot be undone.
    """

    durable: bool
    text: bool = True
    vectors: bool = True
    rollback: bool = True
    keeps_writes: int = 100_000


@attrs.frozen
class Found:
    """One result of a query, as an Engram returns it.

    Attributes:
        id: The id of the entry.
        document: The entry as JSON, as `Write.document` gave it. It is sent on without decoding.
        score: How well the entry matches; higher is better. Cosine similarity for a vector, a number between
            0 and 1 for words, and 1 if the query has neither.
    """

    id: str
    document: bytes
    score: float = 1.0


@attrs.frozen
class Findings:
    """The results of a query, as an Engram returns them.

    Attributes:
        found: At most ``query.limit`` results, the best first.
        truncated: Whether more entries match.
    """

    found: Sequence[Found]
    truncated: bool = False


@attrs.frozen
class Hit:
    """One result of a RECALL, as a Neuron gets it.

    Attributes:
        id: The id of the entry.
        entry: The entry as it was imprinted, without its ``embedding``.
        score: How well the entry matches; higher is better. 1 if the query has neither words nor a vector.
            Scores of different kinds of Engram are not comparable.
        engram_id: The id of the Engram that keeps the entry.
    """

    id: str
    entry: dict[str, Any]
    score: float = 1.0
    engram_id: str = ""


@attrs.frozen
class RecallResult:
    """The results of a RECALL, as a Neuron gets them.

    Attributes:
        hits: The results, the best first; with mode ``all``, those of one Engram after those of another.
        truncated: Whether more entries match than the limit, or one Signal, allows.
        engrams: The ids of the Engrams that answered.
        failed: The error message of each Engram that did not answer, by id.
    """

    hits: list[Hit]
    truncated: bool = False
    engrams: tuple[str, ...] = ()
    failed: dict[str, str] = attrs.Factory(dict)

    @property
    def partial(self) -> bool:
        """Whether at least one Engram did not answer, or failed."""
        return bool(self.failed)


@attrs.frozen
class ImprintReceipt:
    """The result of a write.

    Attributes:
        engram_id: The id of the Engram that did the write.
        op: The operation that was done.
        id: The id of the entry; None if ``delete`` found no entry.
        version: How many writes the entry has had, this one included; None if it was deleted.
    """

    engram_id: str
    op: str
    id: str | None = None
    version: int | None = None


@attrs.frozen
class EngramRecord:
    """One Engram as one Dendrite hosts it.

    Attributes:
        engram_id: Its address.
        kind: Its kind.
        dendrite: The Dendrite that hosts it.
    """

    engram_id: str
    kind: str
    dendrite: str


@runtime_checkable
class Engram(Protocol):
    """A store of entries that a Dendrite puts on the bus.

    The Dendrite that an Engram is attached to connects it, calls its methods concurrently, and closes it. An
    expected failure is an `EngramError`; its message is sent to the caller, so it must not contain a secret.
    Cancelling a call must leave the store consistent.
    """

    @property
    def engram_id(self) -> str:
        """The address on the bus, a token. Engrams with the same id are one store with several hosts."""

    @property
    def engram_kind(self) -> str:
        """What the Engram stores, a token such as ``context``. One RECALL can ask all Engrams of a kind."""

    @property
    def guarantees(self) -> EngramGuarantees:
        """The properties that the Engram promises."""

    async def connect(self) -> None:
        """Open the store. A second call has no effect.

        Raises:
            EngramError: The store cannot be reached, or is not usable.
        """

    async def close(self) -> None:
        """Finish the running writes and release every resource. A second call has no effect."""

    async def recall(self, query: Query) -> Findings:
        """Return the entries that meet every condition of ``query``, the best ``query.limit`` of them.

        With a vector, results are ordered by cosine similarity; without one but with words, by how well the
        words match. In all other cases, and among equal scores, the entry that was written last comes first.

        Raises:
            EngramError: The store is closed, or failed.
        """

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Do a write once per ``write.imprint_id``; a repeated write returns the receipt of the first one.

        Several entries can have the same key, since ``append`` adds one more. ``upsert``, ``merge`` and
        ``delete`` use the newest entry with the key.

        - ``add``: adds an entry. Fails with ``ENGRAM_EXISTS`` if an entry has the same id or merge key.
        - ``append``: always adds an entry; it gets a new id if its own is taken.
        - ``upsert``: replaces the entry with the key, or does an ``add`` if there is none.
        - ``merge``: replaces the entry with the key by the result of `merged`. Fails with
          ``ENGRAM_NOT_FOUND`` if there is none.
        - ``delete``: removes the entry with the id, or without an id the one with the key. If there is none,
          that is not an error, and the receipt has no id.

        If a write gives both an id and a merge key, and ``upsert``, ``merge`` or ``delete`` finds an entry,
        that entry must have both; otherwise the write fails with ``ENGRAM_CONFLICT``. A replaced or merged
        entry keeps its id. A merged entry keeps its embedding unless the write has a new one.

        Returns:
            The receipt with the entry's id and its version, which counts its writes from 1. The version of a
            deleted entry is None. From then on the write is kept as `EngramGuarantees.durable` says.

        Raises:
            EngramError: The write was not done.
        """

    async def roll_back(self, trace_id: str) -> int:
        """Undo the writes of a trace that are not committed, the latest first; return how many were undone.

        An entry gets back its former content, version and place in the order. If another trace wrote to the
        entry later, that later write stays, and the earlier one is not counted. If the later write is rolled
        back as well, the entry gets back the content from before both.

        Raises:
            EngramError: Nothing was undone.
        """

    async def commit(self, trace_id: str) -> None:
        """Make the writes of a trace permanent: they can no longer be undone.

        Raises:
            EngramError: The store is closed, or failed.
        """


# --- what an Axon binds -----------------------------------------------------------------------------

RECALL_MODES: Final = ("first", "merge", "all")
"""The values of `RecallMode`."""

RecallMode = Literal["first", "merge", "all"]
"""How the answers of several Engrams become one result.

``first`` takes the first answer, ``merge`` ranks all hits together, and ``all`` lists the hits of one Engram
after those of another.
"""


@attrs.frozen
class EngramBinding:
    """Binds a name that a Neuron uses to one Engram, or to all Engrams of a kind.

    Args:
        name: The name that the Neuron uses.
        directed_id: The id of the Engram; ``name`` by default.
        directed_type: A kind of Engram. If set, RECALLs go to all Engrams of the kind. IMPRINTs go to
            ``directed_id``, or without it to the only Engram of the kind.
        timeout_s: Time limit of a call in seconds. The deadline of the Neuron's TASK limits it further.
        recall_mode: How the answers of several Engrams become one result.

    Raises:
        MalformedSignalError: An id or a kind is not a valid token.
        ValueError: ``timeout_s`` is not positive, or the mode is unknown.
    """

    name: str
    directed_id: str | None = None
    directed_type: str | None = attrs.field(default=None, kw_only=True)
    timeout_s: float = attrs.field(default=5.0, kw_only=True)
    recall_mode: RecallMode = attrs.field(default="first", kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.directed_id is None and self.directed_type is None:
            object.__setattr__(self, "directed_id", self.name)
        for field in ("directed_id", "directed_type"):
            if (value := getattr(self, field)) is not None:
                check_token(field, value)
        check_seconds("timeout_s", self.timeout_s, positive=True)
        if self.recall_mode not in RECALL_MODES:
            raise ValueError(f"EngramBinding {self.name!r}: recall_mode must be first, merge or all")
