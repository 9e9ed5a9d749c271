"""One of several workers: ``python worker.py one``. All host the same Neuron and share its TASKs.

COSMO_BUS is the URL of the bus. COSMO_ENDPOINT is the URL of the model server, by default HuggingFace's
router; HF_TOKEN is its key.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from cosmo_core import Axon, Dendrite, Neuron, connect_synapse

URL = os.environ.get("COSMO_BUS", "zmq://127.0.0.1:7071")


async def main(name: str) -> None:
    model: Any = Neuron(
        source="huggingface",
        endpoint=os.environ.get("COSMO_ENDPOINT", "https://router.huggingface.co"),
        model="meta-llama/Llama-3.1-8B-Instruct",
        api_key=os.environ.get("HF_TOKEN"),
        max_new_tokens=128,
    )

    async def greeter(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        await asyncio.sleep(0.2)  # leaves time to kill a worker during its work
        answer = await model(input, context)
        return {"worker": name, "response": answer["response"]}

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    synapse = await connect_synapse(URL)
    worker = Dendrite(synapse=synapse, namespace="demo", role="worker")
    worker.attach_axon(Axon(neuron_id="greeter", neuron_fn=greeter, capabilities=["greet"]))
    async with worker:
        print(f"worker {name} on {URL}", flush=True)
        await ended.wait()
    await model.aclose()
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
