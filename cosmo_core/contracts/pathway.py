"""The Pathway: everything that happens on one trace, seen from one Dendrite, in three shapes."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from types import TracebackType, coroutine
from typing import Any, Final, Protocol, Self, TypeVar

from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Signal, address
from cosmo_core.protocol.signal_type import (
    ANSWER_TYPES,
    AXON_TYPES,
    CLOSING_TYPES,
    ENDING_TYPES,
    TERMINAL_TYPES,
    SignalType,
)

SignalHandler = Callable[[Signal], Awaitable[None] | None]
H = TypeVar("H", bound=SignalHandler)

# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_THOUGHT_DELTA: Final = SignalType.THOUGHT_DELTA

logger = logging.getLogger("cosmo_core.contracts.pathway")


@coroutine
def _one_turn() -> Generator[None]:
    """Let everything run that is ready to: `asyncio.sleep(0)` at a third of its price."""
    yield


def is_being_cancelled() -> bool:
    """Tell whether a CancelledError means the calling task, and not something that it waited for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def any_of(types: Iterable[SignalType]) -> str:
    """Return the names of some types, as in "ERROR or FINAL"."""
    return " or ".join(sorted(type.value for type in types))


class TimeLimit(Protocol):
    """A context that raises TimeoutError when it is not left in time.

    Attributes:
        expired: Whether the time was up before the context was left.
    """

    expired: bool

    def __enter__(self) -> object: ...

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class PathwayOwner(Protocol):
    """What a Pathway needs of the Dendrite that opened it."""

    def remove(self, pathway: Pathway) -> None:
        """Stop delivering to ``pathway``."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background, no longer than the Dendrite runs."""
        ...

    def time_limit(self, timeout_s: float | None) -> TimeLimit:
        """Return a context that raises TimeoutError when it takes longer than ``timeout_s`` seconds."""
        ...


