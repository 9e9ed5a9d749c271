"""Extensions of a Dendrite: absent ones, those of the core, and one of a third party."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    EngramBinding,
    LifecycleError,
    NeuronFn,
    Signal,
    SignalType,
    UnknownPluginError,
    clarify,
)
from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.dendrite.extension import EntityHost, Extension, HostedEntity, Ports
from cosmo_core.errors import PluginConflictError
from cosmo_core.extensions.auctions.extension import Auctions
from cosmo_core.extensions.memory.extension import Memory
from cosmo_core.extensions.watching.extension import Watching
from cosmo_core.extensions.workflow.extension import Workflow
from cosmo_core.plugins import PluginManager
from cosmo_core.plugins.entry_points import Installed
from cosmo_core.protocol.signal import Directed
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import FakeClock
from tests.bus.common import Patterns, Start, echo

TRACE = "trc_01ARZ3NDEKTSV4RRFFQ69G5FAV"


def clarification() -> Signal:
    payload = {"question": "which?"}
    return Signal.new(
        SignalType.CLARIFICATION, payload, directed=Directed("echo"), meta={"task": {"input": {}}}
    )


# --- absent ones ------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Dendrite], Any]] = {
    "dispatch_offer": lambda it: it.dispatch_offer(input={}, capabilities=["x"]),
    "on_task_offer": lambda it: it.on_task_offer(print),
    "bid": lambda it: it.bid(clarification(), cost=1),
    "attach_engram": lambda it: it.attach_engram(object()),  # type: ignore[arg-type]
    "detach_engram": lambda it: it.detach_engram("notes"),
    "engrams": lambda it: it.engrams,
    "find_engrams": lambda it: it.find_engrams(),
    "recall": lambda it: it.recall("notes", {}),
    "imprint": lambda it: it.imprint("notes", op="add"),
    "wait_until_ready": lambda it: it.wait_until_ready(engram="notes"),
    "on": lambda it: it.on(SignalType.TASK),
    "on_final": lambda it: it.on_final(print),
    "watch": lambda it: it.watch(SignalType.TASK, print),
    "watchers": lambda it: it.watchers,
    "observe_pathway": lambda it: it.observe_pathway(TRACE),
    "emit_final": lambda it: it.emit_final(TRACE, {}),
    "emit_error": lambda it: it.emit_error(TRACE, "BROKEN", "it broke"),
    "emit_plan": lambda it: it.emit_plan(TRACE, []),
    "emit_tool_call": lambda it: it.emit_tool_call(TRACE, "t", {}),
    "emit_tool_result": lambda it: it.emit_tool_result(TRACE, "t", {}),
    "emit_memory_append": lambda it: it.emit_memory_append(TRACE, "k", 1),
    "emit_critique": lambda it: it.emit_critique(TRACE, "evt", [], "ok"),
    "emit_escalation": lambda it: it.emit_escalation(TRACE, "why"),
    "emit_consensus": lambda it: it.emit_consensus(TRACE, [], "ok"),
    "emit_context_sync": lambda it: it.emit_context_sync(TRACE, {}),
    "emit_audit": lambda it: it.emit_audit(TRACE, "kind", "domain", "outcome"),
    "answer_clarification": lambda it: it.answer_clarification(clarification(), 1),
    "grant_permission": lambda it: it.grant_permission(clarification()),
    "deny_permission": lambda it: it.deny_permission(clarification()),
    "respond_to_clarification": lambda it: it.respond_to_clarification(clarification(), 1),
    "respond_to_permission": lambda it: it.respond_to_permission(clarification(), True),
}
ABOUT_ENGRAMS = ("attach_engram", "detach_engram", "engrams", "find_engrams", "wait_until_ready")
EXTENSION_OF = {
    **dict.fromkeys(("dispatch_offer", "on_task_offer", "bid"), "auctions"),
    **dict.fromkeys(
        (
            "attach_engram",
            "detach_engram",
            "engrams",
            "find_engrams",
            "recall",
            "imprint",
            "wait_until_ready",
        ),
        "memory",
    ),
    **dict.fromkeys(("on", "on_final", "watch", "watchers", "observe_pathway"), "watching"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_call_of_absent_extension_raises_error_that_names_it(start: Start, name: str) -> None:
    dendrite = await start(extensions=())
    wanted = EXTENSION_OF.get(name, "workflow")

    async def call() -> None:
        await CALLS[name](dendrite)

    with pytest.raises(UnknownPluginError, match=f"no extension '{wanted}'; it has: none"):
        await call()


def test_calls_cover_every_delegating_method() -> None:
    source = inspect.getsource(Dendrite)
    methods = [name for name, member in vars(Dendrite).items() if 'self.extension("' in _source(member)]
    assert sorted(methods) == sorted({*CALLS, "_attach"} - {"on_final"})
    assert source.count('self.extension("') >= len(methods)


def _source(member: object) -> str:
    function = member.fget if isinstance(member, property) else member
    return inspect.getsource(function) if inspect.isfunction(function) else ""


def test_axon_with_engram_binding_requires_memory_extension() -> None:
    dendrite = Dendrite(synapse=MemorySynapse(), plugins=PluginManager(), extensions=())
    axon = Axon(neuron_id="echo", neuron_fn=echo, engrams=[EngramBinding("notes")])
    with pytest.raises(UnknownPluginError, match="no extension 'memory'"):
        dendrite.attach_axon(axon)


def test_missing_extension_error_lists_present_extensions() -> None:
    dendrite = Dendrite(synapse=MemorySynapse(), plugins=PluginManager(), extensions=[Workflow, Memory])
    with pytest.raises(UnknownPluginError, match=r"no extension 'auctions'; it has: 'workflow', 'memory'"):
        dendrite.on_task_offer(print)


# --- extensions of the core -------------------------------------------------------------------------


def test_default_extensions_come_from_core_entry_points() -> None:
    assert list(PluginManager().extensions()) == [Auctions, Memory, Watching, Workflow]
    assert list(PluginManager(environ={"COSMO_DISABLE_PLUGINS": "*"}).extensions()) == list(
        PluginManager().extensions()
    )
    assert Memory not in PluginManager(environ={"COSMO_DISABLE_PLUGINS": "memory"}).extensions()


@pytest.mark.parametrize("extension", [Auctions, Memory, Watching, Workflow])
def test_delegating_method_has_return_type_of_extension(extension: type[Extension]) -> None:
    """The core does not import its extensions, so mypy cannot compare the two."""
    compared = 0
    for name, method in vars(extension).items():
        public = vars(Dendrite).get(name)
        if isinstance(method, property) and isinstance(public, property):
            method, public = method.fget, public.fget
        # Both also have a life cycle of their own: those methods do not delegate.
        if inspect.isfunction(method) and inspect.isfunction(public) and name not in {"start", "stop"}:
            returned = method.__annotations__["return"], public.__annotations__["return"]
            assert returned[0].removeprefix("Observed") == returned[1], name
            assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(public), name
            compared += 1
    assert compared >= 3


# --- a third-party extension ------------------------------------------------------------------------


class Ledger(Extension, EntityHost):
    """An extension that records each call of its protocol."""

    name = "ledger"
    made: list[Ledger] = []  # noqa: RUF012 - emptied by each test

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.steps: list[str] = []
        self.made.append(self)

    def receivers(self) -> Mapping[SignalType, Callable[[Signal], None]]:
        return {SignalType.AUDIT: lambda signal: self.steps.append(f"received {signal.type.value}")}

    def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
        return {SignalType.AUDIT: lambda signal, why: self.steps.append(f"undeliverable: {why}")}

    def entity_hosts(self) -> Sequence[EntityHost]:
        return (self,)

    def entities(self) -> Sequence[HostedEntity]:
        registration = {"role": "ledger", "capabilities": []}
        return [HostedEntity("book", Directed("book"), registration, {}, self)]

    def serves(self, id: str) -> bool:
        return True

    def load(self, id: str) -> int:
        return 7

    def neuron_wrappers(self, axon: Axon) -> Sequence[Callable[[NeuronFn], NeuronFn]]:
        self.steps.append(f"wraps {axon.neuron_id}")
        return ()

    def neuron_departed(self, neuron_id: str, dendrite_id: str) -> None:
        self.steps.append(f"departed {neuron_id}")

    async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
        return {"ledger_closed": True}

    def counters(self) -> Mapping[str, int]:
        return {"ledger": len(self.steps)}

    async def connect(self) -> None:
        self.steps.append("connect")

    async def start(self) -> None:
        self.steps.append("start")

    async def neurons_changed(self) -> None:
        self.steps.append(f"neurons {[axon.neuron_id for axon in self.ports.neurons]}")

    async def drain(self) -> None:
        self.steps.append("drain")

    async def stop(self) -> None:
        self.steps.append("stop")

    def close(self) -> None:
        self.steps.append("close")


@pytest.fixture(autouse=True)
def empty_ledgers() -> None:
    Ledger.made.clear()


async def test_third_party_extension_runs_through_public_protocol(synapse: MemorySynapse) -> None:
    seen: list[Signal] = []
    options: dict[str, Any] = {"synapse": synapse, "plugins": PluginManager()}
    observer = Dendrite(**options)
    observer.on(SignalType.REGISTER)(seen.append)
    worker = Dendrite(**options, extensions=[Ledger])
    worker.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    async with observer, worker:
        ledger: Ledger = worker.extension("ledger")
        await worker.add_axon(Axon(neuron_id="late", neuron_fn=echo))
        await worker.detach_axon("late")
        subject = ledger.ports.subjects.inbox(SignalType.AUDIT, ledger.ports.dendrite_id)
        payload = {"kind": "k", "domain": "d", "outcome": "o", "attempt": 1}
        await ledger.ports.send(subject, Signal.new(SignalType.AUDIT, payload))
        await ledger.ports.send_shared(
            ledger.ports.subjects.neuron(SignalType.AUDIT, "gone"), Signal.new(SignalType.AUDIT, payload)
        )
        [stopped] = await observer.stop_trace(TRACE)
        assert stopped.payload["ledger_closed"] is True
        assert worker.counters["ledger"] == len(ledger.steps)
    assert ledger.steps == [
        "wraps echo",
        "connect",
        "start",
        "neurons ['echo']",
        "wraps late",
        "neurons ['echo', 'late']",
        "departed late",
        "neurons ['echo']",
        "received AUDIT",
        "undeliverable: no_consumers",
        "drain",
        "stop",
        "departed echo",
        "close",
    ]
    book = [signal for signal in seen if signal.directed and signal.directed.id == "book"]
    assert book
    assert book[0].meta["load"] == 7


async def test_failed_extension_start_stops_extensions_and_dendrite(synapse: MemorySynapse) -> None:
    class Broken(Ledger):
        name = "broken"

        def receivers(self) -> Mapping[SignalType, Callable[[Signal], None]]:
            return {}

        def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
            return {}

        async def start(self) -> None:
            raise OSError("disk full")

    dendrite = Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Ledger, Broken])
    with pytest.raises(OSError, match="disk full"):
        await dendrite.start()
    assert [ledger.steps for ledger in Ledger.made] == [
        ["connect", "start", "drain", "stop", "close"],
        ["connect", "drain", "stop", "close"],
    ]
    with pytest.raises(Exception, match="not running"):
        await dendrite.dispatch(neuron="echo", input={})


def test_dendrite_rejects_two_extensions_with_same_name(synapse: MemorySynapse) -> None:
    with pytest.raises(PluginConflictError, match="two extensions are named 'ledger'"):
        Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Ledger, Ledger])


def test_dendrite_rejects_two_extensions_that_receive_same_type(synapse: MemorySynapse) -> None:
    class Rival(Ledger):
        name = "rival"

    with pytest.raises(ValueError, match="AUDIT has a receiver already"):
        Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Ledger, Rival])


def test_dendrite_rejects_object_that_is_not_extension(synapse: MemorySynapse) -> None:
    with pytest.raises(TypeError, match="subclass of Extension"):
        Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[lambda _: object()])  # type: ignore[list-item,return-value]


class Nameless(Extension):
    pass


class Detached(Extension):
    name = "detached"

    def __init__(self, ports: Ports) -> None: ...


class Greedy(Extension):
    name = "greedy"

    def receivers(self) -> Mapping[SignalType, Callable[[Signal], None]]:
        return {SignalType.AGENT_OUTPUT: lambda signal: None}


class Presumptuous(Extension):
    name = "presumptuous"

    def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
        return {SignalType.TASK: lambda signal, why: None}


class Deaf(Extension):
    name = "deaf"

    async def _refuse(self, signal: Signal, reason: str) -> None: ...

    def refusals(self) -> Mapping[SignalType, Callable[[Signal, str], Awaitable[None]]]:
        return {SignalType.AUDIT: self._refuse}


@pytest.mark.parametrize(
    ("extension", "error", "text"),
    [
        (Nameless, TypeError, "needs a class attribute `name`"),
        (Detached, TypeError, "call super"),
        (Greedy, ValueError, "AGENT_OUTPUT answers a TASK"),
        (Presumptuous, ValueError, "undeliverable TASK Signals have a handler already"),
        (Deaf, ValueError, "refuses .*AUDIT.* without a receiver"),
    ],
)
def test_dendrite_rejects_declarations_that_cannot_work(
    synapse: MemorySynapse, extension: type[Extension], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[extension])


async def test_failing_extension_does_not_hide_departures_and_stops_from_others(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Extension):
        name = "failing"

        def neuron_departed(self, neuron_id: str, dendrite_id: str) -> None:
            raise OSError("disk full")

        async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
            raise OSError("disk full")

    options: dict[str, Any] = {"synapse": synapse, "plugins": PluginManager()}
    async with Dendrite(**options, extensions=[Failing, Ledger]) as dendrite, Dendrite(**options) as other:
        await other.add_axon(Axon(neuron_id="echo", neuron_fn=echo))
        await dendrite.wait_until_ready(neuron="echo")
        await other.detach_axon("echo")
        await dendrite.extension("failing").ports.neurons.listen_for_stops()
        stopped = await other.stop_trace(TRACE, rollback=True)
        ledger: Ledger = dendrite.extension("ledger")
        assert "departed echo" in ledger.steps
    assert [signal.payload["ledger_closed"] for signal in stopped if len(signal.payload) > 2] == [True]
    assert "extension 'failing' failed on the departure of 'echo'" in caplog.text
    assert "extension 'failing' failed on STOP" in caplog.text


async def test_extensions_learn_of_a_question_before_it_is_sent(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[str] = []

    class Failing(Extension):
        name = "failing"

        async def neuron_asks(self, question: Signal) -> None:
            raise OSError("disk full")

    class Learning(Extension):
        name = "learning"

        async def neuron_asks(self, question: Signal) -> None:
            await asyncio.sleep(0)
            steps.append(f"asks {question.id}")

    async def asks(input: dict[str, Any], context: list[Any]) -> Any:
        return clarify("Which?") if input["ask"] else input

    worker = Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Failing, Learning])
    worker.attach_axon(Axon(neuron_id="asks", neuron_fn=asks))
    async with (
        worker,
        Dendrite(synapse=synapse, plugins=PluginManager()) as caller,
        await caller.watch(SignalType.CLARIFICATION, lambda signal: steps.append(f"sent {signal.id}")),
    ):
        question = await caller.dispatch_and_wait(neuron="asks", input={"ask": True}, timeout_s=5)
        await caller.dispatch_and_wait(neuron="asks", input={"ask": False}, timeout_s=5)
    assert question.type is SignalType.CLARIFICATION
    assert steps == [f"asks {question.id}", f"sent {question.id}"]
    assert f"extension 'failing' failed on {question.id}" in caplog.text


# --- the seam ---------------------------------------------------------------------------------------


class Broken(Ledger):
    """An extension whose announcements fail at one function."""

    name = "broken"
    failing = ""

    def entities(self) -> Sequence[HostedEntity]:
        self._fail("entities")
        return super().entities()

    def serves(self, id: str) -> bool:
        self._fail("serves")
        return True

    def load(self, id: str) -> int:
        self._fail("load")
        return 7

    def _fail(self, function: str) -> None:
        if function == self.failing:
            raise OSError("disk full")


@pytest.mark.parametrize("function", ["entities", "serves", "load"])
async def test_extension_that_fails_to_announce_does_not_silence_neurons(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    clock = FakeClock()
    options: dict[str, Any] = {"synapse": synapse, "plugins": PluginManager(), "clock": clock}
    dendrite = Dendrite(**options, heartbeat_s=10.0, extensions=[Broken])
    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    beats: list[str] = []
    async with Dendrite(**options) as observer, dendrite:
        await observer.watch(
            SignalType.HEARTBEAT, lambda beat: beats.append(str(beat.directed and beat.directed.id))
        )
        dendrite.extension("broken").failing = function
        for _ in range(2):
            await clock.advance(10.0)
        # An entity whose load is unknown is announced with 0.
        assert [id for id in beats if id != "book"] == ["echo", "echo"]
        assert ("book" in beats) == (function == "load")
    assert "disk full" in caplog.text
    assert "middleware" not in caplog.text


async def test_ports_refuse_signals_and_subscriptions_before_start(synapse: MemorySynapse) -> None:
    dendrite = Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Ledger])
    ports = dendrite.extension("ledger").ports
    plan = Signal.new(SignalType.PLAN, {"steps": []})
    subject = ports.subjects.broadcast(SignalType.PLAN)
    for send in (ports.send, ports.send_shared, ports.send_or_raise):
        with pytest.raises(LifecycleError, match="not running"):
            await send(subject, plan)
    with pytest.raises(LifecycleError, match="not running"):
        await ports.listen(subject, print)


class Changing(Extension):
    """An extension that fails, or waits, when the Neurons change."""

    name = "changing"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.fails, self.waits = False, False
        self.entered, self.open = asyncio.Event(), asyncio.Event()

    async def neurons_changed(self) -> None:
        if self.fails:
            raise OSError("disk full")
        if self.waits:
            self.entered.set()
            await self.open.wait()


@pytest.mark.parametrize("how", ["fails", "cancelled"])
async def test_add_axon_that_does_not_complete_leaves_nothing(
    synapse: MemorySynapse, patterns: Patterns, how: str
) -> None:
    options: dict[str, Any] = {"synapse": synapse, "plugins": PluginManager()}
    async with Dendrite(**options) as observer, Dendrite(**options, extensions=[Changing]) as dendrite:
        changing: Changing = dendrite.extension("changing")
        await dendrite.add_axon(Axon(neuron_id="first", neuron_fn=echo))
        before = patterns()
        changing.fails, changing.waits = how == "fails", how == "cancelled"
        adding = asyncio.create_task(dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=echo)))
        if how == "cancelled":
            await changing.entered.wait()
            changing.waits = False
            adding.cancel()
        with pytest.raises((OSError, asyncio.CancelledError)):
            await adding
        assert ([axon.neuron_id for axon in dendrite.axons], patterns()) == (["first"], before)
        assert [record.neuron_id for record in observer.find_neurons()] == ["first"]
        changing.fails = False
        await dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=echo))
        assert (await observer.dispatch_and_wait(neuron="echo", input={})).payload == {"output": {}}


async def test_axon_that_is_detached_while_it_is_added_leaves_no_ghost(synapse: MemorySynapse) -> None:
    options: dict[str, Any] = {"synapse": synapse, "plugins": PluginManager()}
    async with Dendrite(**options) as observer, Dendrite(**options, extensions=[Changing]) as dendrite:
        changing: Changing = dendrite.extension("changing")
        changing.waits = True
        adding = asyncio.create_task(dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=echo)))
        await changing.entered.wait()
        changing.waits = False
        await dendrite.detach_axon("echo")
        changing.open.set()
        await adding
        assert dendrite.axons == []
        assert observer.find_neurons() == []


async def test_close_alone_follows_failed_connect(synapse: MemorySynapse) -> None:
    class Refusing(Ledger):
        name = "refusing"

        def receivers(self) -> Mapping[SignalType, Any]:
            return {}

        def undeliverables(self) -> Mapping[SignalType, Any]:
            return {}

        async def connect(self) -> None:
            await super().connect()
            raise OSError("disk full")

    class Late(Refusing):
        name = "late"

    dendrite = Dendrite(synapse=synapse, plugins=PluginManager(), extensions=[Ledger, Refusing, Late])
    with pytest.raises(OSError, match="disk full"):
        await dendrite.start()
    steps = [dendrite.extension(name).steps for name in ("ledger", "refusing", "late")]
    assert steps == [["connect", "close"], ["connect", "close"], []]


def test_error_for_absent_extension_says_why() -> None:
    def error(**environ: str) -> str:
        plugins = PluginManager(environ=environ)
        dendrite = Dendrite(synapse=MemorySynapse(), plugins=plugins)
        with pytest.raises(UnknownPluginError) as caught:
            dendrite.extension("memory" if environ else "memry")
        return str(caught.value)

    assert "is disabled: COSMO_DISABLE_PLUGINS has 'memory'" in error(COSMO_DISABLE_PLUGINS="memory")
    assert "did you mean 'memory'?" in error()
    left_out = Dendrite(synapse=MemorySynapse(), plugins=PluginManager(), extensions=())
    with pytest.raises(UnknownPluginError, match=r"it has: none; pass it in Dendrite\(extensions=…\)"):
        left_out.extension("memory")
    uninstalled = PluginManager(read=lambda: Installed((), ()))
    with pytest.raises(UnknownPluginError, match="cosmo-core itself is not installed"):
        Dendrite(synapse=MemorySynapse(), plugins=uninstalled).extension("memory")
