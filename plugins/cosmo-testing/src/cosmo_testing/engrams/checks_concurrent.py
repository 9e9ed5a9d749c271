"""Many at once: nothing is lost, and nobody sees half of anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.errors import EngramError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_rollback import need_picture, need_undone, picture
from cosmo_testing.engrams.client import (
    CROWD_S,
    Client,
    need_error,
    outcomes_of,
    together,
)
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cosmo_testing.engrams.subject import EngramUnderTest

CROWD: Final = 100
"""How many do the same thing at once."""
MERGES: Final = 50
READERS: Final = 4


def need_versions(versions: list[int | None], number: int) -> None:
    """Raise unless these are the versions that so many writes make, one after the other.

    Raises:
        UnmetError: One is missing, or comes twice.
    """
    expected = list(range(1, number + 1))
    ordered = sorted(version or 0 for version in versions)
    need(ordered == expected, f"{number} writes of one entry made the versions {ordered}")


@REQUIREMENTS.proves("engram:concurrent-upsert")
async def check_concurrent_upsert(under_test: EngramUnderTest) -> None:
    """Upsert one new key a hundred times at once."""
    async with opened(under_test) as client:
        receipts = await together(client.write("upsert", {"n": n}, "k") for n in range(CROWD))
        need(
            len({receipt.id for receipt in receipts}) == 1, f"{CROWD} upserts of one key made several entries"
        )
        need_versions([receipt.version for receipt in receipts], CROWD)
        need(len(await client.everything()) == 1, "there are more entries than receipts tell of")


@REQUIREMENTS.proves("engram:concurrent-add")
async def check_concurrent_add(under_test: EngramUnderTest) -> None:
    """Add one id a hundred times at once, and one key; then append to both."""
    async with opened(under_test) as client:
        await need_one_added(client, [client.write("add", {"id": "e", "n": n}) for n in range(CROWD)])
        await need_one_added(client, [client.write("add", {"n": n}, "k") for n in range(CROWD)])
        need(len(await client.everything()) == 2, "what was refused is there")
        receipts = await together(client.write("append", {"id": "e"}, "k") for _ in range(CROWD))
        ids = {receipt.id for receipt in receipts}
        need(len(ids) == CROWD and "e" not in ids, f"{CROWD} appends beside 'e' made {len(ids)} entries")
        need(len(await client.ids(merge_key="k")) == CROWD + 1, "what was appended at once is not there")


async def need_one_added(client: Client, adding: list[Any]) -> None:
    """Raise unless one of these is done, and the others end in ENGRAM_EXISTS.

    Raises:
        UnmetError: They end otherwise.
    """
    outcomes = await outcomes_of(adding)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        need_error(error, "ENGRAM_EXISTS", "an add of what is there")
    need(len(errors) == len(adding) - 1, f"{len(adding) - len(errors)} of {len(adding)} equal adds succeeded")


@REQUIREMENTS.proves("engram:concurrent-merge")
async def check_concurrent_merge(under_test: EngramUnderTest) -> None:
    """Merge into one entry fifty times at once: into a list, and under keys."""
    async with opened(under_test) as client:
        await client.write("add", {"id": "e"}, "k")
        await need_merged(client, [client] * MERGES)


async def need_merged(client: Client, clients: list[Client]) -> None:
    """Merge into one entry through each of these at once; raise unless all of it is there.

    Raises:
        UnmetError: Something is lost.
    """
    receipts = await together(
        each.write("merge", {"list": [n], f"key{n}": n}, "k") for n, each in enumerate(clients)
    )
    need_versions([1, *(receipt.version for receipt in receipts)], len(clients) + 1)
    (entry,) = await client.entries(merge_key="k")
    lost = {*range(len(clients))} - {*entry["list"]}
    need(not lost, f"of {len(clients)} merges at once {len(lost)} are lost")
    need(len(entry) == len(clients) + 2, f"of {len(clients)} keys that were merged at once some are lost")


@REQUIREMENTS.proves("engram:concurrent-own")
async def check_concurrent_own(under_test: EngramUnderTest) -> None:
    """Let a hundred write at once, each of whom looks for what it wrote, and deletes it."""
    async with opened(under_test) as client:
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


@REQUIREMENTS.proves("engram:concurrent-readers")
async def check_concurrent_readers(under_test: EngramUnderTest) -> None:
    """Read an entry in every way while it is written again and again."""
    async with opened(under_test) as client:
        queries: list[dict[str, Any]] = [{"merge_key": "k"}, {"tags": ["even"]}, {"tags": ["odd"]}]
        if client.engram.guarantees.text:
            queries += [{"text": "even"}, {"text": "odd"}]
        latest = [0] * len(queries)

        async def read() -> None:
            for number, query in enumerate(queries):
                entries = await client.entries(**query)
                need(len(entries) <= 1, f"{query} found one entry {len(entries)} times")
                need(bool(entries) or number > 0, f"{query} found nothing while the entry was written")
                for entry in entries:
                    fits = number == 0 or entry["text"] in str(query)
                    need(fits, f"{query} found {entry}, which was written at that time")
                    need(entry["n"] >= latest[number], f"{query} found {entry} after {latest[number]}")
                    latest[number] = entry["n"]

        async def write() -> None:
            for n in range(1, CROWD):
                parity = "odd" if n % 2 else "even"
                await client.write("upsert", {"n": n, "text": parity, "tags": [parity]}, "k")

        await client.write("add", {"id": "e", "n": 0, "text": "even", "tags": ["even"]}, "k")
        await _while_running(write(), read)


async def _while_running(work: Awaitable[None], read: Callable[[], Awaitable[None]]) -> None:
    """Let readers read until the work is done."""
    working = asyncio.ensure_future(work)

    async def keep_reading(pause: int) -> None:
        while not working.done():
            await read()
            # Out of step with the others, and with the writer; some stores give nobody else a turn.
            for _ in range(pause):
                await asyncio.sleep(0)

    try:
        await together(keep_reading(pause) for pause in range(1, READERS + 1))
        await bounded("writing while others read", working, CROWD_S)
    finally:
        working.cancel()


@REQUIREMENTS.proves("engram:rollback-whole")
async def check_rollback_whole(under_test: EngramUnderTest) -> None:
    """Count the entries of a trace while it is undone."""
    async with opened(under_test) as client:
        seen: set[int] = set()

        async def read() -> None:
            seen.add(len(await client.ids(tags=["t"])))

        for trace in map(str, range(5)):
            await together(client.write("add", {"tags": ["t"]}, trace=trace) for _ in range(20))
            await _while_running(need_undone(client, trace, 20), read)
        need(seen <= {0, 20}, f"20 entries were undone at once, and of them some saw {sorted(seen)}")


@REQUIREMENTS.proves("engram:rollback-concurrent")
async def check_rollback_concurrent(under_test: EngramUnderTest) -> None:
    """Let traces write to the same entries at once; undo each of them several times, all at once."""
    async with opened(under_test) as client:
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
