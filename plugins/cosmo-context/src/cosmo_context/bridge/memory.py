"""`TraceMemory`, which remembers what happened on the traces of prompted Neurons."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

import attrs

from cosmo_context.context import Context
from cosmo_core import Dendrite, Pathway, Signal, SignalType
from cosmo_core.arguments import check_count
from cosmo_core.plugins import SignalEvent, SignalObserver, hookimpl

OBSERVED: Final = (
    SignalType.AGENT_OUTPUT,
    SignalType.FINAL,
    SignalType.MEMORY_APPEND,
    SignalType.PLAN,
    SignalType.TOOL_RESULT,
)
"""The types of Signals that a `TraceMemory` reads."""


@attrs.define(eq=False)
class _Trace:
    # The conversation of each Neuron, by its id.
    turns: dict[str, deque[dict[str, str]]] = attrs.field(factory=dict)
    # State key and value by Signal id: a Signal may arrive more than once. They are shared by all Neurons.
    items: OrderedDict[str, tuple[str, Any]] = attrs.field(factory=OrderedDict)


class TraceMemory:
    """Remembers traces, so that later prompts on the same trace can refer to them.

    A prompted Neuron adds each question and answer by itself; they are the ``history`` of its next prompt on
    the trace. Other Signals of a trace are read with `follow` from a Pathway, or from whole Dendrites if the
    memory is registered as a hook plugin. The outputs of other Neurons and of tools then become
    ``knowledge_items``, the latest PLAN becomes ``subtasks``, and a MEMORY_APPEND is added to the key that it
    names.

    The memory is not persistent. If it is full, it forgets the least recently used trace.

    Args:
        max_traces: How many traces are remembered.
        max_items: How many messages of each Neuron, and how many other items, are remembered per trace.

    Raises:
        TypeError: A limit is not an integer.
        ValueError: A limit is below 1.
    """

    def __init__(self, *, max_traces: int = 256, max_items: int = 256) -> None:
        self._max_traces = check_count("max_traces", max_traces)
        self._max_items = check_count("max_items", max_items)
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    # --- writing --------------------------------------------------------------------------------------

    def note(self, trace_id: str, neuron: str, *, asked: str, answered: str) -> None:
        """Remember a question to a Neuron and its answer."""
        turns = self._trace(trace_id).turns.setdefault(neuron, deque(maxlen=self._max_items))
        turns.append({"role": "user", "content": asked})
        turns.append({"role": "assistant", "content": answered})

    def observe(self, signal: Signal) -> None:
        """Remember a Signal. Other types than `OBSERVED`, and repeated Signals, are ignored."""
        item = _item(signal)
        if item is None:
            return
        items = self._trace(signal.trace_id).items
        items.setdefault(signal.id, item)
        if len(items) > self._max_items:
            items.popitem(last=False)

    def follow(self, pathway: Pathway) -> None:
        """Remember the Signals of a Pathway."""
        for type in OBSERVED:
            pathway.on(type)(self.observe)

    @hookimpl
    def cosmo_signal_observers(self, dendrite: Dendrite) -> SignalObserver:
        """Remember the Signals that a Dendrite sends and receives. A hook, called if this is a plugin."""
        return self._observe_event

    def _observe_event(self, event: SignalEvent) -> None:
        if event.signal is not None and event.kind in {"sent", "received"}:
            self.observe(event.signal)

    def _trace(self, trace_id: str) -> _Trace:
        trace = self._traces.setdefault(trace_id, _Trace())
        self._traces.move_to_end(trace_id)
        if len(self._traces) > self._max_traces:
            self._traces.popitem(last=False)
        return trace

    # --- reading --------------------------------------------------------------------------------------

    def feed(self, ctx: Context, trace_id: str, neuron: str) -> None:
        """Fill a Context with the items of a trace, for a prompt of one Neuron.

        Items are added before those that the state has. A history that the state has is not changed, since
        its sender keeps the conversation.
        """
        trace = self._traces.get(trace_id)
        if trace is None:
            return
        if not ctx.state.get("history") and (turns := trace.turns.get(neuron)):
            ctx.state.set("history", list(turns))
        added: dict[str, list[Any]] = {}
        for key, value in trace.items.values():
            if key == "subtasks":
                ctx.state.set(key, value)
            elif not (key == "knowledge_items" and value.get("source") == neuron):
                added.setdefault(key, []).append(value)
        for key, values in added.items():
            old = ctx.state.get(key) or []
            if isinstance(old, (list, tuple)):
                ctx.state.set(key, [*values, *old])

    def __repr__(self) -> str:
        return f"<TraceMemory of {len(self._traces)} traces>"


def as_text(value: Any) -> str:
    """Return the text of an LLM Neuron's answer, or any other value as JSON."""
    if isinstance(value, Mapping) and isinstance(value.get("response"), str):
        return str(value["response"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _item(signal: Signal) -> tuple[str, Any] | None:
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
