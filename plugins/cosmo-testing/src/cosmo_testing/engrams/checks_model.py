"""A state machine drives an Engram against a plain model. Needs hypothesis."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import TYPE_CHECKING, Final

import attrs

from cosmo_core.contracts.engram import Query, Write
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.session import Session
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import Client, is_fresh, together
from cosmo_testing.engrams.comparison import need_findings
from cosmo_testing.engrams.model import Model, RefusedError
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.samples import TRACES, queries, writes
from cosmo_testing.engrams.store import Store, stored

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

    from cosmo_core.contracts.engram import EngramGuarantees, ImprintReceipt
    from cosmo_testing.engrams.subject import EngramUnderTest

STEPS: Final = 20
"""How much happens in one try, at most."""
MOST_WRITES: Final = 6
"""How many writes are one step, at most."""


@REQUIREMENTS.proves("engram:model")
async def check_model(under_test: EngramUnderTest) -> None:
    """Let Hypothesis write, undo, commit and open again, and compare with the model after every step."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    loop = asyncio.get_running_loop()
    often = settings(
        max_examples=max(1, settings().max_examples // 5) * under_test.scale,
        stateful_step_count=STEPS,
        deadline=None,
        report_multiple_bugs=False,
        # With a database behind it, shrinking would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        # Hypothesis is not async: it drives the machine from a thread of its own.
        await asyncio.to_thread(run_state_machine_as_test, _machine(under_test, loop), settings=often)
    except Exception as error:
        what = str(error) if isinstance(error, UnmetError) else repr(error)
        # What was done until then is in the notes, which would be lost.
        raise UnmetError("\n".join([what, *getattr(error, "__notes__", ())])) from error


class Steps:
    """What the machine can do, each a coroutine in the session."""

    def __init__(self, under_test: EngramUnderTest, store: Store) -> None:
        self.model = Model()
        self._store = store
        self._shared = under_test.shared
        self._clients: list[Client] = []

    async def open(self) -> None:
        """Open the store: twice, where two can."""
        self._clients = [await self._store.open() for _ in range(1 + self._shared)]

    async def reopen(self) -> None:
        """Close everything, and open the store again."""
        await self._store.close_all()
        await self.open()

    @property
    def guarantees(self) -> EngramGuarantees:
        """What the Engram promises."""
        return self._clients[0].engram.guarantees

    async def write(self, write: Write) -> None:
        """Write, and compare what comes of it."""
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
        """Undo a trace, and compare how many writes that was."""
        undone, expected = await self._clients[0].roll_back(trace), self.model.roll_back(trace)
        need(undone == expected, f"roll_back({trace!r}) undid {undone} writes, and {expected} were to undo")

    async def commit(self, trace: str) -> None:
        """Commit a trace."""
        await self._clients[0].commit(trace)
        self.model.commit(trace)

    async def compare(self) -> None:
        """Look at all there is, in every way; the Engrams that are open take turns."""
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
            # How many writes there are to be before it is opened again.
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
