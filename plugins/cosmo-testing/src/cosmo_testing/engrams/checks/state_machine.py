"""The state machine requirement: any sequence of writes, compared with the reference model."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import attrs

from cosmo_core.contracts.engram import MAX_LIMIT, EngramGuarantees, ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.properties import Session
from cosmo_testing.conformance.steps import UnmetError, need
from cosmo_testing.engrams.client import Client, Store, is_fresh, parsed, stored, together
from cosmo_testing.engrams.model import Model, RefusedError, need_findings
from cosmo_testing.engrams.subject import EngramUnderTest

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine
    from hypothesis.strategies import SearchStrategy

IDS: Final = ("a", "b", "c")
KEYS: Final = ("k", "l")
TAGS: Final = ("t", "u")
TRACES: Final = ("one", "two")
WORDS: Final = ("bus", "Straße", "記憶")
VECTORS: Final = ((1.0, 0.0), (0.6, 0.8), (1.0, 2.0, 3.0))


def queries(guarantees: EngramGuarantees) -> list[Query]:
    """Make queries that cover the whole content of a store."""
    made: list[dict[str, Any]] = [{"limit": MAX_LIMIT}, {"limit": 2}, {"id": IDS[0]}]
    made += [{"merge_key": key, "limit": MAX_LIMIT} for key in KEYS]
    made += [{"tags": TAGS[:1]}, {"tags": TAGS, "limit": 1}, {"tags": TAGS[:1], "merge_key": KEYS[0]}]
    if guarantees.text:
        made += [{"text": word, "limit": MAX_LIMIT} for word in WORDS]
        made.append({"text": f"{WORDS[0]} {WORDS[1]}", "match": "any", "limit": 3})
        made.append({"text": " ".join(WORDS), "merge_key": KEYS[0]})
    if guarantees.vectors:
        made += [{"vector": vector, "limit": 3} for vector in (VECTORS[0], VECTORS[-1])]
        made.append({"vector": VECTORS[1], "tags": TAGS[1:]})
    return [Query.parse(query) for query in made]


def writes() -> SearchStrategy[Write]:
    """Return a strategy for writes with few ids, keys and traces; each write needs a new write id."""
    from hypothesis import strategies as st

    def may(name: str, values: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
        return st.just({}) | values.map(lambda value: {name: value})

    entries = st.tuples(
        # Mostly without an id: an id and a key of different entries are refused.
        st.just({}) | may("id", st.sampled_from(IDS)),
        may("tags", st.lists(st.sampled_from(TAGS), max_size=2)),
        may("text", st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)),
        may("embedding", st.sampled_from(VECTORS)),
        may("more", st.dictionaries(st.sampled_from("xy"), st.integers(0, 3) | st.sampled_from(WORDS))),
    ).map(lambda parts: {key: value for part in parts for key, value in part.items()})
    keys = st.sampled_from([KEYS[0], *KEYS, None])
    ops = st.sampled_from(
        ["upsert", "upsert", "upsert", "append", "append", "merge", "merge", "delete", "add"]
    )
    traces = st.sampled_from([*TRACES, None])

    def write(op: str, entry: dict[str, Any], key: str | None, trace: str | None) -> Write:
        if key is None and (op in {"upsert", "merge"} or (op == "delete" and "id" not in entry)):
            key = KEYS[0]
        return parsed(op, entry, key, imprint_id="w", trace=trace)

    return st.builds(write, ops, entries, keys, traces)


STEPS: Final = 20
"""The largest number of steps in one example."""
MOST_WRITES: Final = 6
"""The largest number of writes in one step."""


@requirement(
    "engram:model",
    "For any sequence of writes, rollbacks and commits, a query MUST find what the model predicts.",
)
async def check_model(under_test: EngramUnderTest) -> None:
    """Run generated writes, rollbacks, commits and reopenings; compare with the model after every step."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    loop = asyncio.get_running_loop()
    often = settings(
        max_examples=max(1, settings().max_examples // 5) * under_test.scale,
        stateful_step_count=STEPS,
        deadline=None,
        report_multiple_bugs=False,
        # With a database, shrinking would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        # Hypothesis is synchronous: it runs in a thread of its own.
        await asyncio.to_thread(run_state_machine_as_test, _machine(under_test, loop), settings=often)
    except Exception as error:
        what = str(error) if isinstance(error, UnmetError) else repr(error)
        # The notes of the exception list the steps; they would be lost.
        raise UnmetError("\n".join([what, *getattr(error, "__notes__", ())])) from error


class Steps:
    """The actions of the machine, each a coroutine in the session."""

    def __init__(self, under_test: EngramUnderTest, store: Store) -> None:
        self.model = Model()
        self._store = store
        self._shared = under_test.shared
        self._clients: list[Client] = []

    async def open(self) -> None:
        """Open the store, twice if it can be shared."""
        self._clients = [await self._store.open() for _ in range(1 + self._shared)]

    async def reopen(self) -> None:
        """Close every Engram, and open the store again."""
        await self._store.close_all()
        await self.open()

    @property
    def guarantees(self) -> EngramGuarantees:
        """The guarantees of the Engram."""
        return self._clients[0].engram.guarantees

    async def write(self, write: Write) -> None:
        """Write, and compare the outcome."""
        outcome: ImprintReceipt | EngramError
        try:
            outcome = await self._clients[0].imprint(write)
        except EngramError as error:
            outcome = error
        try:
            row = self.model.imprint(write, self._fresh(outcome))
        except RefusedError as refused:
            code = getattr(outcome, "code", None)
            need(code == str(refused), f"{write} ended in {outcome!r}, and not with {refused}")
            return
        if isinstance(outcome, EngramError):
            raise UnmetError(f"{write} is to be written as {row}, and ended in {outcome!r}") from outcome
        got = (outcome.op, outcome.id, outcome.version)
        need(got == (row.op, row.id, row.version), f"{write} was to be written as {row}: {outcome}")

    def _fresh(self, outcome: ImprintReceipt | EngramError) -> str | None:
        """Return the id in a receipt if an Engram may choose it."""
        id = getattr(outcome, "id", None)
        return id if is_fresh(id) and id not in self.model.entries else None

    async def roll_back(self, trace: str) -> None:
        """Undo a trace, and compare the number of writes."""
        undone, expected = await self._clients[0].roll_back(trace), self.model.roll_back(trace)
        need(undone == expected, f"roll_back({trace!r}) undid {undone} writes, not {expected}")

    async def commit(self, trace: str) -> None:
        """Commit a trace."""
        await self._clients[0].commit(trace)
        self.model.commit(trace)

    async def compare(self) -> None:
        """Run every query; the open Engrams take turns."""
        await together(map(self._look, cycle(self._clients), queries(self.guarantees)))
        self._clients.reverse()

    async def _look(self, client: Client, query: Query) -> None:
        need_findings(await client.recall(query), query, self.model)


def _machine(under_test: EngramUnderTest, loop: asyncio.AbstractEventLoop) -> type[RuleBasedStateMachine]:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.session = Session(stored(under_test), loop)
            self.steps = Steps(under_test, self.session.given)
            self.imprints: list[str] = []
            # The number of writes before the store is reopened.
            self.reopen_after = MOST_WRITES
            self.session.run(self.steps.open())

        @rule(several=st.lists(writes(), min_size=MOST_WRITES // 2, max_size=MOST_WRITES))
        def write(self, several: list[Write]) -> None:
            for write in several:
                self.imprints.append(f"w{len(self.imprints)}")
                self.session.run(self.steps.write(attrs.evolve(write, imprint_id=self.imprints[-1])))
            self.session.run(self.steps.compare())

        @precondition(lambda self: self.imprints)
        @rule(write=writes(), index=st.integers(0, STEPS * MOST_WRITES))
        def write_again(self, write: Write, index: int) -> None:
            again = self.imprints[index % len(self.imprints)]
            self.session.run(self.steps.write(attrs.evolve(write, imprint_id=again)))
            self.session.run(self.steps.compare())

        @precondition(lambda self: self.steps.guarantees.rollback and self.steps.model.open_traces)
        @rule(trace=st.sampled_from(TRACES), commits=st.sampled_from([False, False, True]))
        def end(self, trace: str, commits: bool) -> None:
            self.session.run(self.steps.commit(trace) if commits else self.steps.roll_back(trace))
            self.session.run(self.steps.compare())

        @precondition(lambda self: self.steps.guarantees.durable and len(self.imprints) > self.reopen_after)
        @rule()
        def reopen(self) -> None:
            self.reopen_after = len(self.imprints) + 2 * MOST_WRITES
            self.session.run(self.steps.reopen())
            self.session.run(self.steps.compare())

        def teardown(self) -> None:
            self.session.close()

    return Machine
