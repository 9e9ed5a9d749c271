"""A Synapse that publishes from threads does so while its event loop is blocked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cosmo_core.contracts.synapse import ThreadPublisher
from cosmo_testing.conformance import steps
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, listen, running
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cosmo_testing.synapses.subject import SynapseUnderTest

T = TypeVar("T")

BLOCKED_S: Final = 2.0
"""How long may pass until a frame from a thread has come, or was handed over."""


@REQUIREMENTS.proves("synapse:thread-publish")
async def check_thread_publish(under_test: SynapseUnderTest) -> None:
    """Publish from a thread while the event loop is blocked."""
    async with running(under_test, 2) as (_, (sender, receiver)):
        inbox = Inbox()
        await listen(receiver, "kit.thread", inbox)
        assert isinstance(sender, ThreadPublisher)  # noqa: S101 - it is why this is checked
        publishing = threading.Thread(
            target=sender.publish_from_thread, args=("kit.thread", b"alive"), daemon=True
        )
        publishing.start()
        # On purpose in the event loop, which can do nothing meanwhile.
        publishing.join(BLOCKED_S)
        need(not publishing.is_alive(), "publish_from_thread waits for the event loop")
        await inbox.until(1)
        need(inbox.frames == [b"alive"], f"sent was b'alive', and {inbox.frames} came")


class Elsewhere:
    """An event loop in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._released = threading.Event()

    async def run(self, what: str, step: Coroutine[Any, Any, T]) -> T:
        """Run one step there."""
        return await bounded(what, asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step, self._loop)))

    def block(self) -> None:
        """Let it do nothing until it is released."""
        # Much longer than anybody waits here: it is not to end by itself first.
        self._loop.call_soon_threadsafe(self._released.wait, 2 * steps.PATIENCE_S)

    def release(self) -> None:
        """Let it go on."""
        self._released.set()


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Run one more event loop, in a thread of its own."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    serving = asyncio.ensure_future(asyncio.to_thread(asyncio.run, serve()))
    loop, over = await asyncio.wrap_future(started)
    other = Elsewhere(loop)
    try:
        yield other
    finally:
        other.release()
        loop.call_soon_threadsafe(over.set)
        await serving


@REQUIREMENTS.proves("synapse:thread-elsewhere")
async def check_thread_elsewhere(under_test: SynapseUnderTest) -> None:
    """Publish from a thread for a Synapse whose event loop is another one than the bus's, and blocked."""
    async with running(under_test, 1) as (_, (receiver,)), elsewhere() as other:
        inbox = Inbox()
        await listen(receiver, "kit.thread", inbox)
        sender = await other.run("connect() in another event loop", under_test.connect())
        try:
            assert isinstance(sender, ThreadPublisher)  # noqa: S101 - it is why this is checked
            other.block()
            publishing = asyncio.to_thread(sender.publish_from_thread, "kit.thread", b"alive")
            await bounded("publish_from_thread() beside a blocked event loop", publishing, BLOCKED_S)
            await inbox.until(1, BLOCKED_S)
            need(inbox.frames == [b"alive"], f"sent was b'alive', and {inbox.frames} came")
        finally:
            other.release()
            await other.run("close() in another event loop", sender.close())
