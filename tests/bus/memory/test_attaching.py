"""Attaching an Engram to a running Dendrite is all or nothing, and detaching it always ends in detached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Signal, SignalType, SynapseError, decode
from cosmo_core.plugins import Dropped, Forward, PluginManager, hookimpl


class Announcements:
    """Holds the outbound announcements of one type, then fails on them."""

    def __init__(self, type: SignalType) -> None:
        self.type = type
        self.broken = True
        self.seen = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    @hookimpl
    def cosmo_signal_middleware(self, direction: str) -> Any:
        return self.announce if direction == "outbound" else None

    async def announce(self, signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.type is self.type and signal.directed is not None and self.broken:
            self.seen.set()
            await self.released.wait()
            raise ZeroDivisionError
        return await forward(signal)

    def plugins(self) -> PluginManager:
        manager = PluginManager()
        manager.register(self, name="announcements")
        return manager


async def check_not_attached(
    dendrite: Dendrite, asker: Dendrite, engram: Any, before: set[str], patterns: Callable[[], set[str]]
) -> None:
    """Check that nothing is left of an Engram, and that it can be attached."""
    assert dendrite.engrams == []
    assert engram.life[-1] == "close"
    assert not [pattern for pattern in patterns() - before if "engram" in pattern]
    assert asker.find_engrams() == []
    again = type(engram)()
    await dendrite.attach_engram(again)
    assert (await asker.recall("ctx", {})).hits == []
    assert again.life == ["connect"]


async def test_engram_that_a_middleware_cannot_announce_is_not_attached(
    engram: Any, host: Any, patterns: Callable[[], set[str]]
) -> None:
    hook = Announcements(SignalType.REGISTER)
    dendrite, asker, kept = await host(plugins=hook.plugins()), await host(), engram()
    before = patterns()
    with pytest.raises(ZeroDivisionError):
        await dendrite.attach_engram(kept)
    assert kept.life == ["connect", "close"]
    hook.broken = False
    await check_not_attached(dendrite, asker, kept, before, patterns)


async def test_engram_that_the_bus_cannot_announce_is_not_attached(
    engram: Any, host: Any, connect_faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synapse = await connect_faulty()
    dendrite, kept = await host(synapse=synapse), engram()
    publish = synapse.publish

    async def refuse(subject: str, frame: bytes, **options: Any) -> None:
        if decode(frame).type in {SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER}:
            raise SynapseError("the bus is away")
        await publish(subject, frame, **options)

    with monkeypatch.context() as patch:
        patch.setattr(synapse, "publish", refuse)
        with pytest.raises(SynapseError, match="the bus is away"):
            await dendrite.attach_engram(kept)
    assert (dendrite.engrams, kept.life) == ([], ["connect", "close"])
    await dendrite.attach_engram(engram())
    assert (await dendrite.recall("ctx", {})).hits == []


async def test_engram_whose_attaching_is_cancelled_at_its_announcement_is_not_attached(
    engram: Any, host: Any, patterns: Callable[[], set[str]]
) -> None:
    hook = Announcements(SignalType.REGISTER)
    hook.released.clear()
    dendrite, asker, kept = await host(plugins=hook.plugins()), await host(), engram()
    before = patterns()

    async def attach() -> None:
        await dendrite.attach_engram(kept)

    attaching = asyncio.create_task(attach())
    async with asyncio.timeout(5):
        await hook.seen.wait()
        attaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attaching
    hook.broken = False
    await check_not_attached(dendrite, asker, kept, before, patterns)


async def test_engram_whose_attaching_is_cancelled_before_it_begins_is_not_attached(
    engram: Any, host: Any
) -> None:
    dendrite, kept = await host(), engram()
    attaching = asyncio.ensure_future(dendrite.attach_engram(kept))
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    assert (dendrite.engrams, kept.life) == ([], [])
    await dendrite.attach_engram(engram())
    assert (await dendrite.recall("ctx", {})).hits == []


async def test_engram_is_not_attached_when_stops_cannot_be_subscribed_to(
    engram: Any, host: Any, synapse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dendrite, kept = await host(), engram()
    subscribe = synapse.subscribe

    async def refuse(pattern: str, *arguments: Any, **options: Any) -> Any:
        if pattern.endswith(".STOP"):
            raise SynapseError("no memory")
        return await subscribe(pattern, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(synapse, "subscribe", refuse)
        with pytest.raises(SynapseError, match="no memory"):
            await dendrite.attach_engram(kept)
    assert (dendrite.engrams, kept.life) == ([], [])
    await dendrite.attach_engram(engram())
    assert (await dendrite.recall("ctx", {})).hits == []


async def test_stop_while_engram_is_announced_closes_it_without_errors_in_the_log(
    engram: Any, host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Announcements(SignalType.REGISTER)
    hook.released.clear()
    dendrite, kept = await host(plugins=hook.plugins()), engram()
    attaching = asyncio.ensure_future(dendrite.attach_engram(kept))
    async with asyncio.timeout(5):
        await hook.seen.wait()
        await dendrite.stop()
        with pytest.raises(asyncio.CancelledError):
            await attaching
    assert kept.life == ["connect", "close"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_engram_that_is_detached_while_it_is_announced_is_closed_once(engram: Any, host: Any) -> None:
    hook = Announcements(SignalType.REGISTER)
    hook.released.clear()
    dendrite, asker, kept = await host(plugins=hook.plugins()), await host(), engram()
    attaching = asyncio.ensure_future(dendrite.attach_engram(kept))
    async with asyncio.timeout(5):
        await hook.seen.wait()
        kept.gate = asyncio.Event()
        asking = asyncio.create_task(asker.recall("ctx", {}))
        await kept.asked.wait()
        detaching = asyncio.create_task(dendrite.detach_engram("ctx"))
        hook.released.set()
        with pytest.raises(ZeroDivisionError):
            await attaching
        kept.gate.set()
        await asking
        await detaching
    assert (dendrite.engrams, kept.life) == ([], ["connect", "close"])


@pytest.mark.parametrize("type", [SignalType.HEARTBEAT, SignalType.DEREGISTER])
async def test_engram_is_detached_although_its_announcement_fails(
    engram: Any, host: Any, type: SignalType
) -> None:
    hook, kept = Announcements(type), engram()
    dendrite = await host(kept, plugins=hook.plugins())
    with pytest.raises(ZeroDivisionError):
        await dendrite.detach_engram("ctx")
    assert (dendrite.engrams, kept.life) == ([], ["connect", "close"])
    hook.broken = False
    await dendrite.attach_engram(engram())
    assert (await dendrite.recall("ctx", {})).hits == []
