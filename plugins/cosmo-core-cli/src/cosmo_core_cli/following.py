"""Following a TASK to its end, and stopping it when nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cosmo_core import Directed, PathwayClosedError, Signal, SignalType
from cosmo_core.protocol.signal_type import TERMINAL_TYPES
from cosmo_core_cli import statuses

if TYPE_CHECKING:
    from cosmo_core import Dendrite, Pathway

STATUSES: Final = {
    SignalType.ERROR: statuses.FAILED,
    SignalType.CLARIFICATION: statuses.ASKED_BACK,
    SignalType.PERMISSION: statuses.ASKED_BACK,
}
"""The exit statuses of answers; that of any other is 0."""


async def followed(
    dendrite: Dendrite,
    pathway: Pathway,
    show: Callable[[Signal], None],
    *,
    timeout_s: float | None = None,
    finalize: bool = False,
) -> Signal:
    """Show every Signal as it comes, and return the one that ends the TASK.

    When the time is up, or this is cancelled, the Neuron is told to stop.

    Args:
        dendrite: Who dispatched the TASK.
        pathway: What came of it.
        show: Called with each.
        timeout_s: For how many seconds to wait; None for ever.
        finalize: The TASK asked for FINAL: go on until that.

    Raises:
        TimeoutError: No answer in time.
        PathwayClosedError: The Dendrite stopped first.
    """
    async with pathway:
        try:
            async with asyncio.timeout(timeout_s):
                return await _last(pathway, show, finalize)
        except TimeoutError:
            await _stop(dendrite, pathway, "the caller's time is up")
            raise TimeoutError(
                f"Neuron {pathway.neuron!r} did not answer within {timeout_s:g} s, and was told to stop; "
                "--timeout gives it longer"
            ) from None
        except asyncio.CancelledError:
            await _stop(dendrite, pathway, "the caller was interrupted")
            raise


async def _last(pathway: Pathway, show: Callable[[Signal], None], finalize: bool) -> Signal:
    ends = TERMINAL_TYPES - {SignalType.AGENT_OUTPUT} if finalize else TERMINAL_TYPES
    async for signal in pathway:
        show(signal)
        if signal.type in ends:
            return signal
    raise PathwayClosedError(f"Neuron {pathway.neuron!r} was not heard to the end: the Dendrite stopped")


async def _stop(dendrite: Dendrite, pathway: Pathway, reason: str) -> None:
    stop = Signal.new(
        SignalType.STOP,
        {"rollback": False, "reason": reason},
        trace_id=pathway.trace_id,
        parent_id=pathway.task_id,
        directed=Directed(id=pathway.neuron),
    )
    await dendrite.emit(stop)
