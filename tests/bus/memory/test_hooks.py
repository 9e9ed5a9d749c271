"""Hooks and memory: dropped Signals, and Signals that observers see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import EngramError, Signal, SignalType
from cosmo_core.plugins import Dropped, Forward, PluginManager, SignalEvent, hookimpl


class Drops:
    """Drops, or fails on, every Signal of one type in one direction."""

    def __init__(self, direction: str, type: SignalType, *, fails: bool = False) -> None:
        self.direction = direction
        self.type = type
        self.fails = fails

    @hookimpl
    def cosmo_signal_middleware(
        self, dendrite: Any, direction: str
    ) -> Callable[[Signal, Forward], Awaitable[Signal | Dropped]] | None:
        async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
            if signal.type is not self.type:
                return await forward(signal)
            if self.fails:
                raise RuntimeError("secret")
            return Dropped("no memory today")

        return drop if direction == self.direction else None


def plugins(*hooks: object) -> PluginManager:
    manager = PluginManager()
    for number, hook in enumerate(hooks):
        manager.register(hook, name=f"hook{number}")
    return manager


@pytest.mark.parametrize("fails", [False, True], ids=["drops", "fails"])
@pytest.mark.parametrize(
    ("side", "direction", "type"),
    [
        ("host", "inbound", SignalType.RECALL),
        ("host", "outbound", SignalType.RECALLED),
        ("asker", "inbound", SignalType.RECALLED),
    ],
)
async def test_dropped_signal_is_an_error_at_once(
    engram: Any, host: Any, side: str, direction: str, type: SignalType, fails: bool
) -> None:
    used = {"host": plugins(), "asker": plugins(), side: plugins(Drops(direction, type, fails=fails))}
    kept = engram()
    await host(kept, plugins=used["host"])
    asker = await host(plugins=used["asker"])
    if side == "host" and direction == "outbound":
        # The error has the same type and is dropped as well, so the request times out.
        with pytest.raises(EngramError) as caught:
            await asker.recall("ctx", {}, timeout_s=0.1)
        assert caught.value.code == "ENGRAM_TIMEOUT"
        return
    with pytest.raises(EngramError) as caught:
        await asker.recall("ctx", {}, timeout_s=30)
    assert caught.value.code == "ENGRAM_REJECTED"
    assert "secret" not in str(caught.value)
    assert kept.asked.is_set() == (side == "asker")


class DropsHits:
    """Drops every RECALLED with hits."""

    @hookimpl
    def cosmo_signal_middleware(
        self, dendrite: Any, direction: str
    ) -> Callable[[Signal, Forward], Awaitable[Signal | Dropped]]:
        async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
            return Dropped("not these") if signal.payload.get("hits") else await forward(signal)

        return drop


async def test_dropped_answer_is_replaced_by_an_error(engram: Any, host: Any) -> None:
    await host(engram(), plugins=plugins(DropsHits()))
    asker = await host()
    await asker.imprint("ctx", op="append", entry={})
    with pytest.raises(EngramError, match="not these") as caught:
        await asker.recall("ctx", {}, timeout_s=30)
    assert caught.value.code == "ENGRAM_REJECTED"


async def test_request_dropped_by_its_own_dendrite_is_not_sent(engram: Any, host: Any) -> None:
    from cosmo_core import RejectedError

    kept = engram()
    await host(kept)
    asker = await host(plugins=plugins(Drops("outbound", SignalType.RECALL)))
    with pytest.raises(RejectedError, match="no memory today"):
        await asker.recall("ctx", {})
    assert not kept.asked.is_set()


class Watches:
    """Records the events that observers see."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def cosmo_signal_observers(self, dendrite: Any) -> Callable[[SignalEvent], None]:
        def see(event: SignalEvent) -> None:
            if event.signal is not None and event.signal.type is SignalType.RECALLED:
                self.seen.append((event.kind, event.signal.payload["hits"]))

        return see


async def test_observers_see_decoded_entries_on_both_sides(engram: Any, host: Any) -> None:
    watches = Watches()
    await host(engram(), plugins=plugins(watches))
    asker = await host(plugins=plugins(watches))
    receipt = await asker.imprint("ctx", op="append", entry={"a": [1, {"b": None}]})
    await asker.recall("ctx", {})
    hits = [{"id": receipt.id, "entry": {"a": [1, {"b": None}]}, "score": 1.0}]
    assert watches.seen == [("sent", hits), ("received", hits)]
