"""Two Dendrites find each other over the bus, and nothing on it can make a Neuron do what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.axon import Axon
from cosmo_core.errors import FrameTooLargeError, MalformedSignalError, NoRouteError
from cosmo_core.protocol.codec import decode, encode
from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType
from cosmo_core.protocol.subjects import Subjects
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.checks_subjects import BAD_TOKENS
from cosmo_testing.synapses.hosts import NAMESPACE, ask, dendrite, greeter, office
from cosmo_testing.synapses.network import Inbox, listen, refusal
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_testing.synapses.hosts import Office
    from cosmo_testing.synapses.subject import SynapseUnderTest

DUPLICATES: Final = 1000
DEEP: Final = 10_000
"""How deeply a hostile frame is nested."""
SUBJECT: Final = Subjects(NAMESPACE).neuron(SignalType.TASK, "greeter")


async def _need_greeting(room: Office, name: str) -> None:
    reply = await ask(room.caller, "greeter", {"name": name})
    expected = {"output": {"greeting": f"Hello, {name}!"}}
    need(reply.type is SignalType.AGENT_OUTPUT, f"the TASK ended in {reply.type.value} {reply.payload}")
    need(reply.payload == expected, f"the answer is {reply.payload}, not {expected}")


@REQUIREMENTS.proves("synapse:dendrite-round-trip")
async def check_dendrite_round_trip(under_test: SynapseUnderTest) -> None:
    """Greet."""
    async with office(under_test, greeter()) as room:
        for name in ("Ada", "Zoë", "\0"):
            await _need_greeting(room, name)


@REQUIREMENTS.proves("synapse:dendrite-no-route")
async def check_dendrite_no_route(under_test: SynapseUnderTest) -> None:
    """Ask a Neuron that nobody hosts."""
    async with office(under_test, greeter()) as room:
        error = await refusal(room.caller.dispatch_and_wait(neuron="nobody", input={}))
        need(isinstance(error, NoRouteError), f"nobody hosts it, and the dispatch ended in {error!r}")


@REQUIREMENTS.proves("synapse:dendrite-duplicates")
async def check_dendrite_duplicates(under_test: SynapseUnderTest) -> None:
    """Record the frame of one TASK, and put it on the bus again and again."""
    calls = list[Any]()

    async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with office(under_test, Axon(neuron_id="once", neuron_fn=neuron)) as room:
        subject = Subjects(NAMESPACE).neuron(SignalType.TASK, "once")
        tasks, answers = Inbox(), Inbox()
        await listen(room.spare, subject, tasks)
        await listen(room.spare, Subjects(NAMESPACE).addressed_pattern(SignalType.AGENT_OUTPUT), answers)
        await ask(room.caller, "once")
        (task,) = await tasks.until(1)
        for _ in range(DUPLICATES):
            await bounded("inject()", under_test.inject(subject, task))
        await room.network.until(
            "counting the duplicates", lambda: room.worker.counters["duplicates"] >= DUPLICATES
        )
        await room.network.settle()
        need(len(calls) == 1, f"the Neuron ran {len(calls)} times")
        # Where one may have been lost, it is sent again; but it is the same.
        different = len({*answers.frames})
        need(different == 1, f"{different} different answers were sent to who asked")


@REQUIREMENTS.proves("synapse:dendrite-malformed")
async def check_dendrite_malformed(under_test: SynapseUnderTest) -> None:
    """Put what is no Signal on the subject of a Neuron: as much of it as Hypothesis is set to try."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.arbitrary import objects_like, try_each

    task = Signal.new(SignalType.TASK, {"input": {"name": "Mallory"}}, directed=Directed(id="greeter"))
    valid = encode(task)
    envelope: dict[str, Any] = decode_json(valid)
    calls = list[Any]()

    async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with office(under_test, greeter(), Axon(neuron_id="target", neuron_fn=neuron)) as room:
        subject = Subjects(NAMESPACE).neuron(SignalType.TASK, "target")
        sent = 0

        async def attack(frame: bytes) -> None:
            nonlocal sent
            if is_signal(frame):
                return
            sent += 1
            await bounded("inject()", under_test.inject(subject, frame))
            await room.network.until("refusing it", lambda: room.worker.counters["malformed"] >= sent)
            counted = room.worker.counters["malformed"]
            need(counted == sent, f"{sent} frames were sent that are no Signals, and {counted} counted")
            need(not calls, f"the Neuron was called with {calls[:1]}")

        for frame in (b"", b"\0", valid[:-1], valid + b"}", b"[" * DEEP, b'{"a":' * DEEP, b"\xff" * 1000):
            await attack(frame)
        broken = st.builds(_spoiled, st.just(valid), st.integers(0, len(valid) - 1), st.binary(max_size=3))
        frames = st.one_of(st.binary(), broken, objects_like(envelope).map(encode_json))
        await try_each(frames, attack, at_least=under_test.cases)
        await _need_greeting(room, "after")


