"""Delivery of TASKs straight to a worker's handler, for tests of acknowledgement and redelivery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from cosmo_core import Signal, SignalType, encode
from cosmo_core.protocol.signal import address

TASK_SUBJECT: Final = "cosmonapse.test.TASK.neuron.count"
OUTPUT: Final = SignalType.AGENT_OUTPUT
FINAL: Final = SignalType.FINAL
ERROR: Final = SignalType.ERROR


class Count:
    """A Neuron that counts its runs.

    Attributes:
        runs: The number of its runs.
    """

    __name__ = "count"

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        # Not answered in its first step, so the delivery is unacknowledged for a moment.
        await asyncio.sleep(0)
        self.runs += 1
        return {"run": self.runs, **input}


def make_task(reply_to: str | None = "asker", **payload: Any) -> Signal:
    """Return a TASK for the Neuron ``count``."""
    meta = {} if reply_to is None else {"reply_to": reply_to}
    return Signal.new(SignalType.TASK, {"input": {}, **payload}, directed=address("count"), meta=meta)


async def deliver(synapse: Any, task: Signal) -> bool:
    """Deliver a TASK as a Synapse does and wait for its acknowledgement; return False if it was immediate."""
    work = synapse.handlers[TASK_SUBJECT](encode(task))
    if work is None:
        return False
    async with asyncio.timeout(5):
        await work
    return True


def ids(signals: Sequence[Signal]) -> list[str]:
    """Return the ids of Signals."""
    return [signal.id for signal in signals]


def undelivered_handlers_of(synapse: Any, type: SignalType) -> list[Any]:
    """Return the ``undelivered`` handler of each Signal sent of a type."""
    return [
        handler
        for signal, handler in zip(synapse.sent, synapse.undelivered_handlers, strict=True)
        if signal.type is type
    ]
