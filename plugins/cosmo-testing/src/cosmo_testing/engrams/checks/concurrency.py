"""Requirements on concurrent calls, cancelled calls and Engrams that share a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cosmo_core.contracts.engram import Query
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.engrams.checks.lifecycle import ended, nothing_left
from cosmo_testing.engrams.checks.queries import need_ids
from cosmo_testing.engrams.checks.rollback import NEW, OLD, need_picture, need_undone, picture
from cosmo_testing.engrams.client import (
    CROWD_S,
    Client,
    Store,
    for_client,
    for_store,
    need_error,
    outcomes_of,
    parsed,
    stored,
    together,
)
from cosmo_testing.engrams.subject import ROLLBACK, SHARED, EngramUnderTest

CROWD: Final = 100
"""The number of concurrent callers."""
MERGES: Final = 50
READERS: Final = 4


def need_versions(versions: list[int | None], number: int) -> None:
    """Check the versions of concurrent writes: one each, without gaps.

    Raises:
        UnmetError: A version is missing or duplicate.
    """
    expected = list(range(1, number + 1))
    ordered = sorted(version or 0 for version in versions)
    need(ordered == expected, f"{number} writes of one entry made the versions {ordered}")


@for_client(
    "engram:concurrent-upsert",
    "Each of a hundred concurrent upserts of one key MUST count, in one entry.",
)
async def check_concurrent_upsert(client: Client) -> None:
    """Upsert one new key a hundred times concurrently."""
    receipts = await together(client.write("upsert", {"n": n}, "k") for n in range(CROWD))
    need(len({receipt.id for receipt in receipts}) == 1, f"{CROWD} upserts of one key made several entries")
    need_versions([receipt.version for receipt in receipts], CROWD)
    need(len(await client.everything()) == 1, "there are more entries than receipts")


@for_client(
    "engram:concurrent-add",
    "One of a hundred equal concurrent adds MUST succeed; of a hundred appends, all MUST.",
)
async def check_concurrent_add(client: Client) -> None:
    """Add one id a hundred times concurrently, and one key; then append to both."""
    await need_one_added(client, [client.write("add", {"id": "e", "n": n}) for n in range(CROWD)])
    await need_one_added(client, [client.write("add", {"n": n}, "k") for n in range(CROWD)])
    need(len(await client.everything()) == 2, "a refused entry was written")
    receipts = await together(client.write("append", {"id": "e"}, "k") for _ in range(CROWD))
    ids = {receipt.id for receipt in receipts}
    need(len(ids) == CROWD and "e" not in ids, f"{CROWD} appends beside 'e' made {len(ids)} entries")
    need(len(await client.ids(merge_key="k")) == CROWD + 1, "a concurrent append is missing")


async def need_one_added(client: Client, adding: list[Any]) -> None:
    """Run adds concurrently; check that one succeeds and the others end in ENGRAM_EXISTS.

    Raises:
        UnmetError: They had other outcomes.
    """
    outcomes = await outcomes_of(adding)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        need_error(error, "ENGRAM_EXISTS", "an add of an existing entry")
    need(len(errors) == len(adding) - 1, f"{len(adding) - len(errors)} of {len(adding)} equal adds succeeded")


@for_client("engram:concurrent-merge", "Concurrent merges MUST NOT lose an update.")
async def check_concurrent_merge(client: Client) -> None:
    """Merge into one entry fifty times concurrently: into a list, and under keys."""
    await client.write("add", {"id": "e"}, "k")
    await need_merged(client, [client] * MERGES)


async def need_merged(client: Client, clients: list[Client]) -> None:
    """Merge into one entry through each client concurrently; check that no merge is lost.

    Raises:
        UnmetError: A merge is lost.
    """
    receipts = await together(
        each.write("merge", {"list": [n], f"key{n}": n}, "k") for n, each in enumerate(clients)
    )
    need_versions([1, *(receipt.version for receipt in receipts)], len(clients) + 1)
    (entry,) = await client.entries(merge_key="k")
    lost = {*range(len(clients))} - {*entry["list"]}
    need(not lost, f"of {len(clients)} merges at once {len(lost)} are lost")
    need(len(entry) == len(clients) + 2, f"of {len(clients)} keys that were merged at once some are lost")


@for_client("engram:concurrent-own", "A writer MUST find its own write while others write.")
async def check_concurrent_own(client: Client) -> None:
    """Let a hundred callers concurrently write, find and delete an entry each."""
    words = client.engram.guarantees.text

    async def write_and_look(n: int) -> None:
        for version in (1, 2):
            await client.write("upsert", {"id": f"e{n}", "tags": [f"t{n}"], "text": f"word{n}"}, f"k{n}")
            await need_ids(client, [f"e{n}"], tags=[f"t{n}"], merge_key=f"k{n}")
            if words:
                await need_ids(client, [f"e{n}"], text=f"word{n}")
            need(len(await client.ids(id=f"e{n}")) == 1, f"version {version} of e{n} is not there")
        await client.write("delete", {"id": f"e{n}"})
        await need_ids(client, [], id=f"e{n}")

    await together(write_and_look(n) for n in range(CROWD))


@for_client(
    "engram:concurrent-readers",
    "A reader MUST see one whole version of an entry while it is written.",
)
async def check_concurrent_readers(client: Client) -> None:
    """Read an entry with every kind of query while it is rewritten."""
    queries: list[dict[str, Any]] = [{"merge_key": "k"}, {"tags": ["even"]}, {"tags": ["odd"]}]
    if client.engram.guarantees.text:
        queries += [{"text": "even"}, {"text": "odd"}]
    # The newest number that a completed read has found, or a completed write has written.
    latest = 0

    async def read() -> None:
        nonlocal latest
        for number, query in enumerate(queries):
            # Taken before the read begins: of two reads at once, the later answer may be the older version.
            known = latest
            entries = await client.entries(**query)
            need(len(entries) <= 1, f"{query} found one entry {len(entries)} times")
            need(bool(entries) or number > 0, f"{query} found nothing while the entry was written")
            for entry in entries:
                fits = number == 0 or entry["text"] in str(query)
                need(fits, f"{query} found {entry}, which was written at that time")
                need(entry["n"] >= known, f"{query} found {entry} after {known}")
                latest = max(latest, entry["n"])

    async def write() -> None:
        nonlocal latest
        for n in range(1, CROWD):
            parity = "odd" if n % 2 else "even"
            await client.write("upsert", {"n": n, "text": parity, "tags": [parity]}, "k")
            latest = max(latest, n)

    await client.write("add", {"id": "e", "n": 0, "text": "even", "tags": ["even"]}, "k")
    await _while_running(write(), read)


async def _while_running(work: Awaitable[None], read: Callable[[], Awaitable[None]]) -> None:
    """Run readers until the work has ended."""
    working = asyncio.ensure_future(work)

    async def keep_reading(pause: int) -> None:
        while not working.done():
            await read()
            # At different times: some stores complete a call without a turn for other tasks.
            for _ in range(pause):
                await asyncio.sleep(0)

    try:
        await together(keep_reading(pause) for pause in range(1, READERS + 1))
        await bounded("writing while others read", working, CROWD_S)
    finally:
        working.cancel()


@for_client(
    "engram:rollback-whole",
    "A concurrent reader MUST see all of a `roll_back`, or none of it.",
    when=[ROLLBACK],
)
async def check_rollback_whole(client: Client) -> None:
    """Count the entries of a trace while the trace is undone."""
    seen: set[int] = set()

    async def read() -> None:
        seen.add(len(await client.ids(tags=["t"])))

    for trace in map(str, range(5)):
        await together(client.write("add", {"tags": ["t"]}, trace=trace) for _ in range(20))
        await _while_running(need_undone(client, trace, 20), read)
    need(seen <= {0, 20}, f"20 entries were undone together, and readers saw {sorted(seen)} of them")


@for_client(
    "engram:rollback-concurrent",
    "Concurrent calls of `roll_back` for concurrent traces MUST undo each write once.",
    when=[ROLLBACK],
)
async def check_rollback_concurrent(client: Client) -> None:
    """Let traces write to the same entries concurrently; undo each several times, concurrently."""
    for n in range(3):
        await client.write("add", {"id": f"e{n}", "text": "old", "tags": ["t"]}, f"k{n}")
    before = await picture(client)
    traces = [f"trace{n}" for n in range(10)]

    async def work(trace: str, n: int) -> None:
        op = ("upsert", "merge", "append", "delete")[n % 4]
        try:
            await client.write(op, {"text": "new"}, f"k{n % 3}", trace=trace)
        except EngramError as error:
            need_error(error, "ENGRAM_NOT_FOUND", op)

    await together(work(trace, n) for n in range(12) for trace in traces)
    await together(client.roll_back(trace) for trace in traces * 3)
    await need_picture(client, before, "ten traces were undone at once, and")
    for trace in traces:
        await need_undone(client, trace, 0)


TURNS: Final = (0, 1, 2, 3, 5, 8, 13, 34, 89, 233)
"""The numbers of turns of the event loop before a call is cancelled."""
STUCK_S: Final = 2.0
"""Seconds that a cancelled call may still run."""


async def _cancelled_after(turns: int, call: Awaitable[object], what: str) -> None:
    """Cancel a call after some turns, unless it has ended."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    in_time = task.cancel()
    done, _ = await asyncio.wait([task], timeout=STUCK_S)
    need(bool(done), f"{what} that was cancelled still runs")
    if in_time:
        swallowed = f"{what} was cancelled, and did not end as cancelled: CancelledError was swallowed"
        need(task.cancelled(), swallowed)
    else:
        task.result()


