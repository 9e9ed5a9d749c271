"""Fixtures for tests on a bus: a memory Synapse, and Dendrites that stop with the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    FrameHandler,
    Guarantees,
    Signal,
    SignalType,
    Undelivered,
    UndeliveredHandler,
    decode,
)
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemoryBus, MemorySynapse


class FaultySynapse(MemorySynapse):
    """A memory Synapse with adjustable guarantees and delivery faults, which records all Signals sent.

    Attributes:
        guarantees: The guarantees it announces.
        task_fault: The fault of TASKs to Neurons; None if they are delivered.
        answer_fault: The fault of Signals to an inbox that have an undelivered handler.
        handlers: The handlers of subscriptions, by pattern.
        sent: The Signals sent, oldest first.
        message_ids: The ``message_id`` of each Signal sent.
        undelivered_handlers: The ``undelivered`` handler of each Signal sent.
    """

    def __init__(
        self,
        bus: MemoryBus | None = None,
        *,
        max_in_flight: int = 1000,
        max_pending: int = 1000,
        **guarantees: Any,
    ) -> None:
        super().__init__(bus, max_in_flight=max_in_flight, max_pending=max_pending)
        self.guarantees: Guarantees = msgspec.structs.replace(self.guarantees, **guarantees)
        self.task_fault: Undelivered | None = None
        self.answer_fault: Undelivered | None = None
        self.handlers: dict[str, FrameHandler] = {}
        self.sent: list[Signal] = []
        self._news = asyncio.Event()
        self.message_ids: list[str | None] = []
        self.undelivered_handlers: list[UndeliveredHandler | None] = []

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        self.sent.append(decode(frame))
        self._news.set()
        self.message_ids.append(options.get("message_id"))
        undelivered = options.get("undelivered")
        self.undelivered_handlers.append(undelivered)
        if self.task_fault is not None and ".TASK.neuron." in subject:
            options["undelivered"](frame, self.task_fault)
        elif self.answer_fault is not None and ".inbox." in subject and undelivered is not None:
            undelivered(frame, self.answer_fault)
        else:
            await super().publish(subject, frame, **options)

    async def subscribe(self, pattern: str, handler: FrameHandler, **options: Any) -> Any:
        self.handlers[pattern] = handler
        return await super().subscribe(pattern, handler, **options)

    def sent_of(self, type: SignalType) -> list[Signal]:
        """Return the Signals sent of a type."""
        return [signal for signal in self.sent if signal.type is type]

    async def wait_until_sent(self, type: SignalType, count: int = 1) -> list[Signal]:
        """Return the Signals sent of a type once there are ``count`` of them."""
        async with asyncio.timeout(5):
            while len(found := self.sent_of(type)) < count:
                self._news.clear()
                await self._news.wait()
        return found


@pytest.fixture
async def connect_faulty() -> AsyncIterator[Callable[..., Awaitable[FaultySynapse]]]:
    """Connect a `FaultySynapse`; it is closed with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect_faulty(bus: MemoryBus | None = None, **options: Any) -> FaultySynapse:
            synapse = FaultySynapse(bus, **options)
            await synapse.connect()
            stack.push_async_callback(synapse.close)
            return synapse

        yield connect_faulty


@pytest.fixture(autouse=True)
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Check that no test leaks an asyncio task."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    synapse = MemorySynapse()
    await synapse.connect()
    yield synapse
    await synapse.close()


# The modules whose tests also hold for a Dendrite without extensions; each of them runs twice.
MINIMAL_TOO = frozenset(
    {
        "test_acknowledgement",
        "test_backpressure",
        "test_watchdog",
        "test_clock_skew",
        "test_current_task",
        "test_deadlines",
        "test_dispatch",
        "test_finalize",
        "test_hosting",
        "test_answer_redelivery",
        "test_one_answer",
        "test_pathway",
        "test_discovery",
        "test_discovery_clock",
        "test_redelivered_tasks",
        "test_retry",
        "test_stop_trace",
        "test_stopping",
        "test_undelivered_tasks",
        "test_worker_lost",
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules with all extensions and with none."""
    name = metafunc.module.__name__.rpartition(".")[2]
    needs = metafunc.definition.get_closest_marker("extension")
    if "extensions" in metafunc.fixturenames and name in MINIMAL_TOO and needs is None:
        metafunc.parametrize("extensions", [None, ()], ids=["all", "minimal"], indirect=True)


@pytest.fixture
def extensions(request: pytest.FixtureRequest) -> Any:
    """Return the extensions of the Dendrites that `start` makes: None for all, or an empty tuple."""
    return getattr(request, "param", None)


@pytest.fixture
async def start(synapse: MemorySynapse, extensions: Any) -> AsyncIterator[Callable[..., Awaitable[Dendrite]]]:
    """Start a Dendrite that hosts the given Neurons under their own names; it stops with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*neurons: Any, axon: dict[str, Any] | None = None, **options: Any) -> Dendrite:
            options = {
                "synapse": synapse,
                "namespace": "test",
                "plugins": PluginManager(),
                "extensions": extensions,
                **options,
            }
            dendrite = Dendrite(**options)
            for neuron in neurons:
                if not isinstance(neuron, Axon):
                    neuron = Axon(neuron_id=neuron.__name__, neuron_fn=neuron, **(axon or {}))
                dendrite.attach_axon(neuron)
            return await stack.enter_async_context(dendrite)

        yield start


@pytest.fixture
def wait_until_idle() -> Callable[[Dendrite], Awaitable[None]]:
    """Wait until a Dendrite has no background tasks."""

    async def wait_until_idle(dendrite: Dendrite) -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)  # lets callbacks from other threads run
            while background := dendrite._pathways._background:
                await asyncio.wait(background)

    return wait_until_idle


@pytest.fixture
def patterns(synapse: MemorySynapse) -> Callable[[], set[str]]:
    """Return a function for the set of subscribed patterns."""
    return lambda: {subscription._consumer.pattern for subscription in synapse._subscriptions}
