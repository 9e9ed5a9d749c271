"""The middleware chain of one direction, compiled into one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from cosmo_core.contracts.boundary import described, logger, must_pass
from cosmo_core.errors import HookError
from cosmo_core.plugins import Contribution, Direction, Dropped, SignalMiddleware
from cosmo_core.protocol.signal import Signal

To = TypeVar("To")
Chain = Callable[[To, Signal], Awaitable[Signal | Dropped]]
"""Sends a Signal to a destination. A middleware sees the Signal only."""


def compile_chain(
    links: Sequence[Contribution[SignalMiddleware]], last: Chain[To], direction: Direction
) -> Chain[To]:
    """Return one function that sends a Signal through ``links`` in their order, then to ``last``.

    An outbound middleware that fails raises to the sender. An inbound one has no caller to raise to: its
    failure is logged and drops the Signal.
    """
    chain = last
    for link in reversed(links):
        step = _step(link, chain)
        chain = step if direction == "outbound" else _dropping_failures(link, step)
    return chain


def _dropping_failures(link: Contribution[SignalMiddleware], step: Chain[To]) -> Chain[To]:
    async def dropping(to: To, signal: Signal) -> Signal | Dropped:
        try:
            return await step(to, signal)
        except Exception:
            logger.exception("the middleware of %s failed on %s %s", link.plugin, signal.type, signal.id)
            return Dropped(f"the middleware of {link.plugin} failed")

    return dropping


def _step(link: Contribution[SignalMiddleware], following: Chain[To]) -> Chain[To]:
    async def step(to: To, signal: Signal) -> Signal | Dropped:
        async def forward(changed: Signal) -> Signal | Dropped:
            if changed is not signal and _envelope(changed) != _envelope(signal):
                raise HookError(
                    f"the middleware of {link.plugin} changed the envelope of {signal.id};"
                    " it may change payload and meta only"
                )
            return await following(to, changed)

        try:
            result: object = await link.value(signal, forward)
        except BaseException as error:
            if isinstance(error, Exception) or must_pass(error):
                raise
            reason = f"the middleware of {link.plugin} raised {described(error)} for {signal.id}"
            raise HookError(reason) from error
        if not isinstance(result, Signal | Dropped):
            raise HookError(
                f"the middleware of {link.plugin} returned {result!r} for {signal.id};"
                " return what forward(signal) returned, or Dropped(reason)"
            )
        return result

    return step


def _envelope(signal: Signal) -> tuple[object, ...]:
    return (signal.id, signal.trace_id, signal.parent_id, signal.type, signal.ts, signal.directed)