@for_client(
    "engram:cancel-imprint",
    "A cancelled write MUST be written or not written, and MUST be repeatable.",
)
async def check_cancel_imprint(client: Client) -> None:
    """Cancel writes, early and late; repeat them, and undo them."""
    for n, turns in enumerate(TURNS):
        entry = {"id": f"e{n}", "tags": ["t"], "text": f"word{n}"}
        write = parsed("add", entry, f"k{n}", trace="trace")
        await _cancelled_after(turns, client.engram.imprint(write), "an imprint")
        receipt = await client.imprint(write)
        need(receipt.version == 1, f"a repeated imprint after a cancelled one had the receipt {receipt}")
        queries: list[dict[str, Any]] = [{"id": f"e{n}"}, {"merge_key": f"k{n}"}]
        if client.engram.guarantees.text:
            queries.append({"text": f"word{n}"})
        for query in queries:
            await need_ids(client, [f"e{n}"], **query)
    need(len(await client.ids(tags=["t"])) == len(TURNS), "a cancelled and repeated write was written twice")
    if client.engram.guarantees.rollback:
        await need_undone(client, "trace", len(TURNS))


@for_client("engram:cancel-others", "A cancelled call MUST NOT affect another call.")
async def check_cancel_others(client: Client) -> None:
    """Cancel every second of a hundred concurrent calls; the others must succeed."""
    for turns in TURNS[1:5]:
        calls: list[Any] = []
        for n in range(25):
            imprint = client.engram.imprint(parsed("append", {"tags": ["cancelled"]}))
            calls.append(_cancelled_after(turns, imprint, "an imprint"))
            calls.append(client.write("upsert", {"id": f"kept{n}"}, f"kept{n}"))
            calls.append(_cancelled_after(turns, client.engram.recall(Query()), "a recall"))
            calls.append(client.ids(limit=1))
        await together(calls)
    versions = await together(client.write("merge", {}, f"kept{n}") for n in range(25))
    need(
        {each.version for each in versions} == {5},
        f"each was written 5 times, beside others that were cancelled; versions are {versions}",
    )


