"""The Pathway: the Signals of one TASK and its trace, as a wait, as callbacks, or as a stream."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, aclosing
from time import monotonic
from typing import Any, Final, Protocol, Self, TypeVar

from cosmo_core.arguments import check_wait
from cosmo_core.contracts.boundary import logged_failures, logger, must_pass
from cosmo_core.contracts.task_context import outside_task
from cosmo_core.errors import AnswerTimeoutError, PathwayClosedError
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

CANCELLED: Final = "its caller was cancelled"
TIMED_OUT: Final = "its caller's time limit passed"
LEFT: Final = "its caller left before the answer"

# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_THOUGHT_DELTA: Final = SignalType.THOUGHT_DELTA


def call_handler(name: object, handler: SignalHandler, signal: Signal) -> Awaitable[None] | None:
    """Call a plain or async handler; return the awaitable of an async one. A failure is logged."""
    try:
        result = outside_task(handler, signal)
    except BaseException as error:
        if must_pass(error):
            raise
        logger.exception("%s failed on %s", name, signal.id)
        return None
    return result if inspect.isawaitable(result) else None


async def finish_call(name: object, call: Awaitable[None], signal: Signal) -> None:
    """Await the call of an async handler. A failure is logged, except a cancellation of the caller."""
    with logged_failures("%s failed on %s", name, signal.id):
        await call


def any_of(types: Iterable[SignalType]) -> str:
    """Return the names of some types, as in "ERROR or FINAL"."""
    return " or ".join(sorted(type.value for type in types))


class TimeLimit(AbstractContextManager[object], Protocol):
    """A context that raises TimeoutError when it is not left in time.

    Attributes:
        expired: Whether the time limit passed before the context was left.
    """

    expired: bool


class PathwayOwner(Protocol):
    """The part of a Dendrite that a Pathway uses."""

    def remove(self, pathway: Pathway) -> None:
        """Stop delivering to ``pathway``."""

    def spawn(self, work: Coroutine[Any, Any, None], *, at_once: bool = False) -> None:
        """Run ``work`` in the background, at most until the Dendrite stops; its first step ``at_once``."""

    def time_limit(self, timeout_s: float | None) -> TimeLimit:
        """Return a context that raises TimeoutError after ``timeout_s`` seconds; None for no limit."""

    def stop_task(self, pathway: Pathway, reason: str) -> None:
        """Send STOP for the TASK of ``pathway`` in the background."""

    def future(self) -> asyncio.Future[Any]:
        """Return a new future. Raises LifecycleError in an event loop that is not the Dendrite's."""


