"""Hosting Engrams: attaching, serving, detaching and closing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from cosmo_core import Dendrite, EngramError, LifecycleError, MalformedSignalError, SynapseError
from cosmo_core.plugins import PluginManager


async def test_engram_connects_at_start_and_closes_at_stop(engram: Any, host: Any) -> None:
    kept = engram()
    dendrite = await host(kept)
    assert (dendrite.engrams, kept.life) == ([kept], ["connect"])
    await dendrite.stop()
    assert kept.life == ["connect", "close"]


async def test_engram_can_be_attached_to_a_running_dendrite(engram: Any, host: Any) -> None:
    dendrite, asker = await host(), await host()
    await dendrite.attach_engram(engram())
    await asker.imprint("ctx", op="append", entry={"a": 1})
    assert len((await asker.recall("ctx", {})).hits) == 1
    assert [record.engram_id for record in asker.find_engrams("context")] == ["ctx"]


async def test_attach_engram_completes_without_await(engram: Any, host: Any) -> None:
    dendrite = await host()
    dendrite.attach_engram(engram())
    await dendrite.wait_until_ready(engram="ctx", timeout_s=5)
    assert (await dendrite.recall("ctx", {})).hits == []


async def test_engram_can_be_detached_from_a_running_dendrite(engram: Any, host: Any) -> None:
    kept = engram()
    dendrite, asker = await host(kept), await host()
    kept.gate = asyncio.Event()
    asking = asyncio.create_task(asker.recall("ctx", {}))
    await kept.asked.wait()
    leaving = asyncio.create_task(dendrite.detach_engram("ctx"))
    kept.gate.set()
    # Earlier requests are answered.
    assert (await asking).hits == []
    await leaving
    assert (kept.life, dendrite.engrams) == (["connect", "close"], [])
    with pytest.raises(EngramError) as caught:
        await asker.recall("ctx", {})
    assert caught.value.code == "ENGRAM_NO_ROUTE"
    await dendrite.attach_engram(engram())
    assert (await asker.recall("ctx", {})).hits == []


async def test_failing_connect_fails_the_start(engram: Any, synapse: Any) -> None:
    sound, broken = engram("sound"), engram("broken")

    async def connect() -> None:
        raise EngramError("the disk is gone")

    broken.connect = connect
    dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
    dendrite.attach_engram(sound)
    dendrite.attach_engram(broken)
    with pytest.raises(EngramError, match="the disk is gone"):
        await dendrite.start()
    assert sound.life == ["connect", "close"]
    assert broken.life == ["close"]


async def test_failing_connect_on_a_running_dendrite_does_not_attach(engram: Any, host: Any) -> None:
    dendrite, broken = await host(), engram()

    async def connect() -> None:
        raise EngramError("the disk is gone")

    broken.connect = connect
    with pytest.raises(EngramError, match="the disk is gone"):
        await dendrite.attach_engram(broken)
    assert dendrite.engrams == []
    await dendrite.attach_engram(engram())


async def test_failing_subscription_closes_the_engram(
    engram: Any, host: Any, synapse: Any, monkeypatch: pytest.MonkeyPatch, patterns: Any
) -> None:
    dendrite, kept, before = await host(), engram(), patterns()
    subscribe = synapse.subscribe

    async def refuse(pattern: str, *arguments: Any, **options: Any) -> Any:
        if ".IMPRINT.engram." in pattern:
            raise SynapseError("no memory")
        return await subscribe(pattern, *arguments, **options)

    monkeypatch.setattr(synapse, "subscribe", refuse)
    with pytest.raises(SynapseError, match="no memory"):
        await dendrite.attach_engram(kept)
    assert kept.life == ["connect", "close"]
    assert not [pattern for pattern in patterns() - before if "engram" in pattern]


async def test_other_object_or_invalid_name_is_refused(engram: Any, synapse: Any) -> None:
    dendrite = Dendrite(synapse=synapse)
    with pytest.raises(TypeError, match=r"cosmo_core\.Engram"):
        dendrite.attach_engram(object())  # type: ignore[arg-type]
    for name in ({"engram_id": "a.b"}, {"engram_kind": "a b"}):
        with pytest.raises(MalformedSignalError):
            dendrite.attach_engram(_Named(engram(), **name))
    dendrite.attach_engram(engram())
    with pytest.raises(ValueError, match="attached to this Dendrite already"):
        dendrite.attach_engram(engram())


class _Named:
    """An Engram with another id or kind."""

    def __init__(self, engram: Any, engram_id: str = "ctx", engram_kind: str = "context") -> None:
        self._engram = engram
        self.engram_id = engram_id
        self.engram_kind = engram_kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engram, name)


async def test_stopped_dendrite_refuses_engrams_and_requests(engram: Any, host: Any) -> None:
    dendrite = await host()
    await dendrite.stop()
    with pytest.raises(LifecycleError):
        dendrite.attach_engram(engram())
    with pytest.raises(LifecycleError):
        await dendrite.detach_engram("ctx")
    with pytest.raises(LifecycleError):
        await dendrite.recall("ctx", {})
    with pytest.raises(LifecycleError):
        await dendrite.imprint("ctx", op="append")


async def test_failing_close_is_logged(engram: Any, host: Any, caplog: pytest.LogCaptureFixture) -> None:
    kept = engram()
    dendrite = await host(kept)
    close = kept.close

    async def fail() -> None:
        await close()
        raise RuntimeError("no")

    kept.close = fail
    with caplog.at_level(logging.ERROR):
        await dendrite.stop()
    assert "did not close cleanly" in caplog.text


async def test_neurons_can_imprint_while_the_dendrite_stops(engram: Any, host: Any, start: Any) -> None:
    from cosmo_core import Axon, EngramBinding

    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any], *, imprint: Any) -> Any:
        begun.set()
        await go_on.wait()
        return (await imprint("ctx", op="append", entry={})).version

    dendrite, asker = await host(), await host()
    await dendrite.attach_engram(engram())
    await dendrite.add_axon(Axon(neuron_id="slow", neuron_fn=slow, engrams=[EngramBinding("ctx")]))
    await asker.wait_until_ready(neuron="slow")
    pathway = await asker.dispatch(neuron="slow", input={})
    await begun.wait()
    stopping = asyncio.create_task(dendrite.stop())
    await asyncio.sleep(0)
    go_on.set()
    reply = await pathway.wait()
    assert reply.payload == {"output": {"value": 1}}
    await stopping


async def test_running_request_is_answered_while_the_dendrite_stops(engram: Any, host: Any) -> None:
    kept = engram()
    dendrite, asker = await host(kept), await host()
    kept.gate = asyncio.Event()
    asking = asyncio.create_task(asker.recall("ctx", {}))
    await kept.asked.wait()
    stopping = asyncio.create_task(dendrite.stop())
    await asyncio.sleep(0)
    kept.gate.set()
    assert (await asking).hits == []
    await stopping


async def test_waiting_caller_gets_an_error_when_its_dendrite_stops(
    engram: Any, host: Any, synapse: Any
) -> None:
    await synapse.subscribe("cosmonapse.test.RECALL.engram.deaf", lambda _: None, queue_group="deaf")
    asker = await host()
    asking = asyncio.create_task(asker.recall("deaf", {}, timeout_s=30))
    await asyncio.sleep(0)
    await asker.stop()
    with pytest.raises(EngramError) as caught:
        await asking
    assert caught.value.code == "ENGRAM_STOPPED"


async def test_engram_that_is_being_detached_is_deregistered_once(
    engram: Any, host: Any, synapse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = engram()
    dendrite, asker = await host(kept), await host()
    kept.gate = asyncio.Event()
    asking = asyncio.create_task(asker.recall("ctx", {}))
    await kept.asked.wait()
    sent: list[str] = []
    publish = synapse.publish

    async def record(subject: str, *args: Any, **options: Any) -> None:
        sent.append(subject.rpartition(".")[2])
        await publish(subject, *args, **options)

    monkeypatch.setattr(synapse, "publish", record)
    leaving = asyncio.create_task(dendrite.detach_engram("ctx"))
    await asyncio.sleep(0)
    with pytest.raises(KeyError):
        await dendrite.detach_engram("ctx")
    assert "DEREGISTER" not in sent
    kept.gate.set()
    await asking
    await leaving
    assert sent.count("DEREGISTER") == 1
