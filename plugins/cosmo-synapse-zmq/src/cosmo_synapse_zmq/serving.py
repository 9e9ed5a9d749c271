"""Serving a hub until the process is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub


async def serve_until_ended(hub: Hub, announce: Callable[[Address], None]) -> None:
    """Carry frames until SIGTERM or Ctrl-C.

    Args:
        hub: The hub.
        announce: Called with where it listens, once it does.

    Raises:
        SynapseError: The address is in use, or cannot be had.
    """
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[Address] = loop.create_future()
    serving = loop.create_task(hub.serve(listening))
    for end in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(end, serving.cancel)
    listening.add_done_callback(lambda listening: announce(listening.result()))
    with contextlib.suppress(asyncio.CancelledError):
        await serving
