"""The Pathway of a program for cosmonapse."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal, Self

import cosmo_core
from cosmo_core import PathwayClosedError, Signal, SignalType
from cosmo_core.contracts.pathway import H, any_of
from cosmo_core.protocol.signal_type import ANSWER_TYPES, CLOSING_TYPES, TERMINAL_TYPES

Role = Literal["originator", "observer"]
Scope = Literal["all", "terminal"]


class Pathway:
    """Follows one trace, as `wait`, as `on` and as ``async for``, until FINAL or ERROR.

    Two waits for one type return two Signals. What `cosmo_core.Pathway` has beyond this is there, too.

    Args:
        pathway: The Pathway of the core.
        role: Whether this program dispatched the TASK.
        scope: Whether it receives all Signals, or only those that end work.
    """

    def __init__(
        self, pathway: cosmo_core.Pathway, *, role: Role = "originator", scope: Scope = "all"
    ) -> None:
        self.role = role
        self.scope = scope
        self._pathway = pathway.keep_running()
        self._further_tasks: set[str] = set()
        self._waited_for: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pathway, name)

    async def wait(self, timeout_s: float | None = None) -> Signal:
        """Return the next AGENT_OUTPUT, CLARIFICATION, PERMISSION, ERROR or FINAL.

        Raises:
            TimeoutError: None arrived within ``timeout_s`` seconds.
            PathwayClosedError: The Pathway closed before one arrived.
        """
        return await self._wait(TERMINAL_TYPES, timeout_s)

    async def wait_for(self, signal_type: SignalType, timeout_s: float | None = None) -> Signal:
        """Return the next Signal of one type. Raises as `wait` does."""
        return await self._wait(frozenset((signal_type,)), timeout_s)

    async def _wait(self, types: frozenset[SignalType], timeout_s: float | None) -> Signal:
        # Waits that run at once return the same Signal.
        earlier = set(self._waited_for)
        try:
            async with asyncio.timeout(timeout_s), aclosing(aiter(self)) as signals:
                async for signal in signals:
                    if signal.type in types and signal.id not in earlier:
                        self._waited_for.add(signal.id)
                        return signal
        except TimeoutError:
            raise TimeoutError(
                f"no {any_of(types)} arrived on {self._pathway.trace_id} within {timeout_s} s"
            ) from None
        raise PathwayClosedError(f"the Pathway on {self._pathway.trace_id} closed before {any_of(types)}")

    def on(self, signal_type: SignalType) -> Callable[[H], H]:
        """Call the decorated function, plain or async, with every Signal of a type, one at a time."""
        return self._pathway.on(signal_type)

    async def __aiter__(self) -> AsyncGenerator[Signal]:
        """Yield every Signal except TASKs, from the oldest buffered one to FINAL, ERROR, or the end."""
        async with aclosing(self._pathway.signals(follow=True)) as signals:
            async for signal in signals:
                if signal.type is not SignalType.TASK:
                    yield signal
                if signal.type in CLOSING_TYPES:
                    return

    async def close(self) -> None:
        """Receive no more Signals. The TASK goes on."""
        self._pathway.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def follows(self, task_id: str | None) -> bool:
        """Tell whether it is open and receives the answer to a TASK."""
        # The TASK of an offer changes when another bidder gets the work.
        return task_id in {self._pathway.task_id, *self._further_tasks} and not self._pathway.closed

    def continue_with(self, again: Pathway) -> None:
        """Receive the answer to another TASK, too: the one that answers the question of a TASK it follows."""
        mine, other, used = self._pathway, again._pathway, weakref.ref(again)

        def receive(signal: Signal) -> None:
            mine.deliver(signal)
            if used() is None:
                other.close()

        mine.answer = None
        self._further_tasks.add(other.task_id)
        for type in ANSWER_TYPES:
            other.on(type)(receive)

    def __repr__(self) -> str:
        return f"<{self.role} of {self._pathway!r}>"
