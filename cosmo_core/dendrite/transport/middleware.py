"""The middleware chain of one direction, compiled into one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from types import CoroutineType
from typing import Any, Final, TypeVar

from cosmo_core.contracts.boundary import described, logger, must_pass
from cosmo_core.contracts.eager_tasks import begin
from cosmo_core.errors import HookError
from cosmo_core.plugins import Contribution, Direction, Dropped, SignalMiddleware
from cosmo_core.protocol.signal import Signal

To = TypeVar("To")
Result = Signal | Dropped
RESULTS: Final = (Signal, Dropped)
"""The same for `isinstance`, which takes twice as long with a union."""

Pending = Coroutine[Any, Any, Result]
Chain = Callable[[To, Signal], Result | Pending]
"""Sends a Signal to a destination. A middleware sees the Signal only.

It returns the result itself if everything was done in the call, as by middleware that awaits nothing but
``forward``: a coroutine for each step of a chain would cost more than the steps. A coroutine has to be
awaited in the same asyncio task.
"""

Fail = Callable[[str, Signal, Exception], Dropped]
"""Handles a failure of a plugin's middleware."""


class Passed(Awaitable[Any]):
    """An awaitable that has its result."""

    __slots__ = ("_result",)

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self._result


def compile_chain(
    links: Sequence[Contribution[SignalMiddleware]], last: Chain[To], direction: Direction
) -> Chain[To]:
    """Return one function that sends a Signal through ``links`` in their order, then to ``last``.

    An outbound middleware that fails raises to the sender. An inbound one has no caller to raise to: its
    failure is logged and drops the Signal.
    """
    chain = last
    for link in reversed(links):
        chain = _step(link, chain, _raise if direction == "outbound" else _drop)
    return chain


def _raise(plugin: str, signal: Signal, error: Exception) -> Dropped:
    raise error


def _drop(plugin: str, signal: Signal, error: Exception) -> Dropped:
    logger.error("the middleware of %s failed on %s %s", plugin, signal.type, signal.id, exc_info=error)
    return Dropped(f"the middleware of {plugin} failed")


def _step(link: Contribution[SignalMiddleware], following: Chain[To], fail: Fail) -> Chain[To]:
    middleware, plugin = link.value, link.plugin

    def step(to: To, signal: Signal) -> Result | Pending:
        def forward(changed: Signal) -> Awaitable[Result]:
            if changed is not signal and _envelope(changed) != _envelope(signal):
                raise HookError(
                    f"the middleware of {plugin} changed the envelope of {signal.id};"
                    " it may change payload and meta only"
                )
            passed = following(to, changed)
            return Passed(passed) if isinstance(passed, RESULTS) else passed

        try:
            work: Any = middleware(signal, forward)
            # Not isinstance of an abstract class, which takes as long as the rest of a step.
            result = begin(work) if type(work) is CoroutineType else work
        except BaseException as error:  # noqa: BLE001 - raised if it must pass
            return fail(plugin, signal, _failure(plugin, signal, error))
        if isinstance(result, RESULTS):
            return result
        if isinstance(result, Awaitable):
            return finish(signal, result)
        return fail(plugin, signal, _wrong(plugin, signal, result))

    async def finish(signal: Signal, work: Awaitable[object]) -> Result:
        try:
            result = await work
        except BaseException as error:  # noqa: BLE001 - raised if it must pass
            return fail(plugin, signal, _failure(plugin, signal, error))
        if isinstance(result, RESULTS):
            return result
        return fail(plugin, signal, _wrong(plugin, signal, result))

    return step


def _failure(plugin: str, signal: Signal, error: BaseException) -> Exception:
    """Return what a middleware raised as an Exception; raise what must pass the boundary."""
    if isinstance(error, Exception):
        return error
    if must_pass(error):
        raise error
    failure = HookError(f"the middleware of {plugin} raised {described(error)} for {signal.id}")
    failure.__cause__ = error
    return failure


def _wrong(plugin: str, signal: Signal, result: object) -> HookError:
    return HookError(
        f"the middleware of {plugin} returned {result!r} for {signal.id};"
        " return what forward(signal) returned, or Dropped(reason)"
    )


def _envelope(signal: Signal) -> tuple[object, ...]:
    return (signal.id, signal.trace_id, signal.parent_id, signal.type, signal.ts, signal.directed)
