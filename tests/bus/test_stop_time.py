"""Stopping takes the grace period and a second at most, whatever the bus, a Neuron or an extension does.

Time is virtual: an idle event loop jumps to its next timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, SynapseError
from cosmo_core.contracts.engram import EngramGuarantees
from cosmo_core.dendrite.extension import Extension
from cosmo_core.extensions.auctions.extension import Auctions
from cosmo_core.extensions.memory.extension import Memory
from cosmo_core.extensions.watching.extension import Watching
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import VirtualTimeLoop
from tests.bus.common import echo

GRACE_S = 2.0
EXTENSIONS = (Auctions, Memory, Watching)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        # What was abandoned ends later.
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.sleep(10))
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


class BrokenSynapse(MemorySynapse):
    """A memory Synapse that can break, as one whose bus is killed or suspended."""

    fault: str | None = None

    async def _break(self) -> None:
        if self.fault == "hangs":
            await asyncio.Event().wait()
        elif self.fault == "fails late":
            await asyncio.sleep(5)
            raise SynapseError("the bus did not answer within 5 s")
        elif self.fault == "fails":
            raise SynapseError("the bus is gone")
        elif self.fault == "cannot be cancelled":
            until = now() + 5
            while now() < until:
                try:
                    await asyncio.sleep(until - now())
                except asyncio.CancelledError:
                    continue

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await self._break()
        await super().publish(subject, frame, **options)

    async def subscribe(self, pattern: str, handler: Any, **options: Any) -> Any:
        await self._break()
        inner = await super().subscribe(pattern, handler, **options)
        unsubscribe = inner.unsubscribe

        async def unsubscribe_or_break() -> None:
            await self._break()
            await unsubscribe()

        inner.unsubscribe = unsubscribe_or_break  # type: ignore[method-assign]
        return inner


class Neuron:
    """A Neuron that never answers, and takes long to clean up and to close."""

    def __init__(self, clean_s: float = 0.0) -> None:
        self.running = asyncio.Event()
        self.closed = False
        self.clean_s = clean_s

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.clean_s)

    async def aclose(self) -> None:
        await asyncio.sleep(self.clean_s)
        self.closed = True


class Notes:
    """An Engram without entries, and without a thread, which would take real time."""

    engram_id, engram_kind, guarantees = (
        "notes",
        "context",
        EngramGuarantees(durable=False, text=False, vectors=False, rollback=True, keeps_writes=0),
    )

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    async def recall(self, query: Any) -> Any:
        raise NotImplementedError

    async def imprint(self, write: Any) -> Any:
        raise NotImplementedError

    async def commit(self, trace_id: str) -> None: ...

    async def roll_back(self, trace_id: str) -> int:
        return 0


async def connected(neurons: list[Neuron], **options: Any) -> tuple[BrokenSynapse, Dendrite]:
    synapse = BrokenSynapse()
    await synapse.connect()
    options = {"plugins": PluginManager(), "extensions": EXTENSIONS, "grace_s": GRACE_S, **options}
    dendrite = Dendrite(synapse=synapse, **options)
    for n, neuron in enumerate(neurons):
        dendrite.attach_axon(Axon(neuron_id=f"n{n}", neuron_fn=neuron, capabilities=["x"]))
    if any(extension is Memory for extension in options["extensions"]):
        await dendrite.attach_engram(Notes())
    return synapse, dendrite


FAULTS = ("hangs", "fails late", "fails", "cannot be cancelled")


@pytest.mark.parametrize("grace_s", [0.0, GRACE_S])
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("fault", FAULTS)
def test_stop_on_broken_bus_ends_in_time(fault: str, count: int, busy: bool, grace_s: float) -> None:
    async def stop() -> None:
        neurons = [Neuron() for _ in range(count)]
        synapse, dendrite = await connected(neurons, grace_s=grace_s)
        await dendrite.start()
        pathways = []
        for n in range(count if busy else 0):
            pathways.append(await dendrite.dispatch(neuron=f"n{n}", input={}))
            await neurons[n].running.wait()
        synapse.fault = fault
        began = now()
        await dendrite.stop()
        assert now() - began <= grace_s + 1
        assert all(neuron.closed for neuron in neurons)
        assert all(pathway.closed for pathway in pathways)

    run(stop())


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("fault", FAULTS)
def test_failed_start_on_broken_bus_ends_in_time(fault: str, count: int) -> None:
    class Breaking(Extension):
        name = "breaking"

        async def start(self) -> None:
            made[0].fault = fault
            broken.append(now())
            raise OSError("cannot start")

    async def start() -> None:
        synapse, dendrite = await connected(
            [Neuron() for _ in range(count)], extensions=(*EXTENSIONS, Breaking)
        )
        made.append(synapse)
        with pytest.raises(OSError, match="cannot start"):
            await dendrite.start()
        assert now() - broken[0] <= GRACE_S + 1

    broken: list[float] = []
    made: list[BrokenSynapse] = []
    run(start())


@pytest.mark.parametrize("fault", FAULTS)
def test_detach_on_broken_bus_ends_in_time(fault: str) -> None:
    async def detach() -> None:
        neuron = Neuron()
        synapse, dendrite = await connected([neuron])
        await dendrite.start()
        await dendrite.dispatch(neuron="n0", input={})
        await neuron.running.wait()
        synapse.fault, began = fault, now()
        try:
            await dendrite.detach_axon("n0")
        except SynapseError:
            assert fault.startswith("fails")
        assert now() - began <= GRACE_S + 1
        assert (neuron.closed, dendrite.axons) == (True, [])
        await dendrite.stop()

    run(detach())


def test_neurons_close_all_at_once_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def stop(clean_s: float) -> None:
        neurons = [Neuron(clean_s) for _ in range(100)]
        _, dendrite = await connected(neurons)
        await dendrite.start()
        began = now()
        await dendrite.stop()
        assert now() - began <= GRACE_S + 1
        assert {neuron.closed for neuron in neurons} == {clean_s < GRACE_S}

    run(stop(GRACE_S / 2))
    assert "close cleanly" not in caplog.text
    run(stop(60))
    assert caplog.text.count("did not close cleanly") == 100


def test_neuron_that_ignores_cancellation_does_not_delay_stop() -> None:
    async def stop() -> None:
        neuron = Neuron(60)
        _, dendrite = await connected([neuron])
        await dendrite.start()
        await dendrite.dispatch(neuron="n0", input={})
        await neuron.running.wait()
        began = now()
        await dendrite.stop()
        assert now() - began <= GRACE_S + 1

    run(stop())


@pytest.mark.parametrize("step", ["drain", "stop"])
def test_extension_that_hangs_does_not_delay_stop(step: str, caplog: pytest.LogCaptureFixture) -> None:
    async def hang(self: Extension) -> None:
        await asyncio.Event().wait()

    async def stop() -> None:
        hanging = type("Hanging", (Extension,), {"name": "hanging", step: hang})
        _, dendrite = await connected([Neuron()], extensions=(*EXTENSIONS, hanging))
        await dendrite.start()
        began = now()
        await dendrite.stop()
        assert now() - began <= GRACE_S + 1

    run(stop())
    assert "extension 'hanging' takes too long" in caplog.text


def test_hook_that_hangs_does_not_delay_stop(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging:
        @hookimpl
        async def cosmo_dendrite_stopping(self) -> None:
            await asyncio.Event().wait()

    async def stop() -> None:
        plugins = PluginManager()
        plugins.register(Hanging(), name="hanging")
        _, dendrite = await connected([Neuron()], plugins=plugins)
        await dendrite.start()
        began = now()
        await dendrite.stop()
        assert now() - began <= GRACE_S + 1

    run(stop())
    assert "stopping hooks takes too long" in caplog.text


# --- several stops ------------------------------------------------------------------------------------


def test_second_stop_waits_for_end_of_first() -> None:
    async def stop() -> None:
        neuron = Neuron()
        _, dendrite = await connected([neuron])
        await dendrite.start()
        await dendrite.dispatch(neuron="n0", input={})
        await neuron.running.wait()
        first = asyncio.create_task(dendrite.stop())
        await asyncio.sleep(0)
        await dendrite.stop()
        assert neuron.closed
        assert first.done()

    run(stop())


@pytest.mark.parametrize("form", ["async", "child task", "thread"])
def test_neuron_that_stops_its_host_is_not_waited_for(form: str) -> None:
    answers: list[Signal] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def stopping(input: dict[str, Any], context: list[Any]) -> Any:
            began = now()
            if form == "async":
                await dendrite.stop()
            elif form == "child task":
                await asyncio.gather(asyncio.create_task(dendrite.stop()), asyncio.sleep(0))
            else:
                await asyncio.to_thread(
                    lambda: asyncio.run_coroutine_threadsafe(dendrite.stop(), loop).result(30)
                )
            return {"took": now() - began}

        async def other(input: dict[str, Any], context: list[Any]) -> Any:
            await asyncio.sleep(GRACE_S / 2)
            return {"other": True}

        synapse, dendrite = await connected([])
        for neuron in (stopping, other):
            dendrite.attach_axon(Axon(neuron_id=neuron.__name__, neuron_fn=neuron))
        await dendrite.start()
        caller = Dendrite(synapse=synapse, plugins=PluginManager(), extensions=())
        async with caller:
            busy = await caller.dispatch(neuron="other", input={})
            stops = await caller.dispatch(neuron="stopping", input={})
            answers.extend([await busy.wait(30), await stops.wait(30)])
        await dendrite.stop()

    # A thread needs real time.
    asyncio.run(main()) if form == "thread" else run(main())
    assert [answer.type for answer in answers] == [SignalType.AGENT_OUTPUT] * 2
    assert answers[1].payload["output"]["took"] < GRACE_S


def test_stop_from_outside_waits_for_answer_of_neuron_that_stopped_its_host() -> None:
    async def main() -> None:
        answered = False

        async def stopping(input: dict[str, Any], context: list[Any]) -> Any:
            nonlocal answered
            await dendrite.stop()
            await asyncio.sleep(GRACE_S / 2)
            answered = True
            return {}

        _, dendrite = await connected([])
        dendrite.attach_axon(Axon(neuron_id="stopping", neuron_fn=stopping))
        await dendrite.start()
        await dendrite.dispatch(neuron="stopping", input={})
        await asyncio.sleep(0.01)
        await dendrite.stop()
        assert answered

    run(main())


def test_neuron_that_stops_stopping_host_does_not_wait_for_itself() -> None:
    async def main() -> None:
        waiting = asyncio.Event()

        async def stopping(input: dict[str, Any], context: list[Any]) -> Any:
            await waiting.wait()
            await dendrite.stop()
            return {}

        _, dendrite = await connected([])
        dendrite.attach_axon(Axon(neuron_id="stopping", neuron_fn=stopping))
        await dendrite.start()
        await dendrite.dispatch(neuron="stopping", input={})
        began, stop = now(), asyncio.create_task(dendrite.stop())
        await asyncio.sleep(0.01)
        waiting.set()
        await stop
        assert now() - began < GRACE_S

    run(main())


def test_neuron_that_detaches_itself_answers_and_is_waited_for() -> None:
    async def main() -> None:
        async def leaving(input: dict[str, Any], context: list[Any]) -> Any:
            began = now()
            await dendrite.detach_axon("leaving")
            took = now() - began
            await asyncio.sleep(GRACE_S / 2)
            return {"took": took}

        synapse, dendrite = await connected([])
        dendrite.attach_axon(Axon(neuron_id="leaving", neuron_fn=leaving))
        await dendrite.start()
        async with Dendrite(synapse=synapse, plugins=PluginManager(), extensions=()) as caller:
            pathway = await caller.dispatch(neuron="leaving", input={})
            await asyncio.sleep(0.01)
            assert dendrite.axons == []
            await dendrite.stop()
            assert (await pathway.wait(5)).payload["output"]["took"] < GRACE_S

    run(main())


def test_offer_handler_that_stops_its_dendrite_is_not_waited_for() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        synapse, dendrite = await connected([])
        dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo, capabilities=["x"]))

        @dendrite.on_task_offer
        async def decide(offer: Signal) -> None:
            await dendrite.stop()
            ended.set()

        await dendrite.start()
        offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
        async with Dendrite(synapse=synapse, plugins=PluginManager()) as caller:
            await caller.emit(offer)
            began = now()
            await ended.wait()
            assert now() - began < 1

    run(main())


def test_background_work_does_not_begin_after_stop() -> None:
    async def main() -> None:
        ran: list[int] = []

        async def work() -> None:
            ran.append(1)

        _, dendrite = await connected([])
        await dendrite.start()
        ports = dendrite.extension("watching").ports
        await dendrite.stop()
        ports.pathways.spawn(work())
        await asyncio.sleep(1)
        assert ran == []

    run(main())
