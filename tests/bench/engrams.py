"""The cost of an Engram over the driver of its database, and its speed in a full store."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

from cosmo_engram_postgres.testing import PostgresServer
from tests.bench import full_stores
from tests.bench.engram_kinds import IN_FLIGHT, Amount, Kind
from tests.bench.measure import MissingError
from tests.bench.note_stores import OPERATIONS, STORE_SIZE, Load, Opener, Operation, compare, on_bus
from tests.bench.postgres_stores import PostgresStores
from tests.bench.report import Figure, Pair
from tests.bench.sqlite_stores import SqliteStores
from tests.bench.stores import FilledStores, Stores


def figures(scale: float) -> Iterator[Figure]:
    """Yield the cost of imprint and recall on each database, and of recall in a full store."""
    amount = Amount.of(scale)
    with ExitStack() as running:
        # The generator is not closed if the bench is interrupted.
        atexit.register(running.close)
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))

        @cache
        def in_sqlite() -> FilledStores:
            return FilledStores(SqliteStores(folder))

        @cache
        def in_postgres() -> FilledStores:
            try:
                server = PostgresServer.start()
            except FileNotFoundError as error:
                raise MissingError(str(error)) from None
            return FilledStores(PostgresStores(running.enter_context(server).dsn))

        for kind in _kinds(in_sqlite, in_postgres):
            yield from _compared(kind, amount)
            yield from full_stores.figures(kind, amount)


def _kinds(in_sqlite: Callable[[], FilledStores], in_postgres: Callable[[], FilledStores]) -> Iterator[Kind]:
    yield Kind(
        name="sqlite",
        filled=in_sqlite,
        bare="sqlite3 in a thread",
        plain="sqlite3 that blocks the event loop",
        target="≥ 0.4",
        plain_target="",
        turns={"imprint": 640, "recall by key": 8_000, "recall by id": 8_000},
    )
    yield Kind(
        name="postgres",
        filled=in_postgres,
        bare="asyncpg with its pool's reset off",
        plain="asyncpg as it comes",
        target="",
        plain_target="≥ 0.5",
        turns={"imprint": 1_280, "recall by key": 4_000, "recall by id": 4_000},
    )


def _compared(kind: Kind, amount: Amount) -> Iterator[Figure]:
    for name, act in OPERATIONS.items():
        turns = max(1, int(kind.turns[name] * amount.scale))
        for in_flight, against, opened, target in (
            (IN_FLIGHT, kind.bare, _bare, kind.target),
            (IN_FLIGHT, kind.plain, _plain, kind.plain_target),
            (1, kind.bare, _bare, ""),
        ):
            how = f"{in_flight} in flight" if in_flight > 1 else "sequential"
            # Sequential operations take longer, so there are fewer of them.
            load = Load(turns if in_flight > 1 else max(1, turns // 4), in_flight)
            yield Figure(
                name=f"{kind.name}: {name}, {how}",
                unit="/s",
                against=against,
                measure=partial(_measure, kind, act, opened, load, amount.rounds),
                target=target,
            )


def _bare(stores: Stores) -> Opener:
    return partial(stores.bare, "bare")


def _plain(stores: Stores) -> Opener:
    return partial(stores.plain, "bare")


def _measure(kind: Kind, act: Operation, opened: Callable[[Stores], Opener], load: Load, rounds: int) -> Pair:
    filled = kind.filled()
    return asyncio.run(_compare(filled, act, opened(filled.stores), load, rounds))


async def _compare(filled: FilledStores, act: Operation, bare: Opener, load: Load, rounds: int) -> Pair:
    for store in ("ours", "bare"):
        await filled.fill(store, STORE_SIZE)
    return await compare(partial(on_bus, filled.stores.engram("ours")), bare, act, load, rounds)
