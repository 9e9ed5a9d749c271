"""The Engram contract: a store that keeps entries, finds them again, and can undo what a trace wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from cosmo_core.contracts.engram.query import Query, Write


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