@requirement(
    "engram:cancel-close",
    "A cancelled `close` MUST be repeatable, and the repeated one MUST leave nothing behind.",
)
async def check_cancel_close(under_test: EngramUnderTest) -> None:
    """Cancel `close` of a busy Engram, early and late; then close it."""
    for turns in TURNS[:6]:
        async with stored(under_test) as store, nothing_left():
            client = await store.open()
            writing = [asyncio.ensure_future(client.write("append", {})) for _ in range(10)]
            await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled_after(turns, client.engram.close(), "a close")
            await store.close(client)
            await ended(writing)


@for_client(
    "engram:rollback-cancelled",
    "A cancelled `roll_back` or `commit` MUST have done everything or nothing.",
    when=[ROLLBACK],
)
async def check_rollback_cancelled(client: Client) -> None:
    """Cancel `roll_back` and `commit`, early and late; then undo the trace."""
    for n, turns in enumerate(TURNS):
        undoing, committing = f"undone{n}", f"kept{n}"
        await _write_five(client, undoing)
        await _cancelled_after(turns, client.engram.roll_back(undoing), "a roll_back")
        left = len(await client.ids(tags=[undoing]))
        need(left in {0, 5}, f"a roll_back was cancelled, and of 5 entries {left} are left")
        again = await client.roll_back(undoing)
        need(again in {0, 5}, f"after one that was cancelled, a roll_back undid {again} of 5 writes")
        await need_ids(client, [], tags=[undoing])
        await _write_five(client, committing)
        await _cancelled_after(turns, client.engram.commit(committing), "a commit")
        undone = await client.roll_back(committing)
        left = len(await client.ids(tags=[committing]))
        need(undone + left == 5 and left in {0, 5}, f"a commit was cancelled, and kept {left} of 5 writes")


