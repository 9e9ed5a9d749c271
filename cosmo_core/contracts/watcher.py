"""The Watcher: calls a handler with the Signals of one type that match a filter."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, Self, Unpack, overload

import msgspec

from cosmo_core.arguments import check_options
from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.options import FilterOptions
from cosmo_core.contracts.pathway import H, SignalHandler, call_handler, finish_call
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import Signal, check_trace_id
from cosmo_core.protocol.signal_type import SignalType


class Filter(msgspec.Struct, frozen=True):
    """The conditions on a watched Signal. A condition that is None matches every Signal.

    Attributes:
        neuron: The id of a Neuron that the Signal is directed to; an answer is directed as its TASK was.
        capability: A capability that the Signal is directed to, or that its payload names.
        trace_id: The trace.

    Raises:
        MalformedSignalError: A name or the trace id is malformed.
    """

    neuron: str | None = None
    capability: str | None = None
    trace_id: str | None = None

    @classmethod
    def of(cls, options: FilterOptions) -> Filter:
        """Make a filter from options.

        Raises:
            TypeError: An option is unknown.
            MalformedSignalError: A name or the trace id is malformed.
        """
        check_options("a filter of Signals", options, FilterOptions.__annotations__)
        return cls(**options)

    def __post_init__(self) -> None:
        if self.neuron is not None:
            check_token("neuron", self.neuron)
        if self.capability is not None:
            check_token("capability", self.capability)
        if self.trace_id is not None:
            check_trace_id(self.trace_id)

    def matches(self, signal: Signal) -> bool:
        """Tell whether ``signal`` meets all conditions."""
        directed = signal.directed
        if self.trace_id is not None and signal.trace_id != self.trace_id:
            return False
        if self.neuron is not None and (directed is None or directed.id != self.neuron):
            return False
        return (
            self.capability is None
            or (directed is not None and self.capability in directed.capabilities)
            or self.capability in (signal.payload.get("capabilities") or ())
        )


class WatcherOwner(Protocol):
    """The part of the extension that a Watcher uses."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background, at most until the Dendrite stops."""

    def remove_watcher(self, watcher: Watcher) -> None:
        """Pass no more Signals to ``watcher``."""

    async def unsubscribed(self, type: SignalType) -> None:
        """Return when the subscriptions of ``type`` have ended, if it has no Watcher left."""


class Watcher:
    """Calls a handler, plain or async, with the Signals that match, one at a time and in order.

    A plain handler runs when a Signal arrives; it blocks the event loop, so it should be short. While an
    async one is busy, up to ``buffer`` Signals wait for it; beyond that the oldest is dropped. An exception
    of the handler is logged and affects nothing else. `cancel` it, use it as ``async with``, or let it end
    with its Dendrite.

    Attributes:
        type: The type it watches.
        dropped: The number of Signals that were dropped because the handler was too slow.
    """

    def __init__(
        self, owner: WatcherOwner, type: SignalType, handler: SignalHandler, filter: Filter, *, buffer: int
    ) -> None:
        self.type = type
        self.dropped = 0
        self._owner = owner
        self._handler = handler
        self._matches = filter.matches
        self._buffer = buffer
        self._backlog: deque[Signal] = deque()
        self._busy = False
        self._cancelled = False

    def offer(self, signal: Signal) -> None:
        """Call the handler with ``signal`` if it matches, now or after the Signals that wait."""
        if self._cancelled or signal.type is not self.type or not self._matches(signal):
            return
        if self._busy:
            self._enqueue(signal)
        elif (work := call_handler(self, self._handler, signal)) is not None:
            self._busy = True
            self._owner.spawn(self._run(signal, work))

    def _enqueue(self, signal: Signal) -> None:
        if len(self._backlog) >= self._buffer:
            self._backlog.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("%r is too slow; the oldest waiting Signals are dropped", self)
        self._backlog.append(signal)

    async def _run(self, signal: Signal, work: Awaitable[None] | None) -> None:
        try:
            while True:
                if work is not None:
                    await finish_call(self, work, signal)
                if not self._backlog:
                    return
                signal = self._backlog.popleft()
                work = call_handler(self, self._handler, signal)
        finally:
            self._busy = False

    # --- ending -------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop calling the handler; a call in progress continues. Cancelling it again has no effect."""
        self._cancelled = True
        self._backlog.clear()
        self._owner.remove_watcher(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()
        await self._owner.unsubscribed(self.type)

    def __repr__(self) -> str:
        name = getattr(self._handler, "__qualname__", type(self._handler).__qualname__)
        return f"<Watcher {name} of {self.type.value}>"


# --- on_<type> --------------------------------------------------------------------------------------


class OnOwner(Protocol):
    """The part of a Dendrite that `OnType` uses."""

    def on(self, type: SignalType, **filter: Unpack[FilterOptions]) -> Callable[[H], H]:
        """Return the decorator that watches a type."""


class OnType:
    """`Dendrite.on` for one type: a decorator by itself, and with filters in parentheses."""

    __slots__ = ("_dendrite", "_type")

    def __init__(self, type: SignalType, dendrite: OnOwner | None = None) -> None:
        self._type = type
        self._dendrite = dendrite

    def __get__(self, dendrite: OnOwner | None, owner: type) -> OnType:
        """Return the `OnType` of one Dendrite."""
        return self if dendrite is None else OnType(self._type, dendrite)

    @overload
    def __call__(self, handler: H, /) -> H: ...

    @overload
    def __call__(self, handler: None = None, /, **filter: Unpack[FilterOptions]) -> Callable[[H], H]: ...

    def __call__(self, handler: Any = None, /, **filter: Unpack[FilterOptions]) -> Any:
        """Watch the type with ``handler``, or return the decorator. Raises as `Dendrite.on` does."""
        if self._dendrite is None:
            raise TypeError(f"on_{self._type.value.lower()} belongs to a Dendrite: use it on an instance")
        register = self._dendrite.on(self._type, **filter)
        return register if handler is None else register(handler)