class Pathway:
    """Follows one TASK, and whatever else happens on its trace.

    Three shapes, freely mixed: ``await pathway.wait()``, ``@pathway.on(type)`` and ``async for``. Signals
    are buffered from the moment the Pathway opens, up to ``buffer`` of them; then the oldest goes, and
    `dropped` counts it. Waiting, a handler and an iteration all begin with the oldest Signal that is still
    buffered, so each of them sees everything, even when it starts after the Pathway closed.

    A TASK has one answer. A bus that loses a worker may give its TASK to another one: what comes after the
    answer, and a THOUGHT_DELTA that was there already, is ignored (P-11.8).

    FINAL and ERROR close a Pathway. So do `close`, ``async with``, the end of its Dendrite, and nobody
    holding it any more; a handler holds it.

    Attributes:
        trace_id: The trace it follows.
        task_id: The TASK whose answers it takes; others on the trace have their own Pathways.
        neuron: The Neuron that was asked.
        answer: The type of the answer that came.
        finalized: Whether FINAL is to follow the answer, or an ERROR in its place.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_changed",
        "_closed",
        "_first",
        "_owner",
        "_settled",
        "_signals",
        "_waiters",
        "answer",
        "finalized",
        "neuron",
        "task_id",
        "trace_id",
    )

    def __init__(
        self, owner: PathwayOwner, trace_id: str, task_id: str, neuron: str, buffer: int = 1024
    ) -> None:
        self.trace_id = trace_id
        self.task_id = task_id
        self.neuron = neuron
        self.answer: SignalType | None = None
        self.finalized = False
        # How many Signals the buffer gave up.
        self._first = 0
        self._owner = owner
        self._buffer = buffer
        self._closed = False
        # Made when they are needed: many Pathways are open at once, and most hold one Signal or none.
        self._signals: list[Signal] | None = None
        self._waiters: list[tuple[frozenset[SignalType], asyncio.Future[Signal]]] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._settled: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        """Whether no more Signals will come."""
        return self._closed

    @property
    def dropped(self) -> int:
        """How many Signals the buffer had to give up."""
        return self._first

    # --- one answer ---------------------------------------------------------------------------------

    # Neither is `async`: a coroutine around another one would cost every answer a tenth of a microsecond.

    def wait(self, timeout_s: float | None = None) -> Coroutine[Any, Any, Signal]:
        """Return the first AGENT_OUTPUT, CLARIFICATION, PERMISSION, ERROR or FINAL.

        An ERROR is returned, not raised: see `Signal.raise_for_error`.

        Raises:
            TimeoutError: None came within ``timeout_s`` seconds. The Pathway stays open.
            PathwayClosedError: The Pathway closed, and none had come.
        """
        return self._wait(TERMINAL_TYPES, timeout_s)

    def wait_for(self, type: SignalType, timeout_s: float | None = None) -> Coroutine[Any, Any, Signal]:
        """Return the first Signal of one type.

        Raises:
            TimeoutError: None came within ``timeout_s`` seconds. The Pathway stays open.
            PathwayClosedError: The Pathway closed, and none had come.
        """
        return self._wait(frozenset((type,)), timeout_s)

    async def _wait(self, wanted: frozenset[SignalType], timeout_s: float | None) -> Signal:
        if self._signals is None and not self._closed:
            # A Neuron in this process that has nothing to wait for has answered by then, and nothing below
            # is needed.
            await _one_turn()
        for signal in self._signals or ():
            if signal.type in wanted:
                return signal
        if self._closed:
            raise self._closed_error(wanted)
        future: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()
        entry = (wanted, future)
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(entry)
        try:
            if timeout_s is None:
                return await future
            with self._owner.time_limit(timeout_s):
                return await future
        except TimeoutError:
            raise self._timeout_error(wanted, timeout_s) from None
        finally:
            self._waiters.remove(entry)

    def _timeout_error(self, types: frozenset[SignalType], timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"Neuron {self.neuron!r} did not answer {self.task_id} within {timeout_s} s")

    def _closed_error(self, types: frozenset[SignalType]) -> PathwayClosedError:
        wanted = any_of(types)
        return PathwayClosedError(f"the Pathway of {self.task_id} to {self.neuron!r} closed before {wanted}")

    # --- callbacks ----------------------------------------------------------------------------------

    def on(self, type: SignalType) -> Callable[[H], H]:
        """Call the decorated function, plain or async, with every Signal of ``type``, one at a time.

        What a handler raises is logged and does not stop it.
        """

        def register(handler: H) -> H:
            self._owner.spawn(self._feed(type, handler))
            return handler

        return register

    async def _feed(self, type: SignalType, handler: SignalHandler) -> None:
        async for signal in self:
            if signal.type is not type:
                continue
            try:
                result = handler(signal)
                if inspect.isawaitable(result):
                    await result
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                    raise
                logger.exception("the %s handler of %s failed on %s", type.value, self._name, signal.id)

    @property
    def _name(self) -> str:
        return self.task_id

    # --- the stream ---------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Signal]:
        """Yield every Signal, from the oldest one buffered until the Pathway closes."""
        position = self._first
        while True:
            # What was dropped while this iteration was elsewhere cannot be had any more.
            position = max(position, self._first)
            signals = self._signals
            if signals is not None and position - self._first < len(signals):
                signal = signals[position - self._first]
                position += 1
                yield signal
            elif self._closed:
                return
            else:
                await self._change()

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        # Shielded: other iterations wait for the same future.
        await asyncio.shield(self._changed)

    # --- the Dendrite's side ------------------------------------------------------------------------

    def deliver(self, signal: Signal) -> None:
        """Take a Signal that arrived: wake who waits for it, and buffer it for who comes later."""
        type = signal.type
        if self._closed or (self.answer is not None and not self._may_follow(type)):
            return
        signals = self._signals
        if signals is None:
            self._signals = [signal]
        else:
            if type is _THOUGHT_DELTA and not self._is_new(signal):
                return
            signals.append(signal)
            if len(signals) > self._buffer:
                self._overflow()
        if type in ANSWER_TYPES:
            self.answer = type
            if self._settled is not None:
                self._settle()
        if self._waiters:
            for types, future in self._waiters:
                if type in types and not future.done():
                    future.set_result(signal)
        if type in CLOSING_TYPES and self._ends_with(type):
            self.close()
        elif self._changed is not None:
            self._wake()

    def _may_follow(self, type: SignalType) -> bool:
        """Tell whether a Signal of a type may come after the answer: only one ERROR is no second answer."""
        if type is SignalType.ERROR:
            return self.finalized and self.answer is SignalType.AGENT_OUTPUT
        return type not in AXON_TYPES

    def _is_new(self, delta: Signal) -> bool:
        seq: int = delta.payload["seq"]
        for signal in reversed(self._signals or ()):
            if signal.type is _THOUGHT_DELTA:
                before: int = signal.payload["seq"]
                return seq > before
        return True

    def _overflow(self) -> None:
        if self._signals:
            del self._signals[0]
            self._first += 1

    def _ends_with(self, type: SignalType) -> bool:
        return True

    def local_error(self, code: str, message: str, *, recoverable: bool = True) -> Signal:
        """Make the ERROR that answers the followed TASK when its host cannot; only this Pathway sees it."""
        return Signal.new(
            SignalType.ERROR,
            {"code": code, "message": message, "recoverable": recoverable},
            trace_id=self.trace_id,
            parent_id=self.task_id,
            directed=address(self.neuron),
        )

    def when_settled(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, with the first answer, or when none will come any more."""
        self._settled = call

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled()

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def close(self) -> None:
        """Take no more Signals. What is buffered can still be read; closing twice is not an error."""
        if self._closed:
            return
        self._closed = True
        self._owner.remove(self)
        if self._settled is not None:
            self._settle()
        for types, future in self._waiters or ():
            if not future.done():
                future.set_exception(self._closed_error(types))
        if self._changed is not None:
            self._wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Nobody can see this Pathway any more, so nothing may be kept for it.
        if not self._closed:
            self._owner.remove(self)
            self._settle()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Pathway {state} {self.task_id} to {self.neuron!r} on {self.trace_id}>"