async def _write_five(client: Client, trace: str) -> None:
    await together(client.write("add", {"tags": [trace]}, trace=trace) for _ in range(5))


KEYS: Final = 20
"""The number of new keys that two Engrams write concurrently."""


@for_store(
    "engram:shared-see",
    "A write through one Engram MUST be found at once through another Engram on the store.",
    when=[SHARED],
)
async def check_shared_see(store: Store) -> None:
    """Write through one Engram and read through the other, in turn."""
    one, other = await store.open(), await store.open()
    for op, entry, key in (
        ("add", OLD, "k"),
        ("upsert", NEW, "k"),
        ("merge", {"tags": ["t"], "more": "old"}, "k"),
        ("append", OLD, "k"),
        ("delete", {}, "k"),
        ("delete", {"id": "e"}, None),
    ):
        await one.write(op, entry, key)
        await need_picture(other, await picture(one), f"after {op} through one, through the other")
        one, other = other, one


@for_store(
    "engram:shared-once",
    "A write that is repeated through several Engrams MUST be written once.",
    when=[SHARED],
)
async def check_shared_once(store: Store) -> None:
    """Send the same writes through both Engrams concurrently, and again later."""
    clients = [await store.open(), await store.open()]
    for op in ("append", "upsert", "merge", "delete"):
        writes = [parsed(op, {"list": [op]}, f"k{n}", imprint_id=f"{op}{n}") for n in range(KEYS)]
        outcomes = await together(each.imprint(write) for write in writes for each in clients * 2)
        need(len({*outcomes}) == KEYS, f"{KEYS} times {op} through both have {len({*outcomes})} receipts")
    for client in clients:
        await need_ids(client, [])


@for_store(
    "engram:shared-concurrent",
    "Concurrent writes through two Engrams MUST have the result of writes through one.",
    when=[SHARED],
)
async def check_shared_concurrent(store: Store) -> None:
    """Write new keys and ids through both Engrams concurrently, and merge into one entry."""
    clients = [await store.open(), await store.open()]
    for n in range(KEYS):
        receipts = await together(each.write("upsert", {"n": n}, f"k{n}") for each in clients)
        need_versions([receipt.version for receipt in receipts], 2)
        for entry, key in (({"id": f"e{n}"}, None), ({}, f"l{n}")):
            await need_one_added(clients[0], [each.write("add", entry, key) for each in clients])
    for client in clients:
        need(len(await client.everything()) == 3 * KEYS, "there are more entries than receipts")
    await clients[0].write("add", {"id": "e"}, "k")
    await need_merged(clients[0], clients * (MERGES // 2))


@for_store(
    "engram:shared-rollback",
    "A trace MUST be undone, and committed, through any Engram on the store.",
    when=[SHARED, ROLLBACK],
)
async def check_shared_rollback(store: Store) -> None:
    """Write on traces through both Engrams; undo and commit each through the other."""
    one, other = await store.open(), await store.open()
    await one.write("add", OLD, "k")
    before = await picture(one)
    await one.write("upsert", NEW, "k", trace="one")
    await other.write("merge", {"by": "other"}, "k", trace="one")
    await other.write("upsert", NEW, "k", trace="two")
    await need_undone(other, "one", 0)
    await need_undone(one, "two", 1)
    for client in (one, other):
        await need_picture(client, before, "two traces were undone, and")
    await one.write("upsert", NEW, "k", trace="three")
    await other.commit("three")
    await need_undone(one, "three", 0)


@for_store(
    "engram:shared-close",
    "An Engram that closes MUST NOT affect another Engram on the store.",
    when=[SHARED],
)
async def check_shared_close(store: Store) -> None:
    """Close one Engram while both write; the other must continue."""
    leaving, staying = await store.open(), await store.open()
    calls: list[Any] = [leaving.write("add", {}) for _ in range(20)]
    calls += [staying.write("add", {"id": f"e{n}", "tags": ["t"]}) for n in range(20)]
    outcomes, _ = await together([_outcomes(calls), store.close(leaving)])
    failed = [each for each in (outcomes or [])[20:] if isinstance(each, BaseException)]
    need(not failed, f"while another one closed, writes ended in {failed[:3]}")
    need(len(await staying.ids(tags=["t"])) == 20, "a write while another Engram closed is missing")


async def _outcomes(calls: list[Any]) -> list[Any] | None:
    return await outcomes_of(calls)
