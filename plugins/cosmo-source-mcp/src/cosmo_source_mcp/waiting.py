"""Calls that run in tasks of their own, and go on when their TASK has ended with a question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cosmo_core import current_task
from cosmo_source_mcp.limits import ANSWER_WAIT_S, MAX_WAITING_CALLS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cosmo_core import AskBack
    from cosmo_source_mcp.calls import Call
    from cosmo_source_mcp.conversation import Conversation


class RunningCall:
    """A call in a task of its own.

    Args:
        running: Makes the call.
        conversation: Takes what the server asks.

    Attributes:
        conversation: The same.
    """

    def __init__(self, running: Coroutine[Any, Any, dict[str, Any]], conversation: Conversation) -> None:
        self.conversation = conversation
        self._task = asyncio.create_task(running)
        self._task.add_done_callback(_retrieve)

    @property
    def is_asking(self) -> bool:
        """Whether it runs and waits for an answer."""
        return not self._task.done() and self.conversation.is_asking

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it runs in this event loop."""
        return self._task.get_loop() is loop

    async def outcome(self) -> dict[str, Any] | AskBack:
        """Wait for its output, or for a question of the server. Cancelling this does not end the call.

        Raises:
            NeuronError: The call failed, or an answer does not match what the server asked for.
        """
        asking = asyncio.create_task(self.conversation.question())
        either: set[asyncio.Task[Any]] = {self._task, asking}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return self._task.result() if self._task.done() else asking.result()
        finally:
            asking.cancel()
            asking.add_done_callback(_retrieve)

    async def end(self) -> None:
        """Cancel the call, and wait until it has ended."""
        self.cancel()
        await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Cancel the call."""
        self._task.cancel()
        self.conversation.end()


class WaitingCalls:
    """The calls of one Neuron whose server waits for an answer."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str | None, str], RunningCall] = {}

    def add(self, call: Call, running: RunningCall) -> None:
        """Keep a call until its TASK comes again, with the answer, or `ANSWER_WAIT_S` have passed."""
        key = _key(call)
        for ended in [name for name, kept in self._calls.items() if not kept.is_asking]:
            del self._calls[ended]
        self._drop(key)
        if len(self._calls) >= MAX_WAITING_CALLS:
            self._drop(next(iter(self._calls)))
        self._calls[key] = running
        asyncio.get_running_loop().call_later(ANSWER_WAIT_S, self._expire, key, running)

    def take(self, call: Call) -> RunningCall | None:
        """The call that waits for one of the answers of this one, which it gets; ``None`` without one.

        Raises:
            NeuronError: The answer does not match what the server asked for; the call waits on.
        """
        key = _key(call)
        running = self._calls.get(key)
        if running is None or not running.is_asking or not running.belongs_to(asyncio.get_running_loop()):
            return None
        if not running.conversation.answer(call.answers):
            return None
        del self._calls[key]
        return running

    async def aclose(self) -> None:
        """End the calls of the running loop."""
        loop = asyncio.get_running_loop()
        for key in [key for key, running in self._calls.items() if running.belongs_to(loop)]:
            await self._calls.pop(key).end()

    def _expire(self, key: tuple[str | None, str], running: RunningCall) -> None:
        if self._calls.get(key) is running:
            self._drop(key)

    def _drop(self, key: tuple[str | None, str]) -> None:
        if (running := self._calls.pop(key, None)) is not None:
            running.cancel()


def _key(call: Call) -> tuple[str | None, str]:
    task = current_task()
    return (None if task is None else task.trace_id, call.key)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of a task as retrieved, in case that no caller waits for it."""
    if not task.cancelled():
        task.exception()
