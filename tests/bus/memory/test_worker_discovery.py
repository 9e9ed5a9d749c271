"""A worker finds Engrams although it listens to no announcements before it looks for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import Axon, EngramBinding, EngramError

ANNOUNCEMENT = "cosmonapse.test.REGISTER"
KIND = "context"


async def remember(input: dict[str, Any], context: list[Any], *, recall: Any) -> dict[str, Any]:
    """Return the Engrams that answer."""
    return {"engrams": sorted((await recall("memory", {})).engrams)}


def axon(**binding: Any) -> Axon:
    engrams = [EngramBinding("memory", recall_mode="all", **binding)]
    return Axon(neuron_id="remember", neuron_fn=remember, engrams=engrams)


async def test_engram_by_id_is_found_without_listening(engram: Any, host: Any, patterns: Any) -> None:
    await host(engram("one"), role="worker")
    worker = await host(role="worker")
    await worker.imprint("one", op="append", entry={"a": 1})
    assert len((await worker.recall("one", {})).hits) == 1
    assert ANNOUNCEMENT not in patterns()


async def test_first_recalls_by_kind_reach_every_engram(engram: Any, host: Any) -> None:
    for name in ("one", "two", "three"):
        await host(engram(name), role="worker")
    # It hosts one of the kind as well, which it knows at once.
    worker = await host(engram("four"), role="worker", discovery_s=0.01)
    # The second begins while the first waits for announcements.
    recalls = (worker.recall(None, {}, kind=KIND, mode="all") for _ in range(2))
    for result in await asyncio.gather(*recalls):
        assert sorted(result.engrams) == ["four", "one", "three", "two"]
    assert sorted(record.engram_id for record in worker.find_engrams(KIND)) == ["four", "one", "three", "two"]


async def test_engram_without_a_host_is_looked_for(engram: Any, host: Any) -> None:
    worker = await host(role="worker", discovery_s=10)
    asking = asyncio.create_task(worker.recall("one", {}))
    await host(engram("one"), role="worker")
    assert (await asking).hits == []
    lone = await host(role="worker", discovery_s=0)
    with pytest.raises(EngramError) as raised:
        await lone.recall("two", {})
    assert raised.value.code == "ENGRAM_NO_ROUTE"


@pytest.mark.parametrize(
    ("binding", "listens"),
    [({"directed_id": "one"}, False), ({"directed_type": KIND}, True)],
    ids=["by-id", "by-kind"],
)
async def test_neuron_that_binds_a_kind_makes_its_worker_listen_from_the_start(
    engram: Any, host: Any, start: Any, patterns: Any, binding: dict[str, Any], listens: bool
) -> None:
    for name in ("one", "two"):
        await host(engram(name), role="worker")
    await start(axon(**binding), role="worker")
    assert (ANNOUNCEMENT in patterns()) is listens
    caller = await host()
    answer = await caller.dispatch_and_wait(neuron="remember", input={})
    assert answer.payload["output"] == {"engrams": ["one", "two"] if listens else ["one"]}
