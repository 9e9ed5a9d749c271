"""What an Engram costs over the driver of its database, and whether it minds how much it keeps."""

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
from tests.bench.keeping import ACTS, KEPT, Act, Flight, Opened, compare, on_bus
from tests.bench.kinds import IN_FLIGHT, Amount, Kind
from tests.bench.measure import MissingError
from tests.bench.postgres_stores import PostgresStores
from tests.bench.report import Figure, Pair
from tests.bench.sqlite_stores import SqliteStores
from tests.bench.stores import Filled, Stores


def figures(scale: float) -> Iterator[Figure]:
    """Yield what imprint and recall cost on each database, and what recall costs in a store that is full."""
    amount = Amount.of(scale)
    with ExitStack() as running:
        # Nobody ends this generator if the bench is broken off.
        atexit.register(running.close)
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))

        @cache
        def in_sqlite() -> Filled:
            return Filled(SqliteStores(folder))

        @cache
        def in_postgres() -> Filled:
            try:
                server = PostgresServer.start()
            except FileNotFoundError as error:
                raise MissingError(str(error)) from None
            return Filled(PostgresStores(running.enter_context(server).dsn))

        for kind in _kinds(in_sqlite, in_postgres):
            yield from _compared(kind, amount)
            yield from full_stores.figures(kind, amount)


def _kinds(in_sqlite: Callable[[], Filled], in_postgres: Callable[[], Filled]) -> Iterator[Kind]:
    yield Kind(
        name="sqlite",
        filled=in_sqlite,
        bare="sqlite3 in a thread",
        plain="sqlite3 that blocks the event loop",
        reach="≥ 0.4",
        plain_reach="",
        turns={"imprint": 640, "recall by key": 8_000, "recall by id": 8_000},
    )
    yield Kind(
        name="postgres",
        filled=in_postgres,
        bare="asyncpg with its pool's reset off",
        plain="asyncpg as it comes",
        reach="",
        plain_reach="≥ 0.5",
        turns={"imprint": 1_280, "recall by key": 4_000, "recall by id": 4_000},
    )


def _compared(kind: Kind, amount: Amount) -> Iterator[Figure]:
    for name, act in ACTS.items():
        turns = max(1, int(kind.turns[name] * amount.scale))
        for in_flight, against, opened, reach in (
            (IN_FLIGHT, kind.bare, _bare, kind.reach),
            (IN_FLIGHT, kind.plain, _plain, kind.plain_reach),
            (1, kind.bare, _bare, ""),
        ):
            how = f"{in_flight} in flight" if in_flight > 1 else "sequential"
            # One at a time, each takes longer.
            flight = Flight(turns if in_flight > 1 else max(1, turns // 4), in_flight)
            yield Figure(
                name=f"{kind.name}: {name}, {how}",
                unit="/s",
                against=against,
                measure=partial(_measure, kind, act, opened, flight, amount.rounds),
                reach=reach,
            )


def _bare(stores: Stores) -> Opened:
    return partial(stores.bare, "bare")


def _plain(stores: Stores) -> Opened:
    return partial(stores.plain, "bare")


def _measure(kind: Kind, act: Act, opened: Callable[[Stores], Opened], flight: Flight, rounds: int) -> Pair:
    filled = kind.filled()
    return asyncio.run(_compare(filled, act, opened(filled.stores), flight, rounds))


async def _compare(filled: Filled, act: Act, bare: Opened, flight: Flight, rounds: int) -> Pair:
    for store in ("ours", "bare"):
        await filled.fill(store, KEPT)
    return await compare(partial(on_bus, filled.stores.engram("ours")), bare, act, flight, rounds)
