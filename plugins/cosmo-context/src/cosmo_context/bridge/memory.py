"""What happened on the traces that a prompted Neuron works on."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from cosmo_core import Pathway, Signal, SignalType
from cosmo_core.plugins import SignalEvent, SignalObserver, hookimpl

if TYPE_CHECKING:
    from cosmo_context.context import Context
    from cosmo_core import Dendrite

OBSERVED: Final = (
    SignalType.AGENT_OUTPUT,
    SignalType.FINAL,
    SignalType.MEMORY_APPEND,
    SignalType.PLAN,
    SignalType.TOOL_RESULT,
)
"""The Signals that a `TraceMemory` learns from."""


@attrs.define(eq=False)
class _Trace:
    # Neuron id to its conversation; the others are the same for all Neurons.
    turns: dict[str, deque[dict[str, str]]] = attrs.field(factory=dict)
    # The ids of what was learnt: the same Signal may come by several ways.
    learnt: OrderedDict[str, tuple[str, Any]] = attrs.field(factory=OrderedDict)


class TraceMemory:
    """Remembers traces, and tells context Neurons of them.

    A prompted Neuron notes by itself what it was asked and what it answered: that is the ``history`` of its
    next prompt on the same trace. Whatever else happened on the trace is told to the memory, by `follow` for
    one Pathway, or for whole Dendrites by registering the memory as a hook plugin: then the outputs of other
    Neurons and of tools become ``knowledge_items``, the latest PLAN the ``subtasks``, and what was appended
    with MEMORY_APPEND goes to the key that it names.

    It lives in this process alone, and forgets the trace that was quiet the longest.

    Args:
        max_traces: How many traces are remembered.
        max_items: How many turns of each Neuron, and how many other things, are remembered of one trace.

    Raises:
        ValueError: A limit is below 1.
    """

    def __init__(self, *, max_traces: int = 256, max_items: int = 256) -> None:
        if max_traces < 1 or max_items < 1:
            raise ValueError(f"max_traces ({max_traces}) and max_items ({max_items}) start at 1")
        self._max_traces = max_traces
        self._max_items = max_items
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    # --- learning -----------------------------------------------------------------------------------

    def note(self, trace_id: str, neuron: str, *, asked: str, answered: str) -> None:
        """Remember one exchange with a Neuron."""
        turns = self._trace(trace_id).turns.setdefault(neuron, deque(maxlen=self._max_items))
        turns.append({"role": "user", "content": asked})
        turns.append({"role": "assistant", "content": answered})

    def observe(self, signal: Signal) -> None:
        """Learn from a Signal; what no prompt tells of is ignored, and so is one that came before."""
        learnt = _lesson(signal)
        if learnt is None:
            return
        lessons = self._trace(signal.trace_id).learnt
        lessons.setdefault(signal.id, learnt)
        if len(lessons) > self._max_items:
            lessons.popitem(last=False)

    def follow(self, pathway: Pathway) -> None:
        """Learn from everything on a Pathway."""
        for type in OBSERVED:
            pathway.on(type)(self.observe)

    @hookimpl
    def cosmo_signal_observers(self, dendrite: Dendrite) -> SignalObserver:
        """Learn from everything a Dendrite sends and receives, when registered as a hook plugin."""
        return self._see

    def _see(self, event: SignalEvent) -> None:
        if event.signal is not None and event.kind in {"sent", "received"}:
            self.observe(event.signal)

    def _trace(self, trace_id: str) -> _Trace:
        trace = self._traces.setdefault(trace_id, _Trace())
        self._traces.move_to_end(trace_id)
        if len(self._traces) > self._max_traces:
            self._traces.popitem(last=False)
        return trace

    # --- telling ------------------------------------------------------------------------------------

    def feed(self, ctx: Context, trace_id: str, neuron: str) -> None:
        """Put what is known of a trace before what the Context's state has, for a prompt of one Neuron.

        A history that the state has already stays alone: whoever sent it keeps it.
        """
        trace = self._traces.get(trace_id)
        if trace is None:
            return
        if not ctx.state.get("history") and (turns := trace.turns.get(neuron)):
            ctx.state.set("history", list(turns))
        known: dict[str, list[Any]] = {}
        for key, value in trace.learnt.values():
            if key == "subtasks":
                ctx.state.set(key, value)
            elif not (key == "knowledge_items" and value.get("source") == neuron):
                known.setdefault(key, []).append(value)
        for key, values in known.items():
            there = ctx.state.get(key) or []
            if isinstance(there, (list, tuple)):
                ctx.state.set(key, [*values, *there])

    def __repr__(self) -> str:
        return f"<TraceMemory of {len(self._traces)} traces>"


def as_text(value: Any) -> str:
    """Return what an LLM Neuron answered as text; anything else as JSON."""
    if isinstance(value, Mapping) and isinstance(value.get("response"), str):
        return str(value["response"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _lesson(signal: Signal) -> tuple[str, Any] | None:
    payload = signal.payload
    source = (signal.directed.id if signal.directed else None) or "unknown"
    match signal.type:
        case SignalType.AGENT_OUTPUT:
            return "knowledge_items", {"source": source, "content": as_text(payload["output"])}
        case SignalType.FINAL:
            return "knowledge_items", {"source": source, "content": as_text(payload["result"])}
        case SignalType.TOOL_RESULT if payload.get("error") is None:
            return "knowledge_items", {"source": payload["tool"], "content": as_text(payload.get("result"))}
        case SignalType.PLAN:
            return "subtasks", payload["steps"]
        case SignalType.MEMORY_APPEND:
            return payload["key"], payload["value"]
    return None
