"""A worker process: hosts the echo and the streaming Neuron on the bus of a URL until it is terminated."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

# A script has only its own folder on the path; the imports below start at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cosmo_core import Axon, Dendrite, connect_synapse
from tests.bench.bus import NAMESPACE, NEURON, STREAMER, echo, stream


async def main(url: str) -> None:
    """Host the two Neurons on the bus at ``url``."""
    worker = Dendrite(synapse=await connect_synapse(url), namespace=NAMESPACE, role="worker")
    worker.attach_axon(Axon(neuron_id=NEURON, neuron_fn=echo, capabilities=["greet"]))
    worker.attach_axon(Axon(neuron_id=STREAMER, neuron_fn=stream))
    async with worker:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
