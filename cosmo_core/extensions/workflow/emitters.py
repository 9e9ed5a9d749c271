"""Saying what one does: an emitter for each type that tells of a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from cosmo_core.protocol.payloads import given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
    from cosmo_core.protocol.signal import Directed


class Place(TypedDict, total=False):
    """Where a Signal stands on its trace; what every emitter takes, by keyword.

    Attributes:
        parent_id: The id of the Signal that causes it.
        directed: Whom it is meant for, if not everybody.
        meta: Whatever else shall travel along.
    """

    parent_id: str | None
    directed: Directed | None
    meta: dict[str, Any] | None


class Emitters:
    """Emits what tells of a workflow, on its trace, to all who listen.

    Each method makes one Signal, sends it and returns it. What is left at None is not sent, except where it
    is required. The Pathways of this Dendrite on the trace see it, too. All of them take a `Place` by
    keyword, and raise what `Dendrite.emit` does, or MalformedSignalError when an argument is not what the
    protocol asks for.
    """

    _dispatcher: Dispatcher

    async def _tell(
        self,
        type: SignalType,
        trace_id: str,
        required: dict[str, Any],
        place: Place,
        **optional: Any,
    ) -> Signal:
        signal = Signal.new(type, required | given(**optional), trace_id=trace_id, **place)
        await self._dispatcher.emit(signal)
        return signal

    async def emit_final(
        self, trace_id: str, result: Any, *, cost: Any = None, **place: Unpack[Place]
    ) -> Signal:
        """Emit the result of a whole workflow, which ends its trace."""
        return await self._tell(SignalType.FINAL, trace_id, {"result": result}, place, cost=cost)

    async def emit_error(
        self,
        trace_id: str,
        code: str,
        message: str,
        *,
        recoverable: bool = False,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit what went wrong, under a stable code. It answers the TASK that is its parent, if one is."""
        payload = {"code": code, "message": message, "recoverable": recoverable}
        return await self._tell(SignalType.ERROR, trace_id, payload, place)

    async def emit_plan(
        self,
        trace_id: str,
        steps: Sequence[Any],
        *,
        rationale: str | None = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit what is going to be done, step by step."""
        payload = {"steps": list(steps)}
        return await self._tell(SignalType.PLAN, trace_id, payload, place, rationale=rationale)

    async def emit_tool_call(
        self,
        trace_id: str,
        tool: str,
        args: Mapping[str, Any],
        *,
        call_id: str | None = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit that a tool is called; ``call_id`` joins it to its result."""
        payload = {"tool": tool, "args": dict(args)}
        return await self._tell(SignalType.TOOL_CALL, trace_id, payload, place, call_id=call_id)

    async def emit_tool_result(
        self,
        trace_id: str,
        tool: str,
        result: Any = None,
        *,
        error: Any = None,
        call_id: str | None = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit what a tool returned, or the ``error`` it failed with.

        Raises:
            TypeError: There are both; nothing was sent.
        """
        if result is not None and error is not None:
            raise TypeError(f"tool {tool!r} has a result or an error, not both")
        answer = {"result": result} if error is None else {"error": error}
        payload = {"tool": tool, **answer}
        return await self._tell(SignalType.TOOL_RESULT, trace_id, payload, place, call_id=call_id)

    async def emit_memory_append(self, trace_id: str, key: str, value: Any, **place: Unpack[Place]) -> Signal:
        """Emit a note for whoever keeps the trace's memory."""
        return await self._tell(SignalType.MEMORY_APPEND, trace_id, {"key": key, "value": value}, place)

    async def emit_critique(
        self,
        trace_id: str,
        target_event_id: str,
        issues: Sequence[Any],
        verdict: Any,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit a judgement of an earlier Signal."""
        payload = {"target_event_id": target_event_id, "issues": list(issues), "verdict": verdict}
        return await self._tell(SignalType.CRITIQUE, trace_id, payload, place)

    async def emit_escalation(
        self,
        trace_id: str,
        reason: str,
        *,
        target: str | None = None,
        context: Any = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit that work is handed upwards, and why."""
        return await self._tell(
            SignalType.ESCALATION, trace_id, {"reason": reason}, place, target=target, context=context
        )

    async def emit_consensus(
        self,
        trace_id: str,
        members: Sequence[str],
        verdict: Any,
        *,
        votes: Any = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit what a group of Neurons agreed on."""
        payload = {"members": list(members), "verdict": verdict}
        return await self._tell(SignalType.CONSENSUS, trace_id, payload, place, votes=votes)

    async def emit_context_sync(
        self,
        trace_id: str,
        snapshot: Any,
        *,
        version: str | int | None = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit a snapshot of shared context."""
        payload = {"snapshot": snapshot}
        return await self._tell(SignalType.CONTEXT_SYNC, trace_id, payload, place, version=version)

    async def emit_audit(
        self,
        trace_id: str,
        kind: str,
        domain: str,
        outcome: str,
        *,
        attempt: int = 1,
        details: Mapping[str, Any] | None = None,
        **place: Unpack[Place],
    ) -> Signal:
        """Emit a record of a decision; ``details`` are further keys of its payload."""
        payload = {"kind": kind, "domain": domain, "outcome": outcome, "attempt": attempt}
        return await self._tell(SignalType.AUDIT, trace_id, {**(details or {}), **payload}, place)
