"""Several Engrams on one store are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.checks_concurrent import (
    MERGES,
    need_merged,
    need_one_added,
    need_versions,
)
from cosmo_testing.engrams.checks_recall import need_ids
from cosmo_testing.engrams.checks_rollback import NEW, OLD, need_picture, need_undone, picture
from cosmo_testing.engrams.client import outcomes_of, parsed, together
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import stored

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest

KEYS: Final = 20
"""How many new keys two Engrams write at once."""


@REQUIREMENTS.proves("engram:shared-see")
async def check_shared_see(under_test: EngramUnderTest) -> None:
    """Write through one and read through the other, by turns."""
    async with stored(under_test) as store:
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


@REQUIREMENTS.proves("engram:shared-once")
async def check_shared_once(under_test: EngramUnderTest) -> None:
    """Let the same writes come through both at once, and again later."""
    async with stored(under_test) as store:
        clients = [await store.open(), await store.open()]
        for op in ("append", "upsert", "merge", "delete"):
            writes = [parsed(op, {"list": [op]}, f"k{n}", imprint_id=f"{op}{n}") for n in range(KEYS)]
            outcomes = await together(each.imprint(write) for write in writes for each in clients * 2)
            need(len({*outcomes}) == KEYS, f"{KEYS} times {op} through both have {len({*outcomes})} receipts")
        for client in clients:
            await need_ids(client, [])


@REQUIREMENTS.proves("engram:shared-concurrent")
async def check_shared_concurrent(under_test: EngramUnderTest) -> None:
    """Write new keys and ids through both at once, and merge into one entry."""
    async with stored(under_test) as store:
        clients = [await store.open(), await store.open()]
        for n in range(KEYS):
            receipts = await together(each.write("upsert", {"n": n}, f"k{n}") for each in clients)
            need_versions([receipt.version for receipt in receipts], 2)
            for entry, key in (({"id": f"e{n}"}, None), ({}, f"l{n}")):
                await need_one_added(clients[0], [each.write("add", entry, key) for each in clients])
        for client in clients:
            need(len(await client.everything()) == 3 * KEYS, "there are more entries than receipts tell of")
        await clients[0].write("add", {"id": "e"}, "k")
        await need_merged(clients[0], clients * (MERGES // 2))


@REQUIREMENTS.proves("engram:shared-rollback")
async def check_shared_rollback(under_test: EngramUnderTest) -> None:
    """Write on traces through both; undo and commit each through the other."""
    async with stored(under_test) as store:
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


@REQUIREMENTS.proves("engram:shared-close")
async def check_shared_close(under_test: EngramUnderTest) -> None:
    """Close one while both write; the other goes on."""
    async with stored(under_test) as store:
        leaving, staying = await store.open(), await store.open()
        calls: list[Any] = [leaving.write("add", {}) for _ in range(20)]
        calls += [staying.write("add", {"id": f"e{n}", "tags": ["t"]}) for n in range(20)]
        outcomes, _ = await together([_outcomes(calls), store.close(leaving)])
        failed = [each for each in (outcomes or [])[20:] if isinstance(each, BaseException)]
        need(not failed, f"while another one closed, writes ended in {failed[:3]}")
        need(len(await staying.ids(tags=["t"])) == 20, "what was written while another closed is not there")


async def _outcomes(calls: list[Any]) -> list[Any] | None:
    return await outcomes_of(calls)
