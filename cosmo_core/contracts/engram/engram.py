"""The Engram contract: keeps entries, finds them again, and can undo what a trace wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_core.contracts.engram.query import Query
    from cosmo_core.contracts.engram.results import ImprintReceipt
    from cosmo_core.contracts.engram.write import Write


@attrs.frozen(kw_only=True)
class EngramGuarantees:
    """What an Engram promises; the conformance kit holds it to that.

    Attributes:
        durable: Whether what it acknowledged is still there after its process was killed.
        text: Whether it finds entries by the words in them.
        vectors: Whether it finds entries by an embedding.
        rollback: Whether it can undo what a trace wrote.
        keeps_writes: How many of the latest writes it knows by their ids. An older one is no duplicate any
            more when it comes again, and cannot be undone.
    """

    durable: bool
    text: bool = True
    vectors: bool = True
    rollback: bool = True
    keeps_writes: int = 100_000


@attrs.frozen
class Found:
    """An entry that fits a query.

    Attributes:
        id: Of the entry.
        document: The entry as JSON, as `Write.document` gave it: nobody has to read it on its way.
        score: How well it fits: the higher, the better. Cosine similarity for a vector; between 0 and 1 for
            words; 1 where nothing ranks.
    """

    id: str
    document: bytes
    score: float = 1.0


@attrs.frozen
class Findings:
    """What an Engram found: at most ``query.limit``, best first, and whether there was more."""

    found: Sequence[Found]
    truncated: bool = False


@runtime_checkable
class Engram(Protocol):
    """A store that a Dendrite puts on the bus: ``attach_engram`` connects it, and closes it in the end.

    Its methods run concurrently. Whatever they raise on purpose is an `EngramError`, whose message travels:
    keep secrets out of it. A call that is cancelled leaves the store whole.
    """

    @property
    def engram_id(self) -> str:
        """Its address, a token. Engrams of one id are one store, served by several hosts."""
        ...

    @property
    def engram_kind(self) -> str:
        """What it keeps, a token such as ``context``. Engrams of one kind can be asked together."""
        ...

    @property
    def guarantees(self) -> EngramGuarantees:
        """What it promises."""
        ...

    async def connect(self) -> None:
        """Open the store. Doing it twice is not an error.

        Raises:
            EngramError: The store cannot be reached, or is not usable.
        """
        ...

    async def close(self) -> None:
        """Finish what is being written, and let go of every resource. Doing it twice is not an error."""
        ...

    async def recall(self, query: Query) -> Findings:
        """Return the entries that fit every condition of ``query``, the best ``query.limit`` of them.

        Order: by similarity where there is a vector; else by how well the words fit, where there are some;
        and else, and among equals, what was written last comes first.

        Raises:
            EngramError: The store is closed, or failed.
        """
        ...

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Write, once for each ``write.imprint_id``: a write that comes again gets its receipt again.

        A key can have several entries, as ``append`` makes them; the newest of them is the one that
        ``upsert``, ``merge`` and ``delete`` mean.

        - ``add``: a new entry. Fails with ``ENGRAM_EXISTS`` if its id, or its merge key, is there.
        - ``append``: a new entry whatever is there; under a new id if its own is taken.
        - ``upsert``: the entry of that key is replaced, or else added, then as ``add`` does it.
        - ``merge``: the entry of that key becomes `merged` with this one. Fails with ``ENGRAM_NOT_FOUND``.
        - ``delete``: the entry of that id, or else of that key, goes. It is no error if there is none; the
          receipt then has no id.

        Where both an id and a merge key are given, and ``upsert``, ``merge`` or ``delete`` finds an entry,
        they must belong together: else it fails with ``ENGRAM_CONFLICT``. An entry that is replaced or
        merged keeps its id. One that is merged keeps its embedding, unless the write brings another.

        Returns:
            The receipt: the entry's id, and its version, which counts its writes from 1; a deleted entry
            has none. Once it is returned, the write is kept as `EngramGuarantees.durable` says.

        Raises:
            EngramError: It was not written.
        """
        ...

    async def roll_back(self, trace_id: str) -> int:
        """Undo what a trace wrote and did not commit, the last write first; return how many writes it were.

        An entry gets back what it was, its version and its place in the order too. Where something else
        wrote to it since, that stands, and the write does not count; should that be rolled back later, the
        entry becomes what it was before both.

        Raises:
            EngramError: Nothing was undone.
        """
        ...

    async def commit(self, trace_id: str) -> None:
        """Keep what a trace wrote: it cannot be undone any more.

        Raises:
            EngramError: The store is closed, or failed.
        """
        ...