def _spoiled(frame: bytes, at: int, instead: bytes) -> bytes:
    return frame[:at] + instead + frame[at + 1 :]


def decode_json(frame: bytes) -> Any:
    """Read JSON."""
    import msgspec

    return msgspec.json.decode(frame)


def encode_json(value: Any) -> bytes:
    """Write JSON, or what is near it."""
    import json

    return json.dumps(value).encode()


def is_signal(frame: bytes) -> bool:
    """Tell whether a frame is a Signal."""
    try:
        decode(frame)
    except MalformedSignalError:
        return False
    return True


@REQUIREMENTS.proves("synapse:dendrite-tokens")
async def check_dendrite_tokens(under_test: SynapseUnderTest) -> None:
    """Use hostile names at construction and in Signals, as many as Hypothesis is set to try."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.arbitrary import try_each

    async with office(under_test, greeter()) as room:
        malformed = 0

        async def refuse(name: str) -> None:
            nonlocal malformed
            uses: list[Callable[[], object]] = [
                lambda: dendrite(room.spare, namespace=name),
                lambda: Axon(neuron_id=name, neuron_fn=lambda input, context: input),
                lambda: Axon(neuron_id="n", neuron_fn=lambda input, context: input, capabilities=[name]),
                lambda: Signal.new(SignalType.TASK, {"input": {}}, directed=Directed(id=name)),
            ]
            for use in uses:
                _need_malformed(use, name)
            if "\ud800" <= max(name, default="") <= "\udfff":
                return  # JSON cannot even be written with it.
            malformed += 1
            await bounded("inject()", under_test.inject(SUBJECT, _directed_at(name)))
            await room.network.until("refusing it", lambda: room.worker.counters["malformed"] >= malformed)

        for name in (*BAD_TOKENS, "*", ">", "a.b", "."):
            await refuse(name)
        names = st.text(st.characters(codec="utf-8"))
        bad_names = names.filter(lambda name: not _is_token(name))
        await try_each(bad_names, refuse, at_least=under_test.cases)
        counted = room.worker.counters["malformed"]
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
    raise UnmetError(f"the name {name!r} was taken")


@REQUIREMENTS.proves("synapse:dendrite-namespaces")
async def check_dendrite_namespaces(under_test: SynapseUnderTest) -> None:
    """Host the same Neuron in two namespaces, and ask in one."""
    calls = list[Any]()

    async def stranger(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        calls.append(input)
        return {}

    async with office(under_test, greeter()) as room:
        other = dendrite(room.spare, namespace=f"{NAMESPACE}2")
        other.attach_axon(Axon(neuron_id="greeter", neuron_fn=stranger))
        other.attach_axon(Axon(neuron_id="stranger", neuron_fn=stranger))
        async with other:
            for number in range(20):
                await _need_greeting(room, str(number))
            error = await refusal(room.caller.dispatch_and_wait(neuron="stranger", input={}))
            need(isinstance(error, NoRouteError), f"a Neuron of another namespace was asked: {error!r}")
            await room.network.settle()
            known = {record.neuron_id for record in room.caller.find_neurons()}
            need(known == {"greeter"}, f"{sorted(known)} are seen, and only greeter is in this namespace")
            need(not calls, f"a Neuron of another namespace was called {len(calls)} times")


@REQUIREMENTS.proves("synapse:dendrite-too-large")
async def check_dendrite_too_large(under_test: SynapseUnderTest) -> None:
    """Send a TASK that does not fit into a frame, and then one that does."""
    async with office(under_test, greeter()) as room:
        large = {"name": "x" * room.spare.guarantees.max_frame}
        error = await refusal(room.caller.dispatch_and_wait(neuron="greeter", input=large))
        need(isinstance(error, FrameTooLargeError), f"a TASK that is too large ended in {error!r}")
        await _need_greeting(room, "after")
