"""Lookups: recalls by an id or by a merge key alone. Those that wait for others become one statement."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal

import attrs

from cosmo_core.contracts.engram import Findings
from cosmo_core.errors import EngramError
from cosmo_engram_postgres.calls import Calls
from cosmo_engram_postgres.finding import Statement, findings
from cosmo_engram_postgres.schema import Schema

AT_ONCE: Final = 2
"""Statements of lookups that run at once if none takes longer than `PATIENCE_S`; further lookups wait."""

PATIENCE_S: Final = 0.02
"""Seconds for which lookups wait for statements that run; then they use a further connection."""

MAX_BATCH: Final = 32
"""The most lookups that become one statement."""

_BATCH: Final = """
SELECT number, id, document
FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS wanted (value, most, number)
CROSS JOIN LATERAL (
    SELECT id, document, written FROM @schema@.entries
    WHERE @column@ = value ORDER BY written DESC LIMIT most
) AS found
ORDER BY number, written DESC
"""


def batch_statement(schema: Schema, column: Literal["id", "merge_key"]) -> str:
    """Return the statement for many lookups: of an array of values, and of their limits."""
    return schema.fill(_BATCH).replace("@column@", column)


@attrs.frozen(eq=False)
class _Lookup:
    """A lookup that waits.

    Attributes:
        value: The value to look for.
        limit: The most entries to return.
        alone: The statement that does only this lookup.
        result: The result.
    """

    value: str
    limit: int
    alone: Statement
    result: asyncio.Future[Findings]


class Lookups:
    """Does the lookups by one column.

    Each sees what was committed before it began. One that fails or is cancelled does not affect another.

    Args:
        calls: The calls to the database.
        schema: The schema of the Engram.
        column: The column.
    """

    def __init__(self, calls: Calls, schema: Schema, column: Literal["id", "merge_key"]) -> None:
        self._calls = calls
        self._sql = batch_statement(schema, column)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Lookup] = deque()
        self._batches: dict[asyncio.Task[None], list[_Lookup]] = {}
        self._running = 0
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    async def find(self, value: str, limit: int, alone: Statement) -> Findings:
        """Return the newest entries with a value in the column.

        Args:
            value: The value.
            limit: The most entries to return.
            alone: The statement that does only this lookup.

        Raises:
            EngramError: The call failed, or the Engram is closed.
        """
        if self._running or self._waiting:
            return await self._calls.limited(lambda: self._find_later(value, limit, alone))
        self._running += 1
        try:
            return findings(await self._calls.run(alone.fetch), limit)
        finally:
            self._ended()

    async def _find_later(self, value: str, limit: int, alone: Statement) -> Findings:
        lookup = _Lookup(value, limit, alone, self._loop.create_future())
        self._waiting.append(lookup)
        self._schedule()
        try:
            return await lookup.result
        except asyncio.CancelledError:
            for task, batch in self._batches.items():
                if all(each.result.done() for each in batch):
                    task.cancel()
            raise

    def _schedule(self) -> None:
        if not self._waiting or self._is_scheduled:
            return
        if self._running < AT_ONCE:
            # In the next turn, so that all lookups of this one become one statement.
            self._is_scheduled = True
            self._loop.call_soon(self._start)
        elif self._timer is None:
            self._timer = self._loop.call_later(PATIENCE_S, self._start_late)

    def _start_late(self) -> None:
        self._timer = None
        self._start()

    def _start(self) -> None:
        self._is_scheduled = False
        batch: list[_Lookup] = []
        while self._waiting and len(batch) < MAX_BATCH:
            lookup = self._waiting.popleft()
            if not lookup.result.done():
                batch.append(lookup)
        if batch:
            self._running += 1
            task = self._loop.create_task(self._run(batch))
            self._batches[task] = batch
            task.add_done_callback(self._batch_ended)
        self._schedule()

    def _batch_ended(self, task: asyncio.Task[None]) -> None:
        for lookup in self._batches.pop(task):
            # Only if the event loop is ending.
            lookup.result.cancel()
        self._ended()

    def _ended(self) -> None:
        self._running -= 1
        self._schedule()

    async def _run(self, batch: Sequence[_Lookup]) -> None:
        wanted = Statement(self._sql, [[each.value for each in batch], [each.limit + 1 for each in batch]])
        try:
            found = await self._calls.run(wanted.fetch, counted=False)
        except EngramError as error:
            if error.recoverable:
                for lookup in batch:
                    _fail(lookup, error)
                return
            # The value of one of them may be the cause.
            for lookup in batch:
                await self._run_alone(lookup)
            return
        rows = {number: list(group) for number, group in groupby(found, itemgetter(0))}
        for number, lookup in enumerate(batch, 1):
            _succeed(lookup, [row[1:] for row in rows.get(number, ())])

    async def _run_alone(self, lookup: _Lookup) -> None:
        try:
            rows = await self._calls.run(lookup.alone.fetch, counted=False)
        except EngramError as error:
            _fail(lookup, error)
        else:
            _succeed(lookup, rows)


def _succeed(lookup: _Lookup, rows: list[Any]) -> None:
    if not lookup.result.done():
        lookup.result.set_result(findings(rows, lookup.limit))


def _fail(lookup: _Lookup, error: EngramError) -> None:
    if not lookup.result.done():
        lookup.result.set_exception(EngramError(str(error), code=error.code, recoverable=error.recoverable))
