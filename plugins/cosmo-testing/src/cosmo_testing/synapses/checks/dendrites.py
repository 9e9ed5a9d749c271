"""Requirements on Dendrites that communicate over a Synapse."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite import Dendrite
from cosmo_core.errors import FrameTooLargeError, MalformedSignalError, NoRouteError
from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.signal import Directed, Signal, decode, encode
from cosmo_core.protocol.signal_type import SignalType
from cosmo_core.protocol.subjects import Subjects
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import UnmetError, bounded, need, refusal
from cosmo_testing.synapses.checks.subjects import BAD_TOKENS
from cosmo_testing.synapses.hosts import NAMESPACE, DendritePair, Stuck, ask, dendrite, dendrite_pair, greeter
from cosmo_testing.synapses.network import Inbox, listen
from cosmo_testing.synapses.subject import QUEUE_GROUPS, SynapseUnderTest

DUPLICATES: Final = 1000
DEEP: Final = 10_000
"""The nesting depth of a hostile frame."""
SUBJECT: Final = Subjects(NAMESPACE).neuron(SignalType.TASK, "greeter")


async def _need_greeting(pair: DendritePair, name: str) -> None:
    reply = await ask(pair.caller, "greeter", {"name": name})
    expected = {"output": {"greeting": f"Hello, {name}!"}}
    need(reply.type is SignalType.AGENT_OUTPUT, f"the TASK ended in {reply.type.value} {reply.payload}")
    need(reply.payload == expected, f"the answer is {reply.payload}, not {expected}")


@requirement(
    "synapse:dendrite-round-trip",
    "A Dendrite on one peer MUST get the answer of a Neuron on another peer.",
)
async def check_dendrite_round_trip(under_test: SynapseUnderTest) -> None:
    """Send TASKs to a Neuron that greets."""
    async with dendrite_pair(under_test, greeter()) as pair:
        for name in ("Ada", "Zoë", "\0"):
            await _need_greeting(pair, name)


@requirement("synapse:dendrite-no-route", "A TASK for a Neuron that is not hosted MUST fail at once.")
async def check_dendrite_no_route(under_test: SynapseUnderTest) -> None:
    """Send a TASK for a Neuron that is not hosted."""
    async with dendrite_pair(under_test, greeter()) as pair:
        error = await refusal(pair.caller.dispatch_and_wait(neuron="missing", input={}))
        need(
            isinstance(error, NoRouteError), f"the Neuron is not hosted, and the dispatch ended in {error!r}"
        )


BUFFER: Final = 1024
"""The number of unread Signals that a Pathway buffers."""
READ_S: Final = 60.0
"""Seconds that reading a long stream may take."""


@requirement(
    "synapse:dendrite-backpressure",
    "A reader with back-pressure MUST hold back its Neuron, and MUST get every delta, in order.",
    when=[QUEUE_GROUPS],
)
async def check_dendrite_backpressure(under_test: SynapseUnderTest) -> None:
    """Stream more than all buffers hold while nothing is read; then read all of it."""
    total, streamed = BUFFER + 2 * under_test.capacity + 100, 0

    async def stream(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
        nonlocal streamed
        for number in range(total):
            yield f"{number} "
            streamed += 1

    async with dendrite_pair(under_test, Axon(neuron_id="streaming", neuron_fn=stream)) as pair:
        dispatch = pair.caller.dispatch(neuron="streaming", input={}, backpressure=True)
        async with await bounded("dispatch()", dispatch) as pathway:
            before = -1
            while not streamed or streamed > before:
                before = streamed
                await pair.network.settle(rounds=5)
            need(streamed < total, f"nothing was read, and the Neuron streamed all of {total} deltas")
            read = [signal.payload async for signal in bounded_iteration(pathway)]
        deltas = [payload["delta"] for payload in read[:-1]]
        need(
            len(deltas) == total, f"{len(deltas)} of {total} deltas came, and {pathway.dropped} were dropped"
        )
        need(deltas == [f"{number} " for number in range(total)], "the deltas came in another order")


async def bounded_iteration(pathway: Pathway) -> AsyncIterator[Signal]:
    """Yield the Signals of a Pathway, for at most `READ_S` seconds."""
    try:
        async with asyncio.timeout(READ_S):
            async for signal in pathway:
                yield signal
    except TimeoutError:
        raise UnmetError(f"a stream did not end within {READ_S:.0f} s") from None


@requirement(
    "synapse:dendrite-duplicates",
    "A TASK that arrives a thousand times MUST run once, and have one answer.",
)
async def check_dendrite_duplicates(under_test: SynapseUnderTest) -> None:
    """Record the frame of one TASK, and publish it a thousand times."""
    calls = list[Any]()

    async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with dendrite_pair(under_test, Axon(neuron_id="once", neuron_fn=neuron)) as pair:
        subject = Subjects(NAMESPACE).neuron(SignalType.TASK, "once")
        tasks, answers = Inbox(), Inbox()
        await listen(pair.spare, subject, tasks)
        await listen(pair.spare, Subjects(NAMESPACE).addressed_pattern(SignalType.AGENT_OUTPUT), answers)
        await ask(pair.caller, "once")
        (task,) = await tasks.until(1)
        for _ in range(DUPLICATES):
            await bounded("inject()", under_test.inject(subject, task))
        await pair.network.until(
            "counting the duplicates", lambda: pair.worker.counters["duplicates"] >= DUPLICATES
        )
        await pair.network.settle()
        need(len(calls) == 1, f"the Neuron ran {len(calls)} times")
        # An answer may be sent again in case it was lost, but it stays the same.
        different = len({*answers.frames})
        need(different == 1, f"{different} different answers were sent to the caller")


@requirement(
    "synapse:dendrite-malformed",
    "A frame that is not a Signal MUST NOT call a Neuron, and MUST be counted.",
)
async def check_dendrite_malformed(under_test: SynapseUnderTest) -> None:
    """Publish generated frames that are not Signals on the subject of a Neuron."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.properties import objects_like, try_each

    task = Signal.new(SignalType.TASK, {"input": {"name": "Mallory"}}, directed=Directed(id="greeter"))
    valid = encode(task)
    envelope: dict[str, Any] = decode_json(valid)
    calls = list[Any]()

    async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with dendrite_pair(under_test, greeter(), Axon(neuron_id="target", neuron_fn=neuron)) as pair:
        subject = Subjects(NAMESPACE).neuron(SignalType.TASK, "target")
        sent = 0

        async def attack(frame: bytes) -> None:
            nonlocal sent
            if is_signal(frame):
                return
            sent += 1
            await bounded("inject()", under_test.inject(subject, frame))
            await pair.network.until(
                "counting it as malformed", lambda: pair.worker.counters["malformed"] >= sent
            )
            counted = pair.worker.counters["malformed"]
            need(counted == sent, f"{sent} frames that are not Signals were sent, and {counted} counted")
            need(not calls, f"the Neuron was called with {calls[:1]}")

        for frame in (b"", b"\0", valid[:-1], valid + b"}", b"[" * DEEP, b'{"a":' * DEEP, b"\xff" * 1000):
            await attack(frame)
        broken = st.builds(_spoiled, st.just(valid), st.integers(0, len(valid) - 1), st.binary(max_size=3))
        frames = st.one_of(st.binary(), broken, objects_like(envelope).map(encode_json))
        await try_each(frames, attack, at_least=under_test.cases)
        await _need_greeting(pair, "after")