class TerminalPathway(Pathway):
    """A Pathway that sees only what ends work: FINAL, ERROR, CLARIFICATION and PERMISSION."""

    __slots__ = ()

    def deliver(self, signal: Signal) -> None:
        """Take a Signal that arrived, if it ends work."""
        if signal.type in ENDING_TYPES:
            super().deliver(signal)


# --- back-pressure ----------------------------------------------------------------------------------


class BackpressuredPathway(Pathway):
    """A Pathway that holds its Neuron back while ``buffer`` Signals are unread.

    A Signal is read when every iteration and handler has gone past it; without any, none is read. Whoever
    awaits an answer reads on to it: nothing is held back meanwhile, and `dropped` counts what the buffer then
    gives up.

    How far a Neuron runs ahead until it is held depends on the Synapse, which has limits of its own; one that
    cannot hold back a publisher loses frames instead, and counts them.
    """

    __slots__ = ("_cursors", "_end", "_in_line", "_line", "_loop", "_missed", "_read_to", "_room")

    def __init__(
        self, owner: PathwayOwner, trace_id: str, task_id: str, neuron: str, buffer: int = 1024
    ) -> None:
        super().__init__(owner, trace_id, task_id, neuron, buffer)
        # Counted from the first Signal ever: where each iteration is, and up to where all have read.
        self._cursors: dict[object, int] = {}
        self._read_to = 0
        self._missed = 0
        self._loop = asyncio.get_running_loop()
        self._line = asyncio.Lock()
        self._in_line = 0
        self._room: asyncio.Future[None] | None = None
        self._end: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def dropped(self) -> int:
        """How many Signals the buffer had to give up that somebody had yet to read."""
        return self._missed

    def when_closed(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``end`` in the background once the Pathway is closed, or gone."""
        self._end = end

    def take(self, signal: Signal) -> Awaitable[None] | None:
        """Take a Signal from the Synapse; the awaitable, if there is one, completes when there is room."""
        if self._in_line or self._full:
            self._in_line += 1
            return _take_in_turn(weakref.ref(self), self._line, signal)
        self.deliver(signal)
        return None

    def wait_for_room(self) -> asyncio.Future[None] | None:
        """Return what is done when there may be room; None if there is."""
        self._room = self._loop.create_future() if self._full else None
        return self._room

    def leave_line(self) -> None:
        """Take note that one less Signal waits for room."""
        self._in_line -= 1

    @property
    def _full(self) -> bool:
        if self.closed or self._waiters or self._signals is None:
            return False
        return len(self._signals) >= self._buffer and self._first >= self._read_to

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _overflow(self) -> None:
        self._missed += self._first >= self._read_to
        super()._overflow()

    # --- reading ------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Signal]:
        """Yield every Signal, from the oldest one buffered until the Pathway closes."""
        me, position = object(), self._first
        self._cursors[me] = position
        try:
            while True:
                position = max(position, self._first)
                signals = self._signals
                if signals is not None and position - self._first < len(signals):
                    yield signals[position - self._first]
                    position += 1
                    self._advance(me, position)
                elif self.closed:
                    return
                else:
                    await self._change()
        finally:
            del self._cursors[me]
            self._advance()

    def _advance(self, cursor: object = None, position: int = 0) -> None:
        if cursor is not None:
            self._cursors[cursor] = position
        if self._cursors:
            self._read_to = max(self._read_to, min(self._cursors.values()))
        self._make_room()

    async def _wait(self, wanted: frozenset[SignalType], timeout_s: float | None) -> Signal:
        # Called once this waits: from then on nothing is held back.
        self._loop.call_soon(self._make_room)
        return await super()._wait(wanted, timeout_s)

    def close(self) -> None:
        """Take no more Signals. What is buffered can still be read; closing twice is not an error."""
        super().close()
        self._make_room()
        end, self._end = self._end, None
        if end is not None:
            self._owner.spawn(end())

    def __del__(self) -> None:
        super().__del__()
        end, self._end = self._end, None
        if not self.closed and not self._loop.is_closed():
            # A Pathway nobody holds is gone wherever it is collected, maybe in another thread.
            self._loop.call_soon_threadsafe(_let_go, self._owner, self._room, end)


async def _take_in_turn(
    held: Callable[[], BackpressuredPathway | None], line: asyncio.Lock, signal: Signal
) -> None:
    # Without holding the Pathway: one that nobody reads any more has to go, and to let its Neuron go on.
    try:
        async with line:
            while (pathway := held()) is not None and (room := pathway.wait_for_room()) is not None:
                del pathway
                await room
            if pathway is not None:
                pathway.deliver(signal)
    finally:
        if (pathway := held()) is not None:
            pathway.leave_line()


def _let_go(
    owner: PathwayOwner,
    room: asyncio.Future[None] | None,
    end: Callable[[], Coroutine[Any, Any, None]] | None,
) -> None:
    if room is not None and not room.done():
        room.set_result(None)
    if end is not None:
        owner.spawn(end())
