"""Eager asyncio tasks: their first step runs at once, and not in the next turn of the event loop.

A TASK whose Neuron awaits nothing is answered before its sender continues. That saves two turns of the event
loop, and 1.24 times the speed was measured for it alone. It is bounded in depth and in time, because an eager
step runs on the stack of its starter, and keeps the event loop from other tasks.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from time import monotonic
from types import coroutine
from typing import Any, Final, Generic, TypeVar, cast

MAX_DEPTH: Final = 4
"""The number of eager steps within each other; a further task starts in the next turn of the event loop."""

SHARE_S: Final = 0.002
"""Seconds of eager steps in one turn of the event loop after which a caller should wait for the next turn."""

MAX_TURN_S: Final = 0.005
"""Seconds of eager steps in one turn of the event loop after which no further task starts eagerly."""

T = TypeVar("T")

_enter_task: Final = asyncio.tasks._enter_task
_leave_task: Final = asyncio.tasks._leave_task

# Without a factory, and with that of asyncio, which knows no limits, tasks are started here.
_OWN_FACTORIES: Final = (None, getattr(asyncio, "eager_task_factory", None))


class EagerTasks:
    """Starts the asyncio tasks of one event loop, eagerly within the limits. `eager_tasks` makes it.

    Eager tasks are tasks like others: they have a copy of the context, are the current task while they run,
    and can be cancelled. An event loop with a task factory of its own starts each task with that; a factory
    that is set later does so from the next turn on.

    Attributes:
        loop: The event loop.
        current_task: Returns the running task, if one runs, as `asyncio.current_task` does.
        is_share_used: Whether eager steps have taken `SHARE_S` of this turn: a caller that goes on should let
            the event loop turn first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Up to Python 3.11, `asyncio.current_task` is written in Python; this is all that it does.
        tasks: Any = asyncio.tasks
        self.current_task: Callable[[], asyncio.Task[Any] | None] = (
            partial(asyncio.current_task, loop)
            if sys.version_info >= (3, 12)
            else partial(tasks._current_tasks.get, loop)
        )
        self.is_share_used = False
        self._is_turn_used = False
        self._depth = 0
        # What `_capture` gets from a task that is being made, and the context that it knows the task by.
        self._step: Callable[..., object] | None = None
        self._context: Context | None = None
        # When the first eager step of this turn of the event loop began; 0 before it.
        self._began = 0.0
        # Up to Python 3.11 `call_soon` is replaced for a moment. A loop without attributes does not allow
        # that, and one whose `call_soon` is replaced already keeps its own.
        needed = {"call_soon": None} if sys.version_info < (3, 12) else {}
        self._attributes: dict[str, Any] = getattr(loop, "__dict__", needed) if needed else needed

    def start(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Return a task that runs ``work``: its first step has run, unless a limit was reached."""
        loop = self.loop
        if self._depth >= MAX_DEPTH or self._is_turn_used or "call_soon" in self._attributes:
            return self._start_later(work, name)
        began = self._began
        if not began:
            # Once in a turn: a program may set a factory at any time.
            if loop.get_task_factory() not in _OWN_FACTORIES:
                return self._start_later(work, name)
            # In this order: if this fails, as at the limit of recursion, no turn has begun that never ends.
            loop.call_soon(self._begin_turn)
            began = self._began = monotonic()
        self._depth += 1
        try:
            if sys.version_info >= (3, 12):
                return asyncio.Task(work, loop=loop, name=name, eager_start=True)
            # A new task gives its first step to `loop.call_soon`; here, that is `_capture`.
            context = self._context = copy_context()
            loop.call_soon = self._capture  # type: ignore[method-assign, assignment]
            try:
                task = asyncio.Task(work, loop=loop, name=name, context=context)
            finally:
                del loop.call_soon
            step: Any = self._step
            # They would keep the task and its context.
            self._step = self._context = None
            starter = self.current_task()
            if starter is None:
                context.run(step)
                return task
            _leave_task(loop, starter)
            try:
                context.run(step)
            finally:
                _enter_task(loop, starter)
            return task
        finally:
            self._depth -= 1
            taken_s = monotonic() - began
            if taken_s >= SHARE_S:
                self.is_share_used = True
                self._is_turn_used = taken_s >= MAX_TURN_S

    def _start_later(self, work: Coroutine[Any, Any, None], name: str | None) -> asyncio.Task[None]:
        if self.loop.get_task_factory() in _OWN_FACTORIES:
            return asyncio.Task(work, loop=self.loop, name=name)
        return self.loop.create_task(work, name=name)

    def _capture(self, step: Callable[..., object], *args: object, context: Context | None = None) -> object:
        if context is self._context:
            self._step = step
            return None
        # Of a finalizer: the garbage collector may run while the task is made.
        return type(self.loop).call_soon(self.loop, step, *args, context=context)

    def _begin_turn(self) -> None:
        self._began = 0.0
        self.is_share_used = self._is_turn_used = False


@coroutine
def one_turn() -> Generator[None]:
    """Let the event loop turn once: `asyncio.sleep(0)` at a third of its cost."""
    yield


class Begun(Generic[T]):
    """The rest of a coroutine that `begin` began. Await it in the same task."""

    __slots__ = ("_first", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], first: Any) -> None:
        self._work = work
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        first = self._first
        while True:
            try:
                yield first
                break
            except BaseException as error:  # noqa: BLE001 - of the coroutine, such as a cancellation
                try:
                    first = self._work.throw(error)
                except StopIteration as end:
                    return cast("T", end.value)
        return (yield from self._work.__await__())


def begin(work: Coroutine[Any, Any, T]) -> T | Begun[T]:
    """Run the first step of a coroutine in the calling task; return its result, or the rest of it.

    That is what ``await`` does, except that a coroutine that awaits nothing needs no awaiting caller.
    """
    try:
        first = work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    return Begun(work, first)


_thread: Final = threading.local()


def eager_tasks() -> EagerTasks:
    """Return the `EagerTasks` of the running event loop, which all Dendrites on it share."""
    loop = asyncio.get_running_loop()
    found: EagerTasks | None = getattr(_thread, "eager_tasks", None)
    if found is None or found.loop is not loop:
        found = _thread.eager_tasks = EagerTasks(loop)
    return found
