"""Dendrites under load: cancelled callers, storms, and a stop in the middle of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Final

from cosmo_core.protocol.signal_type import SignalType
from cosmo_core.protocol.subjects import Subjects
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.hosts import NAMESPACE, Stuck, ask, greeter, office
from cosmo_testing.synapses.network import Inbox, listen
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from cosmo_core.dendrite import Dendrite
    from cosmo_testing.synapses.hosts import Office
    from cosmo_testing.synapses.subject import SynapseUnderTest

AT_ONCE: Final = 50
"""How many callers wait at once."""
CANCELS: Final = 200
CANCEL_S: Final = 0.5
"""Within how many seconds the Neurons of cancelled callers are cancelled."""
STORM: Final = 2000
STORM_S: Final = 60.0
STORM_BYTES: Final = 50 * 1024 * 1024
"""By how much memory may grow in a storm."""
LIMIT: Final = 10
"""How many TASKs a stuck Neuron runs, and how many it lets wait."""


def _ask_stuck(caller: Dendrite) -> asyncio.Task[str]:
    """Ask a Neuron that is stuck; the result is the type of what ends it, or the code of the ERROR."""

    async def outcome() -> str:
        reply = await caller.dispatch_and_wait(neuron="stuck", input={}, timeout_s=None)
        return str(reply.payload["code"]) if reply.type is SignalType.ERROR else reply.type.value

    return asyncio.ensure_future(outcome())


@REQUIREMENTS.proves("synapse:dendrite-cancel")
async def check_dendrite_cancel(under_test: SynapseUnderTest) -> None:
    """Cancel callers whose Neurons run, a few dozen at a time."""
    stuck = Stuck()
    async with office(under_test, stuck.axon()) as room:
        await _cancel_wave(room, stuck)
        await room.network.settle()
        tasks = asyncio.all_tasks()
        for _ in range(CANCELS * under_test.scale // AT_ONCE):
            await _cancel_wave(room, stuck)
        await room.network.until("ending what ran for those cancelled", lambda: asyncio.all_tasks() <= tasks)


async def _cancel_wave(room: Office, stuck: Stuck) -> None:
    expected = stuck.cancelled + AT_ONCE
    asked = [_ask_stuck(room.caller) for _ in range(AT_ONCE)]
    await room.network.until("the calls", lambda: stuck.running == AT_ONCE)
    for each in asked:
        each.cancel()
    cancelling = room.network.until("cancelling", lambda: stuck.cancelled >= expected)
    await bounded("cancelling the Neurons of cancelled callers", cancelling, CANCEL_S)
    await bounded("ending as cancelled", asyncio.wait(asked))
    need(all(each.cancelled() for each in asked), "a cancelled caller did not end as cancelled")


@REQUIREMENTS.proves("synapse:dendrite-storm")
async def check_dendrite_storm(under_test: SynapseUnderTest) -> None:
    """Ask a Neuron that is stuck again and again, and another one meanwhile; then let the first go."""
    stuck, number = Stuck(), STORM * under_test.scale
    async with office(under_test, stuck.axon(max_concurrency=LIMIT, max_backlog=LIMIT), greeter()) as room:
        await ask(room.caller, "greeter")
        storm = Storm(room.caller, number)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            storm.begin()
            await room.network.until("the first refusal", lambda: storm.outcomes["OVERLOADED"] > 0)
            reply = await ask(room.caller, "greeter", {"name": "Ada"})
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
        reply = await ask(room.caller, "stuck")
        need(reply.type is SignalType.AGENT_OUTPUT, f"after the storm it answered with {reply.payload}")


class Storm:
    """Many TASKs for a Neuron that is stuck, sent as fast as refusals come.

    Attributes:
        outcomes: How many ended in which way.
    """

    def __init__(self, caller: Dendrite, number: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._caller = caller
        self._left = number
        self._senders: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()

    def begin(self) -> None:
        """Send; a caller whose TASK is refused sends the next one."""
        self._senders = [asyncio.ensure_future(self._send()) for _ in range(AT_ONCE)]

    async def _send(self) -> None:
        while self._left:
            self._left -= 1
            outcome = await _ask_stuck(self._caller)
            self.outcomes[outcome] += 1
            self._ended.set()

    async def passed(self, number: int) -> None:
        """Return once this many TASKs have ended."""
        while self.outcomes.total() < number:
            self._ended.clear()
            await self._ended.wait()

    async def ended(self) -> None:
        """Return once all have ended."""
        await asyncio.gather(*self._senders)


@REQUIREMENTS.proves("synapse:dendrite-stop")
async def check_dendrite_stop(under_test: SynapseUnderTest) -> None:
    """Stop the host while its Neuron has work that runs and work that waits; then let it finish."""
    stuck, goodbyes = Stuck(), Inbox()
    async with office(under_test, stuck.axon(max_concurrency=LIMIT), grace_s=10.0) as room:
        await listen(room.spare, Subjects(NAMESPACE).broadcast(SignalType.DEREGISTER), goodbyes)
        asked = [_ask_stuck(room.caller) for _ in range(AT_ONCE)]
        await room.network.until("the calls", lambda: stuck.running == LIMIT)
        await room.network.settle()
        stopping = asyncio.ensure_future(room.worker.stop("the kit is done"))
        await room.network.settle()
        stuck.gate.set()
        await bounded("stop()", stopping)
        outcomes = Counter(await bounded("the TASKs of a host that stopped", asyncio.gather(*asked)))
        need(
            outcomes == {"AGENT_OUTPUT": AT_ONCE},
            f"{AT_ONCE} TASKs had come when it was told to stop, with time enough, and ended in {outcomes}",
        )
        await goodbyes.until(1)
