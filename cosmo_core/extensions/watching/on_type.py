"""``on_task``, ``on_final`` and the others: `Watching.on` with the type in its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.pathway import H
    from cosmo_core.extensions.watching.watching import Watching


class OnType:
    """`Watching.on` for one type: a decorator by itself, and with filters in parentheses."""

    __slots__ = ("_dendrite", "_type")

    def __init__(self, dendrite: Watching, type: SignalType) -> None:
        self._dendrite = dendrite
        self._type = type

    @overload
    def __call__(self, handler: H, /) -> H: ...

    @overload
    def __call__(
        self,
        handler: None = None,
        /,
        *,
        neuron: str | None = None,
        capability: str | None = None,
        trace_id: str | None = None,
    ) -> Callable[[H], H]: ...

    def __call__(
        self,
        handler: Any = None,
        /,
        *,
        neuron: str | None = None,
        capability: str | None = None,
        trace_id: str | None = None,
    ) -> Any:
        """Watch the type with ``handler``, or return the decorator that does. Raises as `Watching.on`."""
        register = self._dendrite.on(self._type, neuron=neuron, capability=capability, trace_id=trace_id)
        return register if handler is None else register(handler)


class Shortcut:
    """Gives each Dendrite its own `OnType`, when it is asked for."""

    __slots__ = ("_type",)

    def __init__(self, type: SignalType) -> None:
        self._type = type

    @overload
    def __get__(self, dendrite: None, owner: type[Watching], /) -> Shortcut: ...

    @overload
    def __get__(self, dendrite: Watching, owner: type[Watching], /) -> OnType: ...

    def __get__(self, dendrite: Watching | None, owner: type[Watching], /) -> Shortcut | OnType:
        """Return what watches the type on ``dendrite``."""
        return self if dendrite is None else OnType(dendrite, self._type)


class Shortcuts:
    """One for each type, but for TASK_OFFER: who watches that is asked to bid."""

    on_task = Shortcut(SignalType.TASK)
    on_agent_output = Shortcut(SignalType.AGENT_OUTPUT)
    on_final = Shortcut(SignalType.FINAL)
    on_error = Shortcut(SignalType.ERROR)
    on_bid = Shortcut(SignalType.BID)
    on_task_awarded = Shortcut(SignalType.TASK_AWARDED)
    on_task_declined = Shortcut(SignalType.TASK_DECLINED)
    on_thought_delta = Shortcut(SignalType.THOUGHT_DELTA)
    on_plan = Shortcut(SignalType.PLAN)
    on_tool_call = Shortcut(SignalType.TOOL_CALL)
    on_tool_result = Shortcut(SignalType.TOOL_RESULT)
    on_memory_append = Shortcut(SignalType.MEMORY_APPEND)
    on_escalation = Shortcut(SignalType.ESCALATION)
    on_consensus = Shortcut(SignalType.CONSENSUS)
    on_context_sync = Shortcut(SignalType.CONTEXT_SYNC)
    on_critique = Shortcut(SignalType.CRITIQUE)
    on_audit = Shortcut(SignalType.AUDIT)
    on_clarification = Shortcut(SignalType.CLARIFICATION)
    on_clarification_answer = Shortcut(SignalType.CLARIFICATION_ANSWER)
    on_permission = Shortcut(SignalType.PERMISSION)
    on_permission_decision = Shortcut(SignalType.PERMISSION_DECISION)
    on_recall = Shortcut(SignalType.RECALL)
    on_recalled = Shortcut(SignalType.RECALLED)
    on_imprint = Shortcut(SignalType.IMPRINT)
    on_imprinted = Shortcut(SignalType.IMPRINTED)
    on_register = Shortcut(SignalType.REGISTER)
    on_deregister = Shortcut(SignalType.DEREGISTER)
    on_heartbeat = Shortcut(SignalType.HEARTBEAT)
    on_discover = Shortcut(SignalType.DISCOVER)
    on_stop = Shortcut(SignalType.STOP)
    on_stopped = Shortcut(SignalType.STOPPED)
