"""A worker process: hosts the echo and the streaming Neuron on the bus of a URL until it is terminated.

With the argument ``frames`` it has no Dendrite, and echoes frames.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path

# A script has only its own folder on the path; the imports below start at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cosmo_core import Axon, Dendrite, connect_synapse
from cosmo_core.contracts.delivery import DONE
from tests.bench.bus import BACK, NAMESPACE, NEURON, STREAMER, THERE, echo, stream


async def main(url: str) -> None:
    """Host the two Neurons on the bus at ``url``."""
    worker = Dendrite(synapse=await connect_synapse(url), namespace=NAMESPACE, role="worker")
    worker.attach_axon(Axon(neuron_id=NEURON, neuron_fn=echo, capabilities=["greet"]))
    worker.attach_axon(Axon(neuron_id=STREAMER, neuron_fn=stream))
    async with worker:
        print("ready", flush=True)
        await asyncio.Event().wait()


async def echo_frames(url: str) -> None:
    """Publish each frame of `THERE` on `BACK`."""
    synapse = await connect_synapse(url)

    def echo_frame(frame: bytes) -> Awaitable[None] | None:
        sending = synapse.publish(BACK, frame)
        return None if sending is DONE else sending

    await synapse.subscribe(THERE, echo_frame, queue_group=NEURON)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run((echo_frames if sys.argv[2:] == ["frames"] else main)(sys.argv[1]))
