"""The describer: asks a host what a Neuron does and takes. Descriptions are not kept."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from cosmo_core.arguments import check_wait
from cosmo_core.dendrite.discovery.announcer import Announcer
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.life_cycle import LifeCycle
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import LifecycleError, NoRouteError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


@attrs.frozen
class NeuronDescription:
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


@attrs.define(eq=False)
class Describer:
    """Fetches descriptions of Neurons.

    Args:
        link: The link to the Synapse.
        life_cycle: The life cycle of the Dendrite.
        inbox: The id of this Dendrite, where answers arrive.
        announcer: Gets every REGISTER that arrives there.
        directory: The Neurons that an error lists.
    """

    _link: Link
    _life_cycle: LifeCycle
    _inbox: str
    _announcer: Announcer
    _directory: Directory
    # The answers that callers wait for, by the id of the DISCOVER.
    _answers: dict[str | None, asyncio.Future[Signal]] = attrs.field(factory=dict, init=False)

    async def describe(self, neuron_id: str, timeout_s: float | None) -> NeuronDescription:
        """Ask the hosts of a Neuron; the first answer counts. See `Dendrite.describe_neuron`."""
        check_wait(timeout_s)
        criteria = {"neuron": check_token("neuron_id", neuron_id), "details": True}
        self._life_cycle.check_stable()
        discover = Signal.new(SignalType.DISCOVER, criteria, meta={"reply_to": self._inbox})
        answer = self._answers[discover.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
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
