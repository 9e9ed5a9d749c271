"""What a Dendrite offers to those who dispatch work."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from cosmo_core.dendrite.dispatch.dispatcher import TaskOptions
from cosmo_core.dendrite.dispatch.retrying import ask_again
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.pathway import Pathway, SignalHandler
    from cosmo_core.contracts.retry import RetryStrategy
    from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
    from cosmo_core.dendrite.hosting.trace_stopper import TraceStopper


class Dispatching:
    """The part of a Dendrite that sends work and ends it."""

    _dispatcher: Dispatcher
    _stopper: TraceStopper

    async def emit(self, signal: Signal) -> None:
        """Send a Signal: a TASK or STOP to the Neuron it is directed to, any other to all who listen.

        Raises:
            RoleError: The role of this Dendrite forbids the type; nothing was sent.
            RejectedError: A middleware of this Dendrite dropped it.
            UnencodableError: JSON cannot carry it.
            SynapseError: The Synapse could not take it.
        """
        await self._dispatcher.emit(signal)

    async def dispatch_task(self, **task: Unpack[TaskOptions]) -> Signal:
        """Send a TASK and return it, without following it. See `TaskOptions`; raises as `dispatch` does."""
        return await self._dispatcher.send(task)

    async def dispatch(self, **task: Unpack[TaskOptions]) -> Pathway:
        """Send a TASK and return the Pathway that follows it. See `TaskOptions`.

        Raises:
            LifecycleError: The Dendrite does not run.
            RoleError: It is a worker.
            NoRouteError: No live Neuron can take the TASK; nothing was sent (P-5.3).
            RejectedError: A middleware of this Dendrite dropped it.
            MalformedSignalError: An option is not what the protocol asks for; nothing was sent.
            UnencodableError: JSON cannot carry the input; nothing was sent.
            SynapseError: The Synapse could not take it.
        """
        return await self._dispatcher.dispatch(task)

    async def dispatch_and_subscribe(
        self, handlers: Mapping[SignalType, SignalHandler], **task: Unpack[TaskOptions]
    ) -> Pathway:
        """Send a TASK with callbacks in place, as `Pathway.on` would put them. Raises as `dispatch` does."""
        pathway = await self._dispatcher.dispatch(task)
        for type, handler in handlers.items():
            pathway.on(type)(handler)
        return pathway

    def dispatch_and_wait(
        self,
        *,
        timeout_s: float | None = 30.0,
        retry: RetryStrategy | None = None,
        **task: Unpack[TaskOptions],
    ) -> Coroutine[Any, Any, Signal]:
        """Send a TASK and return what ends it: AGENT_OUTPUT, CLARIFICATION, PERMISSION, ERROR or FINAL.

        An ERROR is returned, not raised: see `Signal.raise_for_error`. When the time is up, or the caller
        is cancelled, the worker is told to stop (P-9.8).

        Args:
            timeout_s: For how many seconds to wait; None for ever. It travels as the TASK's deadline.
            retry: When to try again. Each attempt then has the strategy's time instead of ``timeout_s``.
            **task: See `TaskOptions`.

        Raises:
            TimeoutError: No answer in time.
            PathwayClosedError: The Dendrite stopped first.
            CosmoError: Whatever else `dispatch` raises.
        """
        if retry is not None:
            return ask_again(self._dispatcher.ask, task, retry)
        return self._dispatcher.ask(task, timeout_s)

    async def stop_trace(
        self,
        trace_id: str,
        *,
        reason: str | None = None,
        rollback: bool = False,
        timeout_s: float = 1.0,
    ) -> list[Signal]:
        """Stop everything that runs or waits on a trace, in every Dendrite of the namespace.

        Its Neurons are cancelled and their TASKs answered with ERROR ``CANCELLED``. TASKs of the trace that
        were sent before, and arrive only later, do not run; those sent afterwards do (P-9.2 to P-9.6).

        Args:
            trace_id: The trace.
            reason: For those who read along.
            rollback: Undo what the trace wrote to Engrams.
            timeout_s: For how many seconds to wait for acknowledgements; less when all have come.

        Returns:
            The STOPPED of each Dendrite that answered in time; their payload counts what was ``cancelled``.

        Raises:
            RoleError: This Dendrite is a worker; nothing was sent.
            LifecycleError: The Dendrite does not run.
            MalformedSignalError: ``trace_id`` is none.
            RejectedError: A middleware of this Dendrite dropped the STOP.
            SynapseError: The Synapse could not take it.
        """
        self._dispatcher.check_running()
        return await self._stopper.stop(trace_id, reason=reason, rollback=rollback, timeout_s=timeout_s)
