"""A process that hosts an Engram: ``engram_host.py BUS ENGRAM``, two URLs. It stops on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from cosmo_core import Dendrite, connect_synapse, engram_from_url


async def serve(bus: str, store: str) -> None:
    """Host the Engram until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    synapse = await connect_synapse(bus)
    dendrite = Dendrite(synapse=synapse, namespace="faults", role="worker")
    dendrite.attach_engram(engram_from_url(store, engram_id="ctx"))
    async with dendrite:
        print("ready", flush=True)  # noqa: T201 - the test waits for this line
        await ended.wait()
    await synapse.close()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="log %(levelname)s %(message)s")
    asyncio.run(serve(*sys.argv[1:]))