def _spoiled(frame: bytes, at: int, instead: bytes) -> bytes:
    return frame[:at] + instead + frame[at + 1 :]


def decode_json(frame: bytes) -> Any:
    """Decode JSON."""
    import msgspec

    return msgspec.json.decode(frame)


def encode_json(value: Any) -> bytes:
    """Encode as JSON; NaN and lone surrogates are allowed."""
    import json

    return json.dumps(value).encode()


def is_signal(frame: bytes) -> bool:
    """Tell whether a frame is a Signal."""
    try:
        decode(frame)
    except MalformedSignalError:
        return False
    return True


@requirement(
    "synapse:dendrite-tokens",
    "A name that is not a token MUST be refused for a namespace, a Neuron and a capability.",
)
async def check_dendrite_tokens(under_test: SynapseUnderTest) -> None:
    """Use generated invalid names at construction and in Signals."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.properties import try_each

    async with dendrite_pair(under_test, greeter()) as pair:
        malformed = 0

        async def refuse(name: str) -> None:
            nonlocal malformed
            uses: list[Callable[[], object]] = [
                lambda: dendrite(pair.spare, namespace=name),
                lambda: Axon(neuron_id=name, neuron_fn=lambda input, context: input),
                lambda: Axon(neuron_id="n", neuron_fn=lambda input, context: input, capabilities=[name]),
                lambda: Signal.new(SignalType.TASK, {"input": {}}, directed=Directed(id=name)),
            ]
            for use in uses:
                _need_malformed(use, name)
            if "\ud800" <= max(name, default="") <= "\udfff":
                return  # JSON cannot encode it.
            malformed += 1
            await bounded("inject()", under_test.inject(SUBJECT, _directed_at(name)))
            await pair.network.until(
                "counting it as malformed", lambda: pair.worker.counters["malformed"] >= malformed
            )

        for name in (*BAD_TOKENS, "*", ">", "a.b", "."):
            await refuse(name)
        names = st.text(st.characters(codec="utf-8"))
        bad_names = names.filter(lambda name: not _is_token(name))
        await try_each(bad_names, refuse, at_least=under_test.cases)
        counted = pair.worker.counters["malformed"]
        need(counted == malformed, f"{malformed} Signals had a hostile name, and {counted} were refused")


def _is_token(name: str) -> bool:
    import re

    return re.fullmatch(TOKEN_PATTERN, name) is not None


def _directed_at(name: str) -> bytes:
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed(id="greeter"))
    envelope = decode_json(encode(task))
    envelope["directed"]["id"] = name
    return encode_json(envelope)


def _need_malformed(use: Callable[[], object], name: str) -> None:
    try:
        use()
    except MalformedSignalError:
        return
    except Exception as error:
        raise UnmetError(f"the name {name!r} ended in {error!r}, not in a MalformedSignalError") from error
    raise UnmetError(f"the name {name!r} was accepted")


@requirement("synapse:dendrite-namespaces", "A TASK MUST NOT reach a Neuron of another namespace.")
async def check_dendrite_namespaces(under_test: SynapseUnderTest) -> None:
    """Host the same Neuron in two namespaces, and send TASKs in one."""
    calls = list[Any]()

    async def stranger(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with dendrite_pair(under_test, greeter()) as pair:
        other = dendrite(pair.spare, namespace=f"{NAMESPACE}2")
        other.attach_axon(Axon(neuron_id="greeter", neuron_fn=stranger))
        other.attach_axon(Axon(neuron_id="stranger", neuron_fn=stranger))
        async with other:
            for number in range(20):
                await _need_greeting(pair, str(number))
            error = await refusal(pair.caller.dispatch_and_wait(neuron="stranger", input={}))
            need(isinstance(error, NoRouteError), f"a Neuron of another namespace got the TASK: {error!r}")
            await pair.network.settle()
            known = {record.neuron_id for record in pair.caller.find_neurons()}
            need(known == {"greeter"}, f"{sorted(known)} are known, and only greeter is in this namespace")
            need(not calls, f"a Neuron of another namespace was called {len(calls)} times")


@requirement(
    "synapse:dendrite-too-large",
    "A TASK that is too large MUST fail at its sender, and the next TASK MUST be answered.",
)
async def check_dendrite_too_large(under_test: SynapseUnderTest) -> None:
    """Send a TASK that does not fit into a frame, and then one that fits."""
    async with dendrite_pair(under_test, greeter()) as pair:
        large = {"name": "x" * pair.spare.guarantees.max_frame}
        error = await refusal(pair.caller.dispatch_and_wait(neuron="greeter", input=large))
        need(isinstance(error, FrameTooLargeError), f"a TASK that is too large ended in {error!r}")
        await _need_greeting(pair, "after")


AT_ONCE: Final = 50
"""The number of concurrent callers."""
CANCELS: Final = 200
CANCEL_S: Final = 2.0
"""Seconds until the Neurons of cancelled callers are cancelled."""
STORM: Final = 2000
STORM_S: Final = 60.0
STORM_BYTES: Final = 50 * 1024 * 1024
"""Bytes by which memory may grow in a storm."""
LIMIT: Final = 10
"""The concurrency of a stuck Neuron, and the size of its backlog."""


def _ask_stuck(caller: Dendrite) -> asyncio.Task[str]:
    """Send a TASK to the stuck Neuron; the result is the type of the answer, or the code of the ERROR."""

    async def outcome() -> str:
        reply = await caller.dispatch_and_wait(neuron="stuck", input={}, timeout_s=None)
        return str(reply.payload["code"]) if reply.type is SignalType.ERROR else reply.type.value

    return asyncio.ensure_future(outcome())


@requirement(
    "synapse:dendrite-cancel",
    "Cancelling a caller MUST cancel the Neuron, and leave nothing behind.",
)
async def check_dendrite_cancel(under_test: SynapseUnderTest) -> None:
    """Cancel callers of running Neurons, a few dozen at a time."""
    stuck = Stuck()
    async with dendrite_pair(under_test, stuck.axon()) as pair:
        await _cancel_wave(pair, stuck)
        await pair.network.settle()
        tasks = asyncio.all_tasks()
        for _ in range(CANCELS * under_test.scale // AT_ONCE):
            await _cancel_wave(pair, stuck)
        await pair.network.until(
            "ending the tasks of cancelled callers", lambda: asyncio.all_tasks() <= tasks
        )


async def _cancel_wave(pair: DendritePair, stuck: Stuck) -> None:
    expected = stuck.cancelled + AT_ONCE
    asked = [_ask_stuck(pair.caller) for _ in range(AT_ONCE)]
    await pair.network.until("the calls", lambda: stuck.running == AT_ONCE)
    for each in asked:
        each.cancel()
    cancelling = pair.network.until("cancelling", lambda: stuck.cancelled >= expected)
    await bounded("cancelling the Neurons of cancelled callers", cancelling, CANCEL_S)
    await bounded("ending as cancelled", asyncio.wait(asked))
    need(all(each.cancelled() for each in asked), "a cancelled caller did not end as cancelled")


@requirement(
    "synapse:dendrite-storm",
    "A stuck Neuron MUST reject excess TASKs; other Neurons MUST answer, and the bus MUST drain.",
)
async def check_dendrite_storm(under_test: SynapseUnderTest) -> None:
    """Send many TASKs to a stuck Neuron, and one to another Neuron; then let the stuck one finish."""
    stuck, number = Stuck(), STORM * under_test.scale
    async with dendrite_pair(
        under_test, stuck.axon(max_concurrency=LIMIT, max_backlog=LIMIT), greeter()
    ) as pair:
        await ask(pair.caller, "greeter")
        storm = Storm(pair.caller, number)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            storm.begin()
            await pair.network.until("the first refusal", lambda: storm.outcomes["OVERLOADED"] > 0)
            reply = await ask(pair.caller, "greeter", {"name": "Ada"})
            need(reply.type is SignalType.AGENT_OUTPUT, f"another Neuron answered with {reply.payload}")
            await bounded("the storm", storm.passed(number - 2 * LIMIT), STORM_S * under_test.scale)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        grown = peak - before
        need(grown <= STORM_BYTES, f"memory grew by {grown / 1e6:.0f} MB in a storm of {number} TASKs")
        stuck.gate.set()
        await bounded("draining after the storm", storm.ended())
        expected = {"OVERLOADED": number - stuck.calls, "AGENT_OUTPUT": stuck.calls}
        need(storm.outcomes == expected, f"{number} TASKs ended in {storm.outcomes}, not in {expected}")
        reply = await ask(pair.caller, "stuck")
        need(reply.type is SignalType.AGENT_OUTPUT, f"after the storm it answered with {reply.payload}")


class Storm:
    """Many TASKs for a stuck Neuron, sent as fast as it rejects them.

    Attributes:
        outcomes: The number of TASKs for each outcome.
    """

    def __init__(self, caller: Dendrite, number: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._caller = caller
        self._left = number
        self._senders: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()

    def begin(self) -> None:
        """Start the callers; each sends its next TASK when the last one was answered."""
        self._senders = [asyncio.ensure_future(self._send()) for _ in range(AT_ONCE)]

    async def _send(self) -> None:
        while self._left:
            self._left -= 1
            outcome = await _ask_stuck(self._caller)
            self.outcomes[outcome] += 1
            self._ended.set()

    async def passed(self, number: int) -> None:
        """Return as soon as this many TASKs have ended."""
        while self.outcomes.total() < number:
            self._ended.clear()
            await self._ended.wait()

    async def ended(self) -> None:
        """Return when all TASKs have ended."""
        await asyncio.gather(*self._senders)


@requirement(
    "synapse:dendrite-stop",
    "A Dendrite that stops under load MUST NOT lose a TASK, and MUST announce that it leaves.",
)
async def check_dendrite_stop(under_test: SynapseUnderTest) -> None:
    """Stop the host while TASKs run and wait in its Neuron; then let the Neuron finish."""
    stuck, goodbyes = Stuck(), Inbox()
    async with dendrite_pair(under_test, stuck.axon(max_concurrency=LIMIT), grace_s=10.0) as pair:
        await listen(pair.spare, Subjects(NAMESPACE).broadcast(SignalType.DEREGISTER), goodbyes)
        asked = [_ask_stuck(pair.caller) for _ in range(AT_ONCE)]
        await pair.network.until("the calls", lambda: stuck.running == LIMIT)
        await pair.network.settle()
        stopping = asyncio.ensure_future(pair.worker.stop("the kit is done"))
        await pair.network.settle()
        stuck.gate.set()
        await bounded("stop()", stopping)
        outcomes = Counter(await bounded("the TASKs of a host that stopped", asyncio.gather(*asked)))
        need(
            outcomes == {"AGENT_OUTPUT": AT_ONCE},
            f"{AT_ONCE} TASKs had arrived before stop(), with enough time to finish, and ended in {outcomes}",
        )
        await goodbyes.until(1)
