"""The resolver: finds a live Neuron or Engram in the directory, and sends DISCOVER on a miss.

The describer asks a host what a Neuron does and takes. Descriptions are not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from cosmo_core.arguments import check_wait
from cosmo_core.dendrite.discovery.announcer import Announcer
from cosmo_core.dendrite.discovery.directory import Directory, NeuronRecord
from cosmo_core.dendrite.life_cycle import LifeCycle
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import LifecycleError, NoRouteError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

STALL_TURNS: Final = 10
"""Turns of the event loop, after the time limit, in which an answer that has arrived may be read."""


class Resolver:
    """Resolves the Neurons, or the Engrams, of a namespace.

    Args:
        directory: The directory to search.
        announcer: Sends DISCOVER, and fills the directory.
        discovery_s: Seconds to wait for an announcement before `NoRouteError`.
        listen_soon: Makes the announcer listen, in the background.
    """

    def __init__(
        self,
        directory: Directory,
        announcer: Announcer,
        discovery_s: float,
        listen_soon: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._announcer = announcer
        self._discovery_s = discovery_s
        self._listen_soon = listen_soon
        self._closed = False

    def records(self, capability: str | None) -> list[NeuronRecord]:
        """Return what is live, as `Directory.records` does; see `Dendrite.find_neurons`."""
        known = self._directory.records(capability)
        if not self._announcer.listens:
            self._listen_soon()
        return known

    async def complete(self) -> None:
        """Return when the directory knows all hosts; see `Announcer.complete`."""
        await self._announcer.complete()

    def close(self) -> None:
        """End every wait with LifecycleError."""
        self._closed = True
        self._directory.notify()

    async def wait_until_ready(
        self, id: str | None, capabilities: Sequence[str], timeout_s: float | None
    ) -> None:
        """Return when there is a match; see `Dendrite.wait_until_ready`."""
        if id is not None:
            check_token("id", id)
        try:
            async with asyncio.timeout(timeout_s):
                await self._announcer.discover(_criteria(id, capabilities))
                while self._directory.find(id, capabilities) is None:
                    await self._wait_for_change()
        except TimeoutError:
            if timeout_s is not None and self._directory.find(id, capabilities) is None:
                reason = self._directory.no_route(id, capabilities)
                limit = max(0, round(timeout_s, 3))
                raise TimeoutError(f"not ready within {limit} s: {reason}") from None

    async def resolve(self, id: str | None, capabilities: Sequence[str]) -> str:
        """Return a live id: the given one, or one that has all the capabilities.

        On a miss it sends DISCOVER, in case an announcement was missed.

        Raises:
            NoRouteError: There is no match; the error names those that are known.
        """
        found = self._directory.find(id, capabilities)
        if found is not None:
            return found
        await self._announcer.discover(_criteria(id, capabilities))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._discovery_s):
                while self._directory.find(id, capabilities) is None:
                    await self._wait_for_change()
        # After a stall of this process, answers may have arrived that were not read yet.
        for _ in range(STALL_TURNS):
            if (found := self._directory.find(id, capabilities)) is not None:
                return found
            await asyncio.sleep(0)
        raise self._directory.no_route(id, capabilities)

    async def _wait_for_change(self) -> None:
        if not self._closed:
            await self._directory.wait_for_change()
        if self._closed:
            raise LifecycleError("the Dendrite stopped while it waited for an announcement")


def _criteria(id: str | None, capabilities: Sequence[str]) -> dict[str, Any]:
    return without_none(neuron=id, capabilities=list(capabilities) or None)


# --- descriptions -----------------------------------------------------------------------------------


class NeuronDescription(msgspec.Struct, frozen=True):
    """What a host tells about a Neuron on request (P-4.17).

    Attributes:
        neuron_id: Its address.
        description: What it does.
        capabilities: Its capabilities.
        version: Its version.
        input_schema: The JSON Schema of its inputs; None if it takes any object.
        output_schema: The JSON Schema of its outputs, where one that is not an object stands for the
            ``value`` of the output; None if they are not checked.
    """

    neuron_id: str
    description: str | None
    capabilities: tuple[str, ...]
    version: str | None
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None


class Describer:
    """Fetches descriptions of Neurons.

    Args:
        link: The link to the Synapse.
        life_cycle: The life cycle of the Dendrite.
        inbox: The id of this Dendrite, where answers arrive.
        announcer: Gets every REGISTER that arrives there.
        directory: The Neurons that an error lists.
    """

    def __init__(
        self, link: Link, life_cycle: LifeCycle, inbox: str, announcer: Announcer, directory: Directory
    ) -> None:
        self._link = link
        self._life_cycle = life_cycle
        self._inbox = inbox
        self._announcer = announcer
        self._directory = directory
        # The answers that callers wait for, by the id of the DISCOVER.
        self._answers: dict[str | None, asyncio.Future[Signal]] = {}

    async def describe(self, neuron_id: str, timeout_s: float | None) -> NeuronDescription:
        """Ask the hosts of a Neuron; the first answer counts. See `Dendrite.describe_neuron`."""
        check_wait(timeout_s)
        criteria = {"neuron": check_token("neuron_id", neuron_id), "details": True}
        self._life_cycle.check_stable()
        discover = Signal.new(SignalType.DISCOVER, criteria, meta={"reply_to": self._inbox})
        answer = self._answers[discover.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                # An error lists those that are known.
                await self._announcer.listen()
                await self._link.send_or_raise(self._link.subjects.broadcast(discover.type), discover)
                told = (await answer).payload
        except TimeoutError:
            known = (record.neuron_id for record in self._directory.records())
            raise NoRouteError(f"Neuron {neuron_id!r} that answers within {timeout_s} s", known) from None
        finally:
            del self._answers[discover.id]
        return NeuronDescription(
            neuron_id,
            told.get("description"),
            tuple(told["capabilities"]),
            told.get("version"),
            told.get("input_schema"),
            told.get("output_schema"),
        )

    def receive(self, register: Signal) -> None:
        """Take a REGISTER that arrived in the inbox."""
        self._announcer.receive(register)
        answer = self._answers.get(register.parent_id)
        # An Engram may have the id of the Neuron.
        if answer is not None and not answer.done() and register.payload["role"] == "neuron":
            answer.set_result(register)

    def close(self) -> None:
        """End every wait with LifecycleError."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LifecycleError("the Dendrite stopped while it waited for a description"))
