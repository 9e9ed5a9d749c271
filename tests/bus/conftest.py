"""A bus to try things on: one memory Synapse, and Dendrites that stop with the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
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


class LossySynapse(MemorySynapse):
    """A memory Synapse that promises and loses what it is told to, and keeps all that is sent.

    Attributes:
        guarantees: What it promises.
        fate: What becomes of TASKs for Neurons from now on; None: they arrive.
        answer_fate: What becomes of what is sent to an inbox, and is to be told of.
        handlers: Who listens, by pattern.
        sent: What was sent, oldest first.
        ids: The ``message_id`` of each of them.
        tellers: Who is to be told if it is not delivered, for each of them.
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
        self.guarantees: Guarantees = attrs.evolve(self.guarantees, **guarantees)
        self.fate: Undelivered | None = None
        self.answer_fate: Undelivered | None = None
        self.handlers: dict[str, FrameHandler] = {}
        self.sent: list[Signal] = []
        self._news = asyncio.Event()
        self.ids: list[str | None] = []
        self.tellers: list[UndeliveredHandler | None] = []

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        self.sent.append(decode(frame))
        self._news.set()
        self.ids.append(options.get("message_id"))
        tell = options.get("undelivered")
        self.tellers.append(tell)
        if self.fate is not None and ".TASK.neuron." in subject:
            options["undelivered"](frame, self.fate)
        elif self.answer_fate is not None and ".inbox." in subject and tell is not None:
            tell(frame, self.answer_fate)
        else:
            await super().publish(subject, frame, **options)

    async def subscribe(self, pattern: str, handler: FrameHandler, **options: Any) -> Any:
        self.handlers[pattern] = handler
        return await super().subscribe(pattern, handler, **options)

    def of(self, type: SignalType) -> list[Signal]:
        """Return what was sent of a type."""
        return [signal for signal in self.sent if signal.type is type]

    async def have(self, type: SignalType, count: int = 1) -> list[Signal]:
        """Return what was sent of a type, once there are so many."""
        async with asyncio.timeout(5):
            while len(found := self.of(type)) < count:
                self._news.clear()
                await self._news.wait()
        return found


@pytest.fixture
async def lossy() -> AsyncIterator[Callable[..., Awaitable[LossySynapse]]]:
    """Connect a `LossySynapse`; it is closed with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def lossy(bus: MemoryBus | None = None, **options: Any) -> LossySynapse:
            synapse = LossySynapse(bus, **options)
            await synapse.connect()
            stack.push_async_callback(synapse.close)
            return synapse

        yield lossy


@pytest.fixture(autouse=True)
async def tidy() -> AsyncIterator[None]:
    """No test leaves a task behind."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    synapse = MemorySynapse()
    await synapse.connect()
    yield synapse
    await synapse.close()


# The modules whose tests hold for a Dendrite without extensions, too; each of them runs twice.
MINIMAL_TOO = frozenset(
    {
        "test_acknowledging",
        "test_backpressure",
        "test_blocked_loop",
        "test_clock_skew",
        "test_current_task",
        "test_deadlines",
        "test_dispatch",
        "test_finalize",
        "test_hosting",
        "test_lost_answers",
        "test_one_answer",
        "test_pathway",
        "test_presence",
        "test_presence_clock",
        "test_repeated_answers",
        "test_retry",
        "test_stop_trace",
        "test_stopping",
        "test_undelivered",
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
def settled() -> Callable[[Dendrite], Awaitable[None]]:
    """Return when a Dendrite has nothing to do in the background."""

    async def settled(dendrite: Dendrite) -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)  # what another thread asked for begins
            while background := dendrite._pathways._background:
                await asyncio.wait(background)

    return settled


@pytest.fixture
def patterns(synapse: MemorySynapse) -> Callable[[], set[str]]:
    """Return what is subscribed to at present."""
    return lambda: {subscription._consumer.pattern for subscription in synapse._subscriptions}