class Pathway:
    """Follows one TASK, and the other Signals of its trace that are not answers to other TASKs.

    There are three ways to read it, which can be mixed: ``await pathway.wait()``, ``@pathway.on(type)`` and
    ``async for``. It buffers up to ``buffer`` Signals from the moment it opens; beyond that the oldest is
    dropped, and `dropped` counts it. A wait, a handler and an iteration each begin with the oldest buffered
    Signal, so each of them sees all, even when it starts after the Pathway closed.

    A TASK whose caller leaves before the answer is stopped (P-9.8): when `close` is called or the ``async
    with`` block ends, and when the last wait or iteration outside of such a block times out or is cancelled.
    `keep_running` lets it run. A handler does not count as a reader here.

    A TASK has one answer. A bus that loses a worker may give its TASK to another one, so a second answer and
    a repeated THOUGHT_DELTA are ignored (P-11.8).

    FINAL and ERROR close a Pathway. So do `close`, the end of its ``async with`` block, and the end of its
    Dendrite. A Pathway without references is closed, too; a handler references it.

    Attributes:
        trace_id: The trace.
        task_id: The TASK whose answers it receives.
        neuron: The Neuron that the TASK was sent to.
        answer: The type of the answer; None until it arrives.
        finalized: Whether FINAL follows the answer, or an ERROR in its place.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_changed",
        "_closed",
        "_first",
        "_kept",
        "_owner",
        "_read",
        "_readers",
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
        # The number of dropped Signals, and so the position of the oldest buffered one.
        self._first = 0
        self._owner = owner
        self._buffer = buffer
        self._closed = False
        # Whether the TASK runs on when its caller leaves, or was stopped already.
        self._kept = False
        # Whether an iteration has ended; it may have been left before the answer.
        self._read = False
        # The number of iterations and `async with` blocks; waits are in the list of waiters.
        self._readers = 0
        # Made on first use: many Pathways are open at once, and most have one Signal or none.
        self._signals: list[Signal] | None = None
        self._waiters: list[tuple[frozenset[SignalType], asyncio.Future[Signal]]] | None = None
        # The iterations that wait for the next Signal.
        self._changed: list[asyncio.Future[None]] | None = None
        self._settled: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        """Whether no more Signals will come."""
        return self._closed

    @property
    def dropped(self) -> int:
        """The number of Signals that were dropped because the buffer was full."""
        return self._first

    # --- waiting ------------------------------------------------------------------------------------

    # Neither is `async`: a second coroutine would cost a tenth of a microsecond per answer.

    def wait(self, timeout_s: float | None = None) -> Coroutine[Any, Any, Signal]:
        """Return the first AGENT_OUTPUT, CLARIFICATION, PERMISSION, ERROR or FINAL.

        An ERROR is returned, not raised: see `Signal.raise_for_error`.

        Raises:
            TimeoutError: None arrived within ``timeout_s`` seconds. The Pathway stays open, and gets the
                answer of a TASK that is stopped for this.
            PathwayClosedError: The Pathway closed before one arrived.
        """
        return self._wait(TERMINAL_TYPES, timeout_s)

    def wait_for(self, type: SignalType, timeout_s: float | None = None) -> Coroutine[Any, Any, Signal]:
        """Return the first Signal of one type.

        Raises:
            ValueError: The type is unknown.
            TimeoutError: None arrived within ``timeout_s`` seconds. The Pathway stays open, as after `wait`.
            PathwayClosedError: The Pathway closed before one arrived.
        """
        return self._wait(frozenset((SignalType(type),)), timeout_s)

    async def result(self, timeout_s: float | None = None) -> Any:
        """Wait as `wait` does, and return the output of the answer; raises what `Signal.output` does, too."""
        return (await self.wait(timeout_s)).output

    async def _wait(self, wanted: frozenset[SignalType], timeout_s: float | None) -> Signal:
        if timeout_s is not None:
            check_wait(timeout_s)
        if (signal := self.find(wanted)) is not None:
            return signal
        if self._closed:
            raise self._closed_error(wanted)
        future: asyncio.Future[Signal] = self._owner.future()
        entry = (wanted, future)
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(entry)
        reason = ""
        try:
            if timeout_s is None:
                return await future
            with self._owner.time_limit(timeout_s):
                return await future
        except asyncio.CancelledError:
            reason = CANCELLED
            raise
        except TimeoutError:
            reason = TIMED_OUT
            raise self._timeout_error(wanted, timeout_s) from None
        finally:
            self._waiters.remove(entry)
            if reason:
                self._leave(reason)

    def find(self, wanted: frozenset[SignalType]) -> Signal | None:
        """Return the first buffered Signal of some types; None if there is none yet."""
        for signal in self._signals or ():
            if signal.type in wanted:
                return signal
        return None

    def _timeout_error(self, types: frozenset[SignalType], timeout_s: float | None) -> TimeoutError:
        reason = f"Neuron {self.neuron!r} did not answer {self.task_id} within {timeout_s} s"
        return AnswerTimeoutError(f"{reason}; timeout_s sets another limit")

    def _closed_error(self, types: frozenset[SignalType]) -> PathwayClosedError:
        wanted = any_of(types)
        return PathwayClosedError(f"the Pathway of {self.task_id} to {self.neuron!r} closed before {wanted}")

    # --- callbacks ----------------------------------------------------------------------------------

    def on(self, type: SignalType) -> Callable[[H], H]:
        """Call the decorated function, plain or async, with every Signal of ``type``, one at a time.

        What a handler raises is logged and does not stop it.

        Raises:
            ValueError: The type is unknown, or the function takes its place.
        """
        type = SignalType(type)

        def register(handler: H) -> H:
            self._owner.spawn(self._feed(type, handler))
            return handler

        return register

    async def _feed(self, type: SignalType, handler: SignalHandler) -> None:
        async with aclosing(self._iterate(0, True)) as signals:
            async for signal in signals:
                if signal.type is not type:
                    continue
                name = f"the {type.value} handler of {self._name}"
                if (call := call_handler(name, handler, signal)) is not None:
                    await finish_call(name, call, signal)

    @property
    def _name(self) -> str:
        return self.task_id

    # --- iterating ----------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncGenerator[Signal]:
        return self.signals()

    def signals(self, timeout_s: float | None = None, *, follow: bool = False) -> AsyncGenerator[Signal]:
        """Yield every Signal, from the oldest one buffered until the answer; ``async for`` does the same.

        It goes on until the Pathway closes where FINAL is to come, and if ``follow`` is set.

        Raises:
            TimeoutError: The last one did not arrive within ``timeout_s`` seconds.
        """
        check_wait(timeout_s)
        return self._iterate(1, follow, timeout_s)

    async def text(self, timeout_s: float | None = None) -> AsyncGenerator[str]:
        """Yield the text of every THOUGHT_DELTA until the answer.

        A Neuron that does not stream has one text: the ``response`` of its output, or the ``value``.

        Raises:
            RemoteError: The answer is an ERROR.
            QuestionError: It is a CLARIFICATION or a PERMISSION.
            TimeoutError: It did not arrive within ``timeout_s`` seconds.
        """
        streamed = False
        async with aclosing(self.signals(timeout_s)) as signals:
            async for signal in signals:
                if signal.type is _THOUGHT_DELTA:
                    streamed = True
                    yield signal.payload["delta"]
                elif signal.type in TERMINAL_TYPES:
                    output = signal.output
                    if streamed or not isinstance(output, dict):
                        return
                    text = output.get("response", output.get("value"))
                    if isinstance(text, str):
                        yield text
                    return

    async def _iterate(
        self, readers: int, follow: bool, timeout_s: float | None = None
    ) -> AsyncGenerator[Signal]:
        """Yield every Signal, from the oldest one buffered until the answer, or until the Pathway closes.

        Args:
            readers: 1 if the TASK is stopped when this is cancelled and has no other reader, 0 otherwise.
            follow: Whether to go on after the answer.
            timeout_s: Seconds until the last one.
        """
        position, cursor = self._first, object()
        tracked = self._tracks_reading
        if tracked:
            self._advance(cursor, position)
        self._readers += readers
        reason = ""
        ends = None if timeout_s is None else monotonic() + timeout_s
        try:
            while True:
                # Signals may have been dropped since the last step.
                position = max(position, self._first)
                signals = self._signals
                if signals is not None and position - self._first < len(signals):
                    signal = signals[position - self._first]
                    position += 1
                    yield signal
                    if tracked:
                        self._advance(cursor, position)
                    if not follow and self._is_last(signal.type):
                        return
                elif self._closed:
                    return
                elif ends is None:
                    await self._wait_for_change()
                else:
                    with self._owner.time_limit(ends - monotonic()):
                        await self._wait_for_change()
        except asyncio.CancelledError:
            reason = CANCELLED
            raise
        except TimeoutError:
            reason = TIMED_OUT
            raise self._timeout_error(TERMINAL_TYPES, timeout_s) from None
        finally:
            if tracked:
                self._end_cursor(cursor)
            self._readers -= readers
            if readers:
                self._read = True
                if reason:
                    self._leave(reason)

    async def _wait_for_change(self) -> None:
        future: asyncio.Future[None] = self._owner.future()
        if self._changed is None:
            self._changed = []
        self._changed.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if self._changed and future in self._changed:
                self._changed.remove(future)
            raise

    # --- for the Dendrite ---------------------------------------------------------------------------

    def receive(self, signal: Signal) -> Awaitable[None] | None:
        """Add a received Signal now, or with the returned awaitable when there is space for it."""
        self.deliver(signal)
        return None

    def deliver(self, signal: Signal) -> None:
        """Add a received Signal: buffer it, and wake the waits and iterations."""
        type = signal.type
        if self._closed or (self.answer is not None and not self._may_come_after_answer(type)):
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
        if type is _THOUGHT_DELTA and not self._waiters:
            # Most Signals of a stream: it ends nothing.
            if self._changed is not None:
                self._wake()
            return
        if type in ANSWER_TYPES:
            self.answer = type
            if self._settled is not None:
                self._settle()
        if self._waiters:
            for types, future in self._waiters:
                if type in types and not future.done():
                    future.set_result(signal)
        if type in CLOSING_TYPES and self._ends_with(type):
            self.end()
        elif self._changed is not None:
            self._wake()

    def _may_come_after_answer(self, type: SignalType) -> bool:
        """Tell whether a type may come after the answer: an ERROR may, in place of FINAL."""
        if type is SignalType.ERROR:
            return self.finalized and self.answer is SignalType.AGENT_OUTPUT
        return type not in AXON_TYPES

    # Whether iterations report how far they have read, with these two methods.
    _tracks_reading = False

    def _advance(self, cursor: object, position: int) -> None:
        pass

    def _end_cursor(self, cursor: object) -> None:
        pass

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

    def _is_last(self, type: SignalType) -> bool:
        """Tell whether an iteration ends after a type: at the answer, unless FINAL follows it."""
        return type in ANSWER_TYPES and not (self.finalized and type is SignalType.AGENT_OUTPUT)

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
        """Call ``call`` once, when the answer arrives or the Pathway ends without one."""
        self._settled = call

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled()

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        for future in changed or ():
            if not future.done():
                future.set_result(None)

    def end(self) -> None:
        """Receive no more Signals, as `close` does, but let the TASK run."""
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

    # --- the end ------------------------------------------------------------------------------------

    def keep_running(self) -> Self:
        """Let the TASK run when its caller leaves before the answer; return this Pathway."""
        self._kept = True
        return self

    def close(self) -> None:
        """Receive no more Signals, and stop the TASK if it is not answered. Buffered ones can still be read.

        Closing it again has no effect.
        """
        self.stop(LEFT)
        self.end()

    def stop_left(self) -> None:
        """Stop the TASK if its answer was read for before, and is not any more."""
        if self._read:
            self._leave(LEFT)

    def end_with_dendrite(self) -> None:
        """Receive no more Signals; one that is or was read was left before the answer, so stop the TASK."""
        if self._readers or self._waiters or self._read:
            self.stop(LEFT)
        self.end()

    def stop(self, reason: str) -> None:
        """Stop the TASK, unless it is answered, was stopped already, or is to keep running."""
        if self.answer is None and not self._closed and not self._kept:
            self._kept = True
            self._owner.stop_task(self, reason)

    def _leave(self, reason: str) -> None:
        """Stop the TASK if its last reader has left."""
        if not self._readers and not self._waiters:
            self.stop(reason)

    async def __aenter__(self) -> Self:
        self._readers += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._readers -= 1
        self.close()

    def __del__(self) -> None:
        # The last reference is gone: free what is stored for this Pathway.
        if not self._closed:
            self._owner.remove(self)
            self._settle()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Pathway {state} {self.task_id} to {self.neuron!r} on {self.trace_id}>"


class TerminalPathway(Pathway):
    """A Pathway that receives only Signals that end work: FINAL, ERROR, CLARIFICATION and PERMISSION."""

    __slots__ = ()

    def deliver(self, signal: Signal) -> None:
        """Add a received Signal if it ends work."""
        if signal.type in ENDING_TYPES:
            super().deliver(signal)


# --- back-pressure ----------------------------------------------------------------------------------


class BackpressuredPathway(Pathway):
    """A Pathway that slows its Neuron down while ``buffer`` Signals are unread.

    A Signal counts as read when every iteration and handler has passed it; without any, none is read. During
    a wait for an answer there is no back-pressure, and `dropped` counts the unread Signals that are dropped.

    How far a Neuron runs ahead depends on the in-flight limits of the Synapse. A Synapse that cannot slow
    down a publisher drops frames instead, and counts them.
    """

    __slots__ = ("_cursors", "_end", "_loop", "_order", "_read_to", "_space", "_unread_dropped", "_waiting")

    def __init__(
        self, owner: PathwayOwner, trace_id: str, task_id: str, neuron: str, buffer: int = 1024
    ) -> None:
        super().__init__(owner, trace_id, task_id, neuron, buffer)
        # Positions are counted from the first Signal: of each iteration, and of the slowest one.
        self._cursors: dict[object, int] = {}
        self._read_to = 0
        self._unread_dropped = 0
        self._loop = asyncio.get_running_loop()
        self._order = asyncio.Lock()
        self._waiting = 0
        self._space: asyncio.Future[None] | None = None
        self._end: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def dropped(self) -> int:
        """The number of unread Signals that were dropped because the buffer was full."""
        return self._unread_dropped

    def when_closed(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``end`` in the background when the Pathway is closed or collected."""
        self._end = end

    def receive(self, signal: Signal) -> Awaitable[None] | None:
        """Add a received Signal. If the buffer is full, an awaitable is returned that adds it later."""
        signals = self._signals
        # The length first: it is cheaper than the rest, for every Signal.
        if self._waiting or (signals is not None and len(signals) >= self._buffer and self._full):
            self._waiting += 1
            return _receive_in_order(weakref.ref(self), self._order, signal)
        self.deliver(signal)
        return None

    def space(self) -> asyncio.Future[None] | None:
        """Return a future that is done when there may be space in the buffer; None if there is space now."""
        self._space = self._loop.create_future() if self._full else None
        return self._space

    def end_waiting(self) -> None:
        """Count one Signal less that waits for space."""
        self._waiting -= 1

    @property
    def _full(self) -> bool:
        if self.closed or self._waiters or self._signals is None:
            return False
        return len(self._signals) >= self._buffer and self._first >= self._read_to

    def _wake_waiting(self) -> None:
        if self._space is not None and not self._space.done():
            self._space.set_result(None)

    def _overflow(self) -> None:
        self._unread_dropped += self._first >= self._read_to
        super()._overflow()

    # --- reading ------------------------------------------------------------------------------------

    _tracks_reading = True

    def _advance(self, cursor: object, position: int) -> None:
        self._cursors[cursor] = position
        slowest = position if len(self._cursors) == 1 else min(self._cursors.values())
        if slowest > self._read_to:
            self._read_to = slowest
        if self._space is not None:
            self._wake_waiting()

    def _end_cursor(self, cursor: object) -> None:
        del self._cursors[cursor]
        if self._cursors:
            self._read_to = max(self._read_to, min(self._cursors.values()))
        self._wake_waiting()

    async def _wait(self, wanted: frozenset[SignalType], timeout_s: float | None) -> Signal:
        # Called when this waits: from then on there is no back-pressure.
        self._loop.call_soon(self._wake_waiting)
        return await super()._wait(wanted, timeout_s)

    def end(self) -> None:
        """Receive no more Signals, as `close` does, but let the TASK run."""
        super().end()
        self._wake_waiting()
        end, self._end = self._end, None
        if end is not None:
            self._owner.spawn(end())

    def __del__(self) -> None:
        super().__del__()
        end, self._end = self._end, None
        if not self.closed and not self._loop.is_closed():
            # The collector may run in any thread.
            self._loop.call_soon_threadsafe(_release, self._owner, self._space, end)


async def _receive_in_order(
    ref: Callable[[], BackpressuredPathway | None], order: asyncio.Lock, signal: Signal
) -> None:
    # It holds no reference to the Pathway while it waits: an unreferenced one must be collected, which
    # releases its Neuron.
    try:
        async with order:
            while (pathway := ref()) is not None and (space := pathway.space()) is not None:
                del pathway
                await space
            if pathway is not None:
                pathway.deliver(signal)
    finally:
        if (pathway := ref()) is not None:
            pathway.end_waiting()


def _release(
    owner: PathwayOwner,
    space: asyncio.Future[None] | None,
    end: Callable[[], Coroutine[Any, Any, None]] | None,
) -> None:
    if space is not None and not space.done():
        space.set_result(None)
    if end is not None:
        owner.spawn(end())
