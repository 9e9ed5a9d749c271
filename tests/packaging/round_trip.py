"""One round trip over the memory Synapse, for an environment into which the project was just installed.

`python -I round_trip.py` prints the response; isolated, so that nothing of the checkout is imported.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from cosmo_core import Axon, Dendrite, Neuron, connect_synapse


async def shout(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer in capitals."""
    return {"response": input["prompt"].upper()}


async def main() -> str:
    """Ask the Neuron once."""
    # It is not called: no server listens there. This proves that the source is found and can be imported.
    Neuron(source="huggingface", endpoint="http://localhost:8080")
    synapse = await connect_synapse("memory://")
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="shout", neuron_fn=shout))
    orchestrator = Dendrite(synapse=synapse)
    try:
        async with worker, orchestrator:
            reply = await orchestrator.dispatch_and_wait(neuron="shout", input={"prompt": "hello"})
    finally:
        await synapse.close()
    response: str = reply.raise_for_error().payload["output"]["response"]
    return response


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main())}\n")
